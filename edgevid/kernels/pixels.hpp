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

// RGB in memory; steps are in bytes and may be negative.
struct Image {
    Bytes data;
    std::ptrdiff_t row_step, pixel_step, channel_step;
    int width, height;

    struct Scratch {
        Buffer<std::uint32_t> taps;
        void reserve(std::size_t n) { taps.resize(2 * n); }
    };

    // taps[2x], taps[2x + 1]: R0 G0 B0 R1, G1 B1 from the low byte up.
    EDGEVID_INLINE void line(int y, const Axis& axis, Scratch& scratch, float* out) const {
        const int n = axis.count();
        const std::ptrdiff_t step = plane_step(n);
        Bytes row = data + y * row_step;
        std::uint32_t* taps = scratch.taps.data();
        const int* lower = axis.lower.data();
        int x = pixel_step == 3 && channel_step == 1 && EDGEVID_LITTLE_ENDIAN ? axis.safe : 0;
        x -= x % 4;
        for (int i = 0; i < x; i += 4) {
            for (int j = i; j < i + 4; ++j) std::memcpy(taps + 2 * j, row + 3 * lower[j], 8);
        }
        for (; x < n; ++x) {
            Bytes p = row + lower[x] * pixel_step, q = row + axis.upper[x] * pixel_step;
            const std::ptrdiff_t g = channel_step, b = 2 * channel_step;
            taps[2 * x] = p[0] | std::uint32_t{p[g]} << 8 | std::uint32_t{p[b]} << 16 | std::uint32_t{q[0]} << 24;
            taps[2 * x + 1] = q[g] | std::uint32_t{q[b]} << 8;
        }
        float *red = out, *green = out + step, *blue = out + 2 * step;
        if (axis.exact) {
            for (int i = 0; i < n; ++i) {
                const std::uint32_t a = taps[2 * i];
                red[i] = level(a), green[i] = level(a >> 8), blue[i] = level(a >> 16);
            }
            return;
        }
        const float* weight = axis.weight.data();
        for (int i = 0; i < n; ++i) {
            const std::uint32_t a = taps[2 * i], b = taps[2 * i + 1];
            const float w = weight[i], r0 = level(a), g0 = level(a >> 8), b0 = level(a >> 16);
            red[i] = r0 + (level(a >> 24) - r0) * w;
            green[i] = g0 + (level(b) - g0) * w;
            blue[i] = b0 + (level(b >> 8) - b0) * w;
        }
    }

    static EDGEVID_INLINE float level(std::uint32_t low_byte) {
        return static_cast<float>(static_cast<std::int32_t>(low_byte & 255u));
    }
};

// YCbCr to RGB with 16 fractional bits.
struct Conversion {
    std::int32_t luma, red_v, green_u, green_v, blue_u, black;

    static Conversion of(bool full_range, bool bt709) {
        const double kr = bt709 ? 0.2126 : 0.299, kb = bt709 ? 0.0722 : 0.114, kg = 1.0 - kr - kb;
        const double stretch = full_range ? 1.0 : 255.0 / 219.0, chroma = full_range ? 1.0 : 255.0 / 224.0;
        const auto fixed = [](double f) { return static_cast<std::int32_t>(f * 65536.0 + 0.5); };
        return {fixed(stretch), fixed(2.0 * (1.0 - kr) * chroma), fixed(2.0 * kb * (1.0 - kb) / kg * chroma),
                fixed(2.0 * kr * (1.0 - kr) / kg * chroma), fixed(2.0 * (1.0 - kb) * chroma),
                full_range ? 0 : 16};
    }

    static EDGEVID_INLINE std::int32_t clip(std::int32_t fixed) {
        const std::int32_t value = fixed >> 16;
        return value < 0 ? 0 : value > 255 ? 255 : value;
    }
    EDGEVID_INLINE std::int32_t base(std::int32_t y) const { return (y - black) * luma + (1 << 15); }
    EDGEVID_INLINE std::int32_t red(std::int32_t base, std::int32_t v) const { return clip(base + red_v * v); }
    EDGEVID_INLINE std::int32_t green(std::int32_t base, std::int32_t u, std::int32_t v) const {
        return clip(base - green_u * u - green_v * v);
    }
    EDGEVID_INLINE std::int32_t blue(std::int32_t base, std::int32_t u) const { return clip(base + blue_u * u); }
};

struct Plane {
    Bytes data;
    std::ptrdiff_t row_step, pixel_step;
    EDGEVID_INLINE Bytes row(int y) const { return data + y * row_step; }
};

// YUV 4:2:0 planes; each chroma sample serves its block of 2x2 pixels.
struct Planes {
    Plane y, u, v;
    int width, height;
    Conversion to;

    struct Scratch {
        Buffer<std::uint16_t> y, u, v;  // the two taps, the lower one in the low byte
        void reserve(std::size_t n) { y.resize(n), u.resize(n), v.resize(n); }
    };

    EDGEVID_INLINE void line(int at, const Axis& axis, Scratch& scratch, float* out) const {
        const int n = axis.count();
        const std::ptrdiff_t step = plane_step(n);
        std::uint16_t *ys = scratch.y.data(), *us = scratch.u.data(), *vs = scratch.v.data();
        gather(at, axis, ys, us, vs);
        float *red = out, *green = out + step, *blue = out + 2 * step;
        const Conversion c = to;
        if (axis.exact) {
            for (int i = 0; i < n; ++i) {
                const std::int32_t base = c.base(ys[i] & 255), cb = (us[i] & 255) - 128, cr = (vs[i] & 255) - 128;
                red[i] = static_cast<float>(c.red(base, cr));
                green[i] = static_cast<float>(c.green(base, cb, cr));
                blue[i] = static_cast<float>(c.blue(base, cb));
            }
            return;
        }
        const float* weight = axis.weight.data();
        const std::uint8_t* odd = axis.odd.data();
        for (int i = 0; i < n; ++i) {
            const std::int32_t yy = ys[i], uu = us[i], vv = vs[i];
            const std::int32_t b0 = c.base(yy & 255), b1 = c.base(yy >> 8);
            const std::int32_t cb0 = (uu & 255) - 128, cb1 = odd[i] ? (uu >> 8) - 128 : cb0;
            const std::int32_t cr0 = (vv & 255) - 128, cr1 = odd[i] ? (vv >> 8) - 128 : cr0;
            red[i] = blend(c.red(b0, cr0), c.red(b1, cr1), weight[i]);
            green[i] = blend(c.green(b0, cb0, cr0), c.green(b1, cb1, cr1), weight[i]);
            blue[i] = blend(c.blue(b0, cb0), c.blue(b1, cb1), weight[i]);
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
        const auto n = static_cast<std::size_t>(axis_.count());
        scratch_.reserve(n);
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
