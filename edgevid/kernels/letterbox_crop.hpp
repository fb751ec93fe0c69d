// What is made of the lines of pixels.hpp: letterboxed inputs, crops, whole images.
#pragma once

#include <array>

#include "pixels.hpp"

namespace edgevid::pixels {

enum class Color { rgb, bgr, gray };

// A model's input and the place of the image in it.
template <typename T>
struct Target {
    T* data;
    int width, height;
    Color color;
    bool interleaved;  // NHWC
    int left, top, place_width, place_height;
    std::array<float, 3> scale, bias;
    float pad;
    bool write_pad;

    int channels() const { return color == Color::gray ? 1 : 3; }
};

template <typename T>
EDGEVID_INLINE T cast(float value);
template <>
EDGEVID_INLINE float cast<float>(float value) {
    return value;
}
template <>
EDGEVID_INLINE std::uint8_t cast<std::uint8_t>(float value) {
    const float low = value > 0.0f ? value : 0.0f;
    return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::rint(low < 255.0f ? low : 255.0f)));
}
template <>
EDGEVID_INLINE std::int32_t cast<std::int32_t>(float value) {
    const float low = value > -1e9f ? value : -1e9f;
    return static_cast<std::int32_t>(std::rint(low < 1e9f ? low : 1e9f));
}

template <typename T, typename Source>
struct Letterbox {
    const Target<T>& to;
    const Axis& rows;
    Lines<Source>& lines;
    std::vector<T>& planar;  // three planes of one row, interleaved afterwards

    EDGEVID_INLINE void operator()() const {
        if (to.write_pad) write_padding();
        for (int y = 0; y < to.place_height; ++y) write_row(y, Pair::of(lines, rows, y));
    }

    EDGEVID_INLINE void write_row(int y, const Pair& pair) const {
        const std::ptrdiff_t n = to.place_width, start = std::ptrdiff_t{to.top + y} * to.width + to.left;
        if (to.color == Color::gray) return write_gray(pair, n, to.data + start);
        const std::ptrdiff_t plane = std::ptrdiff_t{to.width} * to.height;
        for (int c = 0; c < 3; ++c) {
            const int from = to.color == Color::rgb ? c : 2 - c;
            T* out = to.interleaved ? planar.data() + c * n : to.data + c * plane + start;
            const std::ptrdiff_t shift = from * plane_step(n);
            const Pair channel{pair.upper + shift, pair.lower + shift, pair.weight};
            write_channel(channel, n, to.scale[c], to.bias[c], out);
        }
        if (to.interleaved) interleave(n, to.data + 3 * start);
    }

    static EDGEVID_INLINE void write_channel(const Pair& pair, std::ptrdiff_t n, float scale, float bias,
                                             T* __restrict out) {
        if (pair.weight == 0.0f) {
            for (std::ptrdiff_t x = 0; x < n; ++x) out[x] = cast<T>(pair.upper[x] * scale + bias);
        } else {
            for (std::ptrdiff_t x = 0; x < n; ++x) out[x] = cast<T>(pair.at(x) * scale + bias);
        }
    }

    EDGEVID_INLINE void write_gray(const Pair& pair, std::ptrdiff_t n, T* __restrict out) const {
        const float scale = to.scale[0], bias = to.bias[0];
        const std::ptrdiff_t green = plane_step(n), blue = 2 * green;
        for (std::ptrdiff_t x = 0; x < n; ++x) {
            const float r = pair.at(x) * 0.299f, g = pair.at(x + green) * 0.587f, b = pair.at(x + blue) * 0.114f;
            out[x] = cast<T>(((r + g) + b) * scale + bias);
        }
    }

    EDGEVID_INLINE void interleave(std::ptrdiff_t n, T* __restrict out) const {
        const T *r = planar.data(), *g = r + n, *b = g + n;
        for (std::ptrdiff_t x = 0; x < n; ++x) {
            out[3 * x] = r[x];
            out[3 * x + 1] = g[x];
            out[3 * x + 2] = b[x];
        }
    }

    EDGEVID_INLINE void write_padding() const {
        const int right = to.left + to.place_width, bottom = to.top + to.place_height;
        for (int c = 0; c < to.channels(); ++c) {
            const T value = cast<T>(to.pad * to.scale[c] + to.bias[c]);
            pad_rows(c, 0, to.top, 0, to.width, value);
            pad_rows(c, to.top, bottom, 0, to.left, value);
            pad_rows(c, to.top, bottom, right, to.width, value);
            pad_rows(c, bottom, to.height, 0, to.width, value);
        }
    }

    EDGEVID_INLINE void pad_rows(int c, int y1, int y2, int x1, int x2, T value) const {
        if (to.interleaved) {
            for (int y = y1; y < y2; ++y) {
                T* row = to.data + std::ptrdiff_t{3} * to.width * y + c;
                for (int x = x1; x < x2; ++x) row[3 * x] = value;
            }
            return;
        }
        T* plane = to.data + std::ptrdiff_t{c} * to.width * to.height;
        if (x2 - x1 == to.width) x2 = x1 + to.width * (y2 - y1), y2 = std::min(y2, y1 + 1);  // one long row
        for (int y = y1; y < y2; ++y) {
            T* row = plane + std::ptrdiff_t{y} * to.width;
            for (int x = x1; x < x2; ++x) row[x] = value;
        }
    }
};

template <typename T, typename Source>
void letterbox(const Source& source, const Target<T>& to) {
    Axis rows, columns;
    rows.set(source.height, to.place_height, 0.0, source.height);
    columns.set(source.width, to.place_width, 0.0, source.width);
    Lines<Source> lines(source, columns);
    std::vector<T> planar(to.interleaved ? 3 * static_cast<std::size_t>(to.place_width) : 0);
    const Letterbox<T, Source> work{to, rows, lines, planar};
    run(work);
}

// One crop: ky x kx bilinear samples are averaged for each pixel.
template <typename Source>
struct Crop {
    Lines<Source>& lines;
    const Axis &rows, &columns;
    const Buffer<float>&fine, &total;  // one plane of samples; three planes of sums
    int width, height, kx, ky;
    std::uint8_t fill;
    std::uint8_t* out;

    EDGEVID_INLINE void operator()() const {
        const float share = static_cast<float>(1.0 / (kx * ky));
        const std::ptrdiff_t step = plane_step(width);
        for (int y = 0; y < height; ++y) {
            std::fill_n(total.data(), 3 * step, 0.0f);
            for (int j = 0; j < ky; ++j) add_line(y * ky + j, step);
            write_row(share, step, out + 3 * std::ptrdiff_t{y} * width);
        }
    }

    EDGEVID_INLINE void add_line(int y, std::ptrdiff_t step) const {
        const bool outside = y < rows.first || y >= rows.last;
        const Pair pair = outside ? Pair{} : Pair::of(lines, rows, y);
        const std::ptrdiff_t from = plane_step(columns.count());
        for (int c = 0; c < 3; ++c) {
            const std::ptrdiff_t shift = outside ? 0 : c * from;
            sample({pair.upper + shift, pair.lower + shift, pair.weight}, outside);
            float* sums = total.data() + c * step;
            if (kx == 1) add<1>(sums);
            else if (kx == 2) add<2>(sums);
            else if (kx == 3) add<3>(sums);
            else add<0>(sums);
        }
    }

    EDGEVID_INLINE void sample(const Pair& pair, bool outside) const {
        const int n = columns.count(), first = outside ? n : columns.first, last = outside ? n : columns.last;
        float* __restrict line = fine.data();
        const auto filled = static_cast<float>(fill);
        for (int x = 0; x < first; ++x) line[x] = filled;
        for (int x = first; x < last; ++x) line[x] = pair.at(x);
        for (int x = last; x < n; ++x) line[x] = filled;
    }

    // K is kx where that is known while compiling, so that the common ones are vectorized.
    template <int K>
    EDGEVID_INLINE void add(float* __restrict sums) const {
        const int k = K ? K : kx;
        const float* line = fine.data();
        for (int x = 0; x < width; ++x) {
            float sum = line[x * k];
            for (int j = 1; j < k; ++j) sum += line[x * k + j];
            sums[x] += sum;
        }
    }

    EDGEVID_INLINE void write_row(float share, std::ptrdiff_t step, std::uint8_t* __restrict to) const {
        const float *r = total.data(), *g = r + step, *b = g + step;
        for (int x = 0; x < width; ++x) {
            to[3 * x] = cast<std::uint8_t>(r[x] * share);
            to[3 * x + 1] = cast<std::uint8_t>(g[x] * share);
            to[3 * x + 2] = cast<std::uint8_t>(b[x] * share);
        }
    }
};

constexpr int max_samples = 16;

inline int samples(double length, int count) {
    return static_cast<int>(std::min(std::max(std::ceil(length / count / 2.0), 1.0), double{max_samples}));
}

// Crops of `boxes` (count x 4, xyxy) into out (count, height, width, 3).
template <typename Source>
void crop_resize(const Source& source, const float* boxes, std::size_t count, int height, int width,
                 std::uint8_t fill, std::uint8_t* out) {
    Axis rows, columns;
    Lines<Source> lines(source, columns);
    Buffer<float> fine, total;
    total.resize(3 * static_cast<std::size_t>(plane_step(width)));
    const std::size_t size = 3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    for (std::size_t i = 0; i < count; ++i) {
        const double x1 = boxes[4 * i], y1 = boxes[4 * i + 1], x2 = boxes[4 * i + 2], y2 = boxes[4 * i + 3];
        const bool finite = std::isfinite(x1) && std::isfinite(y1) && std::isfinite(x2) && std::isfinite(y2);
        if (!(finite && x2 > x1 && y2 > y1)) {
            std::memset(out + i * size, fill, size);
            continue;
        }
        const int kx = samples(x2 - x1, width), ky = samples(y2 - y1, height);
        rows.set(source.height, ky * height, y1, y2 - y1);
        columns.set(source.width, kx * width, x1, x2 - x1);
        lines.restart();
        fine.resize(static_cast<std::size_t>(columns.count()));
        const Crop<Source> work{lines, rows, columns, fine, total, width, height, kx, ky, fill, out + i * size};
        run(work);
    }
}

// The whole image, packed.
struct ToRgb {
    const Planes& from;
    Planes::Scratch& scratch;
    std::uint8_t* out;

    EDGEVID_INLINE void operator()() const {
        for (int y = 0; y < from.height; ++y) {
            from.row(y, scratch);
            write(out + 3 * std::ptrdiff_t{y} * from.width);
        }
    }

    // Each store writes a byte too much, which the next one overwrites; the last pixel goes alone.
    EDGEVID_INLINE void write(std::uint8_t* __restrict to) const {
        const std::uint32_t* packed = scratch.rgb.data();
        const int last = EDGEVID_LITTLE_ENDIAN ? from.width - 1 : 0;
        for (int x = 0; x < last; ++x) std::memcpy(to + 3 * x, packed + x, 4);
        for (int x = last; x < from.width; ++x) {
            for (int c = 0; c < 3; ++c) to[3 * x + c] = static_cast<std::uint8_t>(packed[x] >> 8 * c);
        }
    }
};

inline void yuv420_to_rgb(const Planes& from, std::uint8_t* out) {
    Planes::Scratch scratch;
    scratch.set_row(0, from.width);
    const ToRgb work{from, scratch, out};
    run(work);
}

}  // namespace edgevid::pixels
