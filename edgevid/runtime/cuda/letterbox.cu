// Letterbox and normalization of a batch of images in one launch: a thread for each column and row of
// the model's input, a grid layer for each image. letterbox.ptx is this, compiled (tests/support/compile_ptx.py).
#include "letterbox.cuh"

namespace {

template <typename T>
__device__ __forceinline__ void run(const edgevid::Task* tasks) {
    const edgevid::Task& task = tasks[blockIdx.z];
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < task.target_width && y < task.target_height) edgevid::letterbox_pixel<T>(task, x, y);
}

}  // namespace

extern "C" __global__ void letterbox_float32(const edgevid::Task* tasks) { run<float>(tasks); }
extern "C" __global__ void letterbox_uint8(const edgevid::Task* tasks) { run<edgevid_u8>(tasks); }
extern "C" __global__ void letterbox_int32(const edgevid::Task* tasks) { run<edgevid_i32>(tasks); }
