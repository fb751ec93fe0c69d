// Pixels: letterbox, color conversion and crops, from RGB pixels or straight from YUV 4:2:0 planes.
// Plain C++17, no Python. The specification is kernels/reference/pixels.py, met bit for bit: each
// float operation is one operation there, in the same order (compile with -ffp-contract=off).
//
// One image row becomes one line of floats, three planes of as many columns as the output has:
// scalar code gathers the bytes of each column's two taps, vector code interpolates them. Two lines
// are kept, so that a row which the next output row needs again is not read again. Two lines blended
// make an output row, scaled and cast on its way out.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dispatch.hpp"

namespace edgevid::pixels {

using Bytes = const std::uint8_t*;

// Scratch that starts on a cache line: wide loads which straddle two lines cost double.
template <typename T>
class Buffer {
public:
    void resize(std::size_t n) {
        constexpr std::size_t line = 64 / sizeof(T);
        kept_.resize(n + line);
        const auto start = reinterpret_cast<std::uintptr_t>(kept_.data());
        data_ = kept_.data() + (64 - start % 64) % 64 / sizeof(T);
    }
    EDGEVID_INLINE T* data() const { return data_; }

private:
    std::vector<T> kept_;
    T* data_ = nullptr;
};

// Floats from one plane of a line to the next: whole cache lines.
EDGEVID_INLINE std::ptrdiff_t plane_step(std::ptrdiff_t columns) { return (columns + 15) / 16 * 16; }

// Where output columns (or rows) fall in the source.
struct Axis {
    std::vector<int> lower, upper;   // the two taps
    std::vector<float> weight;       // of the upper tap
    std::vector<std::uint8_t> odd;   // whether the upper tap has a chroma sample of its own
    int first = 0, last = 0;         // the samples [first, last) lie inside the source
    int safe = 0;                    // the samples [0, safe) may read 8 bytes from their lower tap
    bool exact = true;               // every weight is zero: the upper taps do not matter

    int count() const { return static_cast<int>(lower.size()); }

    void set(int limit, int samples, double start, double length) {
        const auto n = static_cast<std::size_t>(samples);
        lower.resize(n), upper.resize(n), weight.resize(n), odd.resize(n);
        const double step = length / samples, end = limit - 0.5;
        first = last = safe = 0;
        exact = true;
        for (int i = 0; i < samples; ++i) {
            const double expected = (start + (i + 0.5) * step) - 0.5;
            if (expected < -0.5) first = i + 1;
            if (expected <= end) last = i + 1;
            const double at = std::min(std::max(expected, 0.0), limit - 1.0);
            const int low = static_cast<int>(at);
            lower[i] = low;
            upper[i] = std::min(low + 1, limit - 1);
            odd[i] = static_cast<std::uint8_t>(low & 1);
            weight[i] = static_cast<float>(at - low);
            exact = exact && weight[i] == 0.0f;
            if (low <= limit - 3) safe = i + 1;
        }
        last = std::max(first, last);
    }
};

#if defined(EDGEVID_X86)
// Chunks of 16 bytes from `row + starts`, each shuffled by 16 bytes of `masks`; the chunks done, some or all.
EDGEVID_AVX512 inline int shuffle_avx512(Bytes row, const int* starts, Bytes masks, int chunks, std::uint8_t* to) {
    const auto load = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + starts[i])); };
    int i = 0;
    for (; i + 4 <= chunks; i += 4) {
        __m512i four = _mm512_inserti32x4(_mm512_castsi128_si512(load(i)), load(i + 1), 1);
        four = _mm512_inserti32x4(_mm512_inserti32x4(four, load(i + 2), 2), load(i + 3), 3);
        _mm512_storeu_si512(to + 16 * i, _mm512_shuffle_epi8(four, _mm512_loadu_si512(masks + 16 * i)));
    }
    return i;
}
EDGEVID_AVX2 inline int shuffle_avx2(Bytes row, const int* starts, Bytes masks, int chunks, std::uint8_t* to) {
    const auto load = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + starts[i])); };
    int i = 0;
    for (; i + 2 <= chunks; i += 2) {
        const __m256i two = _mm256_inserti128_si256(_mm256_castsi128_si256(load(i)), load(i + 1), 1);
        const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(masks + 16 * i));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 16 * i), _mm256_shuffle_epi8(two, mask));
    }
    return i;
}
#endif

// The taps of each column, as words from the low byte up: R0 G0 B0 R1, G1 B1 of pixels of 3 bytes, R0 G0 B0 0,
// R1 G1 B1 0 of those of 4; only the first word where every weight is zero. Where the taps of some columns lie in 16
// bytes, they are brought together at once.
template <int step>
struct Taps {
    Buffer<std::uint32_t> words;
    std::vector<int> starts;
    std::vector<std::uint8_t> masks;
    int wide = 2, safe = 0;  // the columns [0, safe) may be read in one piece

    void set(const Axis& axis, int limit, bool packed) {
        const int n = axis.count();
        wide = axis.exact ? 1 : 2, safe = packed && EDGEVID_LITTLE_ENDIAN ? axis.safe : 0;
        words.resize(2 * static_cast<std::size_t>(n));
        starts.clear(), masks.clear();
        const int columns = 4 / wide, *lower = axis.lower.data();
        for (int x = 0; safe > 0 && isa() != Isa::base && x + columns <= n; x += columns) {
            if (step * lower[x] + 16 > step * limit) break;
            if (step * (lower[x + columns - 1] - lower[x] + wide) > 16) return starts.clear();
            starts.push_back(step * lower[x]);
            for (int i = 0; i < 16; ++i) {
                const int byte = i % (4 * wide), from = step * (lower[x + i / (4 * wide)] - lower[x]) + byte;
                masks.push_back(static_cast<std::uint8_t>(byte < step * wide ? from : 128));  // 128 is zero
            }
        }
    }

    // The columns done, from `row` on; the others have to be copied one by one.
    EDGEVID_INLINE int copy(Bytes row, const Axis& axis) {
        std::uint32_t* to = words.data();
        int x = 0;
#if defined(EDGEVID_X86)
        if (!starts.empty()) {
            const auto shuffle = isa() == Isa::avx512 ? shuffle_avx512 : shuffle_avx2;
            x = 4 / wide * shuffle(row, starts.data(), masks.data(), static_cast<int>(starts.size()),
                                   reinterpret_cast<std::uint8_t*>(to));
        }
#endif
        const int* lower = axis.lower.data();
        if (wide == 1) {
            for (; x < safe; ++x) std::memcpy(to + x, row + step * lower[x], 4);
        } else {
            for (; x < safe; ++x) std::memcpy(to + 2 * x, row + step * lower[x], 8);
        }
        return x;
    }

    // The taps blended: a line.
    EDGEVID_INLINE void blend(const Axis& axis, float* __restrict out) const { blend(words.data(), axis, out); }
    static EDGEVID_INLINE void blend(const std::uint32_t* __restrict taps, const Axis& axis, float* __restrict out) {
        const int n = axis.count();
        const std::ptrdiff_t plane = plane_step(n);
        float *red = out, *green = out + plane, *blue = out + 2 * plane;
        if (axis.exact) {
            for (int i = 0; i < n; ++i) {
                red[i] = level(taps[i]), green[i] = level(taps[i] >> 8), blue[i] = level(taps[i] >> 16);
            }
            return;
        }
        const float* weight = axis.weight.data();
        for (int i = 0; i < n; ++i) {
            const std::uint32_t a = taps[2 * i], b = taps[2 * i + 1];
            const float w = weight[i], r0 = level(a), g0 = level(a >> 8), b0 = level(a >> 16);
            red[i] = r0 + (level(step == 3 ? a >> 24 : b) - r0) * w;
            green[i] = g0 + (level(step == 3 ? b : b >> 8) - g0) * w;
            blue[i] = b0 + (level(step == 3 ? b >> 8 : b >> 16) - b0) * w;
        }
    }

    static EDGEVID_INLINE float level(std::uint32_t low_byte) {
        return static_cast<float>(static_cast<std::int32_t>(low_byte & 255u));
    }
};

// RGB in memory; steps are in bytes and may be negative.
struct Image {
    Bytes data;
    std::ptrdiff_t row_step, pixel_step, channel_step;
    int width, height;

    struct Scratch {
        Taps<3> taps;
        void restart(const Image& from, const Axis& axis) {
            taps.set(axis, from.width, from.pixel_step == 3 && from.channel_step == 1);
        }
    };

    EDGEVID_INLINE void line(int y, const Axis& axis, Scratch& scratch, float* out) const {
        Bytes row = data + y * row_step;
        std::uint32_t* to = scratch.taps.words.data();
        const int n = axis.count(), wide = scratch.taps.wide;
        for (int x = scratch.taps.copy(row, axis); x < n; ++x) {
            Bytes p = row + axis.lower[x] * pixel_step, q = row + axis.upper[x] * pixel_step;
            const std::ptrdiff_t g = channel_step, b = 2 * channel_step;
            to[wide * x] = p[0] | std::uint32_t{p[g]} << 8 | std::uint32_t{p[b]} << 16 | std::uint32_t{q[0]} << 24;
            if (wide == 2) to[2 * x + 1] = q[g] | std::uint32_t{q[b]} << 8;
        }
        scratch.taps.blend(axis, out);
    }
};

// YCbCr to RGB. The specification has 16 fractional bits in whole numbers; floats hold the same values, since all
// that lies within 128 of the middle level has 24 bits, and what lies outside is clipped. (The largest parts of blue
// have 25; a test tries every luma with every chroma.)
struct Conversion {
    float luma, middle, red_v, green_u, green_v, blue_u;

    static Conversion of(bool full_range, bool bt709) {
        const double kr = bt709 ? 0.2126 : 0.299, kb = bt709 ? 0.0722 : 0.114, kg = 1.0 - kr - kb;
        const double stretch = full_range ? 1.0 : 255.0 / 219.0, chroma = full_range ? 1.0 : 255.0 / 224.0;
        const auto fixed = [](double f) { return static_cast<float>(std::floor(f * 65536.0 + 0.5) / 65536.0); };
        const float luma = fixed(stretch);
        return {luma, (full_range ? 128.0f : 112.0f) * luma + 0.5f - 128.0f,
                fixed(2.0 * (1.0 - kr) * chroma), fixed(2.0 * kb * (1.0 - kb) / kg * chroma),
                fixed(2.0 * kr * (1.0 - kr) / kg * chroma), fixed(2.0 * (1.0 - kb) * chroma)};
    }

    // Levels less 128, and a half for rounding.
    EDGEVID_INLINE float base(std::int32_t y) const { return static_cast<float>(y - 128) * luma + middle; }
    static EDGEVID_INLINE std::int32_t clip(float level) {
        const auto value = static_cast<std::int32_t>(level + 128.0f);
        return value < 0 ? 0 : value > 255 ? 255 : value;
    }
};

struct Plane {
    Bytes data;
    std::ptrdiff_t row_step, pixel_step;
    EDGEVID_INLINE Bytes row(int y) const { return data + y * row_step; }

    // `count` samples of a row from `first` on, one after another; copied where they are not so.
    EDGEVID_INLINE Bytes packed(int y, int first, int count, const Buffer<std::uint16_t>& copy) const {
        Bytes from = row(y) + first * pixel_step;
        if (pixel_step == 1) return from;
        auto* to = reinterpret_cast<std::uint8_t*>(copy.data());
        for (int x = 0; x < count; ++x) to[x] = from[x * pixel_step];
        return to;
    }
};

// YUV 4:2:0 planes; each chroma sample serves its block of 2x2 pixels.
struct Planes {
    Plane y, u, v;
    int width, height;
    Conversion to;

    struct Scratch {
        bool dense = false;               // taps lie so close that whole rows are converted, not one tap after another
        int first = 0, count = 0;         // the pixels of such rows, `first` being even
        int chroma_row = -1;              // whose part is kept
        Buffer<float> red, green, blue;   // the chroma's part of each pixel
        Buffer<std::uint32_t> rgb;        // R G B 0
        Taps<4> taps;
        Buffer<std::uint16_t> y, u, v;    // the two taps, the lower one in the low byte

        void restart(const Planes&, const Axis& axis) {
            const int n = axis.count();
            dense = axis.upper[n - 1] - axis.lower[0] < (axis.exact ? 6 * n : 9 * n) / 4;
            if (dense) {
                set_row(axis.lower[0] & ~1, axis.upper[n - 1] + 1);
                taps.set(axis, axis.upper[n - 1] + 1, true);
            } else {
                const auto size = static_cast<std::size_t>(n);
                y.resize(size), u.resize(size), v.resize(size);
            }
        }
        void set_row(int from, int end) {
            const auto n = static_cast<std::size_t>(end - from) + 2;
            first = from, count = end - from, chroma_row = -1;
            red.resize(n), green.resize(n), blue.resize(n), rgb.resize(n), y.resize(n), u.resize(n), v.resize(n);
        }
    };

    EDGEVID_INLINE void line(int at, const Axis& axis, Scratch& scratch, float* out) const {
        if (scratch.dense) dense_line(at, axis, scratch, out);
        else sparse_line(at, axis, scratch, out);
    }

    EDGEVID_INLINE void dense_line(int at, const Axis& axis, Scratch& scratch, float* out) const {
        row(at, scratch);
        const int n = axis.count(), first = scratch.first;
        std::uint32_t* rgb = scratch.rgb.data();
        if (axis.exact && axis.lower[n - 1] - axis.lower[0] == n - 1)  // every pixel
            return Taps<4>::blend(rgb + axis.lower[0] - first, axis, out);
        Taps<4>& taps = scratch.taps;
        std::uint32_t* to = taps.words.data();
        for (int x = taps.copy(reinterpret_cast<Bytes>(rgb - first), axis); x < n; ++x) {
            to[taps.wide * x] = rgb[axis.lower[x] - first];
            if (taps.wide == 2) to[2 * x + 1] = rgb[axis.upper[x] - first];
        }
        taps.blend(axis, out);
    }

    // A row's pixels into scratch.rgb.
    EDGEVID_INLINE void row(int at, Scratch& scratch) const {
        const int n = scratch.count, half = (n + 1) / 2, from = scratch.first;
        float *__restrict red = scratch.red.data(), *__restrict green = scratch.green.data(),
                         *__restrict blue = scratch.blue.data();
        const Conversion c = to;
        if (scratch.chroma_row != at >> 1) {
            scratch.chroma_row = at >> 1;
            Bytes us = u.packed(at >> 1, from / 2, half, scratch.u), vs = v.packed(at >> 1, from / 2, half, scratch.v);
            for (int i = 0; i < half; ++i) {
                const auto cb = static_cast<float>(us[i] - 128), cr = static_cast<float>(vs[i] - 128);
                red[2 * i] = red[2 * i + 1] = cr * c.red_v;
                green[2 * i] = green[2 * i + 1] = cb * c.green_u + cr * c.green_v;
                blue[2 * i] = blue[2 * i + 1] = cb * c.blue_u;
            }
        }
        Bytes ys = y.packed(at, from, n, scratch.y);
        std::uint32_t* __restrict rgb = scratch.rgb.data();
        for (int i = 0; i < n; ++i) {
            const float base = c.base(ys[i]);
            rgb[i] = static_cast<std::uint32_t>(c.clip(base + red[i]) | c.clip(base - green[i]) << 8 |
                                                c.clip(base + blue[i]) << 16);
        }
    }

    EDGEVID_INLINE void sparse_line(int at, const Axis& axis, Scratch& scratch, float* out) const {
        const int n = axis.count();
        const std::ptrdiff_t step = plane_step(n);
        std::uint16_t *ys = scratch.y.data(), *us = scratch.u.data(), *vs = scratch.v.data();
        gather(at, axis, ys, us, vs);
        float *red = out, *green = out + step, *blue = out + 2 * step;
        const Conversion c = to;
        if (axis.exact) {
            for (int i = 0; i < n; ++i) {
                const auto cb = static_cast<float>((us[i] & 255) - 128), cr = static_cast<float>((vs[i] & 255) - 128);
                const float base = c.base(ys[i] & 255);
                red[i] = static_cast<float>(c.clip(base + cr * c.red_v));
                green[i] = static_cast<float>(c.clip(base - (cb * c.green_u + cr * c.green_v)));
                blue[i] = static_cast<float>(c.clip(base + cb * c.blue_u));
            }
            return;
        }
        const float* weight = axis.weight.data();
        const std::uint8_t* odd = axis.odd.data();
        for (int i = 0; i < n; ++i) {
            const std::int32_t yy = ys[i], uu = us[i], vv = vs[i];
            const float b0 = c.base(yy & 255), b1 = c.base(yy >> 8), w = weight[i];
            const std::int32_t u0 = uu & 255, u1 = odd[i] ? uu >> 8 : u0, v0 = vv & 255, v1 = odd[i] ? vv >> 8 : v0;
            const auto cb0 = static_cast<float>(u0 - 128), cb1 = static_cast<float>(u1 - 128);
            const auto cr0 = static_cast<float>(v0 - 128), cr1 = static_cast<float>(v1 - 128);
            red[i] = blend(c.clip(b0 + cr0 * c.red_v), c.clip(b1 + cr1 * c.red_v), w);
            green[i] = blend(c.clip(b0 - (cb0 * c.green_u + cr0 * c.green_v)),
                             c.clip(b1 - (cb1 * c.green_u + cr1 * c.green_v)), w);
            blue[i] = blend(c.clip(b0 + cb0 * c.blue_u), c.clip(b1 + cb1 * c.blue_u), w);
        }
    }

    EDGEVID_INLINE void gather(int at, const Axis& axis, std::uint16_t* ys, std::uint16_t* us,
                               std::uint16_t* vs) const {
        Bytes yr = y.row(at), ur = u.row(at >> 1), vr = v.row(at >> 1);
        const int n = axis.count(), *lower = axis.lower.data();
        const bool packed = y.pixel_step == 1 && u.pixel_step == 1 && v.pixel_step == 1;
        int x = packed && EDGEVID_LITTLE_ENDIAN ? axis.safe : 0;
        for (int i = 0; i < x; ++i) {
            const int at_luma = lower[i], at_chroma = at_luma >> 1;
            std::memcpy(ys + i, yr + at_luma, 2);
            std::memcpy(us + i, ur + at_chroma, 2);
            std::memcpy(vs + i, vr + at_chroma, 2);
        }
        for (; x < n; ++x) {
            const int p = lower[x], q = axis.upper[x];
            ys[x] = pair(yr, p * y.pixel_step, q * y.pixel_step);
            us[x] = pair(ur, (p >> 1) * u.pixel_step, (q >> 1) * u.pixel_step);
            vs[x] = pair(vr, (p >> 1) * v.pixel_step, (q >> 1) * v.pixel_step);
        }
    }

    static EDGEVID_INLINE std::uint16_t pair(Bytes row, std::ptrdiff_t low, std::ptrdiff_t high) {
        return static_cast<std::uint16_t>(row[low] | row[high] << 8);
    }
    static EDGEVID_INLINE float blend(std::int32_t low, std::int32_t high, float weight) {
        const auto a = static_cast<float>(low);
        return a + (static_cast<float>(high) - a) * weight;
    }
};

// The last two lines made of a source.
template <typename Source>
class Lines {
public:
    Lines(const Source& source, const Axis& axis) : source_(source), axis_(axis) { restart(); }

    // After the axis has changed.
    void restart() {
        if (axis_.count() > 0) scratch_.restart(source_, axis_);
        for (auto& line : kept_) line.resize(3 * static_cast<std::size_t>(plane_step(axis_.count())));
        made_[0] = made_[1] = -1;
    }

    EDGEVID_INLINE const float* at(int y) {
        if (made_[newest_] != y) {
            newest_ ^= 1;  // the line handed out last stays
            if (made_[newest_] != y) source_.line(y, axis_, scratch_, kept_[newest_].data());
            made_[newest_] = y;
        }
        return kept_[newest_].data();
    }

private:
    const Source& source_;
    const Axis& axis_;
    typename Source::Scratch scratch_;
    Buffer<float> kept_[2];
    int made_[2], newest_ = 0;
};

// The two lines of one output row; `lower` is the same as `upper` where its weight is zero.
struct Pair {
    const float *upper, *lower;
    float weight;

    template <typename Source>
    static EDGEVID_INLINE Pair of(Lines<Source>& lines, const Axis& rows, int y) {
        const float* upper = lines.at(rows.lower[y]);
        const float weight = rows.weight[y];
        return {upper, weight == 0.0f ? upper : lines.at(rows.upper[y]), weight};
    }
    EDGEVID_INLINE float at(std::ptrdiff_t i) const { return upper[i] + (lower[i] - upper[i]) * weight; }
};

}  // namespace edgevid::pixels
