// One pixel of a model's input, made of an image: letterbox, color, normalization, layout, type.
// The same text is compiled for the device (letterbox.cu) and, in a test, for the host, where it is
// held bit for bit against the CPU kernel. Each float operation is one operation of
// kernels/reference/pixels.py, in the same order and never fused.
#pragma once

#ifdef __CUDACC_RTC__
typedef unsigned char edgevid_u8;
typedef unsigned int edgevid_u32;
typedef int edgevid_i32;
typedef unsigned long long edgevid_u64;
#else
#include <cmath>
#include <cstdint>
typedef std::uint8_t edgevid_u8;
typedef std::uint32_t edgevid_u32;
typedef std::int32_t edgevid_i32;
typedef std::uint64_t edgevid_u64;
#endif

#ifdef __CUDA_ARCH__
#define EDGEVID_DEVICE __device__ __forceinline__
#elif defined(__CUDACC__)
#define EDGEVID_DEVICE __host__ __device__ inline
#else
#define EDGEVID_DEVICE inline
#endif

namespace edgevid {

// What is to be done with one image; runtime/cuda/letterbox.py packs the same fields (TASK there).
struct Task {
    edgevid_u64 source;   // RGB bytes, or the luma plane
    edgevid_u64 u, v;     // chroma planes; 0 for RGB
    edgevid_u64 columns;  // place_width lower taps (int32), then as many weights (float)
    edgevid_u64 rows;     // place_height of each
    edgevid_u64 target;   // the image's place in the model's input
    edgevid_i32 width, height;            // of the source
    edgevid_i32 row_step, chroma_step;    // bytes from row to row
    edgevid_i32 target_width, target_height;
    edgevid_i32 left, top, place_width, place_height;
    edgevid_i32 channels;                 // 1: gray, 3
    edgevid_i32 swapped;                  // BGR
    edgevid_i32 interleaved;              // NHWC
    edgevid_i32 luma, red_v, green_u, green_v, blue_u, black;  // YCbCr to RGB, 16 fractional bits
    float scale[3], bias[3], pad;
    edgevid_i32 unused[2];                // to a multiple of 8 bytes
};

EDGEVID_DEVICE float mul(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

EDGEVID_DEVICE float add(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

EDGEVID_DEVICE float nearest(float a) {
#ifdef __CUDA_ARCH__
    return rintf(a);
#else
    return std::rint(a);
#endif
}

// low + (high - low) * weight
EDGEVID_DEVICE float blend(float low, float high, float weight) { return add(low, mul(add(high, -low), weight)); }

template <typename T>
EDGEVID_DEVICE T cast(float value);
template <>
EDGEVID_DEVICE float cast<float>(float value) { return value; }
template <>
EDGEVID_DEVICE edgevid_u8 cast<edgevid_u8>(float value) {
    const float low = value > 0.0f ? value : 0.0f;
    return static_cast<edgevid_u8>(nearest(low < 255.0f ? low : 255.0f));
}
template <>
EDGEVID_DEVICE edgevid_i32 cast<edgevid_i32>(float value) {
    const float low = value > -1e9f ? value : -1e9f;
    return static_cast<edgevid_i32>(nearest(low < 1e9f ? low : 1e9f));
}

template <typename T>
EDGEVID_DEVICE const T* at(edgevid_u64 address) { return reinterpret_cast<const T*>(address); }

struct Rgb {
    float channel[3];
};

EDGEVID_DEVICE float clipped(edgevid_i32 fixed) {
    const edgevid_i32 value = fixed >> 16;
    return static_cast<float>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// The source's pixel, 0 to 255.
EDGEVID_DEVICE Rgb pixel(const Task& task, int x, int y) {
    const edgevid_u8* row = at<edgevid_u8>(task.source) + static_cast<long long>(y) * task.row_step;
    if (task.u == 0) {
        const edgevid_u8* p = row + 3 * x;
        return {{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2])}};
    }
    const long long chroma = static_cast<long long>(y >> 1) * task.chroma_step + (x >> 1);
    const edgevid_i32 cb = at<edgevid_u8>(task.u)[chroma] - 128, cr = at<edgevid_u8>(task.v)[chroma] - 128;
    const edgevid_i32 base = (row[x] - task.black) * task.luma + (1 << 15);
    return {{clipped(base + task.red_v * cr), clipped(base - task.green_u * cb - task.green_v * cr),
             clipped(base + task.blue_u * cb)}};
}

// The image at a place of the model's input, 0 to 255.
EDGEVID_DEVICE Rgb sample(const Task& task, int x, int y) {
    const int low_x = at<edgevid_i32>(task.columns)[x], low_y = at<edgevid_i32>(task.rows)[y];
    const float weight_x = at<float>(task.columns)[task.place_width + x];
    const float weight_y = at<float>(task.rows)[task.place_height + y];
    const int high_x = low_x + 1 < task.width ? low_x + 1 : low_x;
    const int high_y = low_y + 1 < task.height ? low_y + 1 : low_y;
    const Rgb a = pixel(task, low_x, low_y), b = pixel(task, high_x, low_y);
    const Rgb c = pixel(task, low_x, high_y), d = pixel(task, high_x, high_y);
    Rgb found;
    for (int i = 0; i < 3; ++i) {
        const float upper = blend(a.channel[i], b.channel[i], weight_x);
        found.channel[i] = blend(upper, blend(c.channel[i], d.channel[i], weight_x), weight_y);
    }
    return found;
}

// Writes all channels of one column x and row y of the model's input.
template <typename T>
EDGEVID_DEVICE void letterbox_pixel(const Task& task, int x, int y) {
    const int from_left = x - task.left, from_top = y - task.top;
    const bool inside =
        from_left >= 0 && from_top >= 0 && from_left < task.place_width && from_top < task.place_height;
    Rgb value = {{task.pad, task.pad, task.pad}};
    if (inside) {
        value = sample(task, from_left, from_top);
        if (task.channels == 1) {
            const float red = mul(value.channel[0], 0.299f), green = mul(value.channel[1], 0.587f);
            value.channel[0] = add(add(red, green), mul(value.channel[2], 0.114f));
        }
    }
    T* target = reinterpret_cast<T*>(task.target);
    const long long spot = static_cast<long long>(y) * task.target_width + x;
    const long long plane = static_cast<long long>(task.target_width) * task.target_height;
    for (int c = 0; c < task.channels; ++c) {
        const float chosen = value.channel[task.swapped ? 2 - c : c];
        const long long place = task.interleaved ? spot * task.channels + c : spot + c * plane;
        target[place] = cast<T>(add(mul(chosen, task.scale[c]), task.bias[c]));
    }
}

}  // namespace edgevid
