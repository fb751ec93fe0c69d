// The device's letterbox, compiled for the host: its arithmetic is held against the CPU kernels.
#include "letterbox.cuh"

extern "C" int task_size() { return static_cast<int>(sizeof(edgevid::Task)); }

template <typename T>
void run(const edgevid::Task* tasks, int count) {
    for (int i = 0; i < count; ++i)
        for (int y = 0; y < tasks[i].target_height; ++y)
            for (int x = 0; x < tasks[i].target_width; ++x) edgevid::letterbox_pixel<T>(tasks[i], x, y);
}

extern "C" void letterbox_float32(const edgevid::Task* tasks, int count) { run<float>(tasks, count); }
extern "C" void letterbox_uint8(const edgevid::Task* tasks, int count) { run<edgevid_u8>(tasks, count); }
extern "C" void letterbox_int32(const edgevid::Task* tasks, int count) { run<edgevid_i32>(tasks, count); }
