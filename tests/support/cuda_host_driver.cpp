// A driver that does on the host what the CUDA Driver API says, for the functions that edgevid uses, so
// that the code around them runs where there is no device: memory is host memory, a stream does its work
// at once, or keeps it while it is captured, a kernel is its own source compiled for the host. It refuses
// what the real one refuses: no current context, unknown addresses, freeing twice. It counts what lives.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <dlfcn.h>

#include "letterbox.cuh"

namespace {

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
       INVALID_HANDLE = 400, NOT_FOUND = 500, CAPTURE_INVALIDATED = 901 };
using Work = std::function<void()>;
using u64 = unsigned long long;
constexpr std::size_t all_memory = std::size_t{1} << 30;

struct Stream {
    bool capturing = false;
    std::vector<Work> kept;
};
struct Graph {
    std::vector<Work> work;
};
struct Event {
    std::chrono::steady_clock::time_point at;
};

std::mutex lock;
std::map<u64, std::size_t> device, pinned;
std::set<void*> streams, events, modules, graphs, execs;
std::size_t used = 0;
long launches = 0, replays = 0, primary = 0;
int context_object;
thread_local std::vector<void*> stack;

bool current() { return !stack.empty() && stack.back() == &context_object && primary > 0; }

bool known(u64 address, std::size_t size) {
    std::lock_guard<std::mutex> guard(lock);
    auto it = device.upper_bound(address);
    if (it == device.begin()) return false;
    --it;
    return address + size <= it->first + it->second;
}

// Done now, or kept while the stream is captured. The work runs without the lock: it may call Python.
int put(void* handle, Work work) {
    if (!current()) return INVALID_CONTEXT;
    {
        std::lock_guard<std::mutex> guard(lock);
        if (!streams.count(handle)) return INVALID_HANDLE;
        auto* stream = static_cast<Stream*>(handle);
        if (stream->capturing) {
            stream->kept.push_back(std::move(work));
            return OK;
        }
    }
    work();
    return OK;
}

template <typename T>
int drop(std::set<void*>& from, void* handle) {
    if (!current()) return INVALID_CONTEXT;
    if (!from.erase(handle)) return INVALID_HANDLE;
    delete static_cast<T*>(handle);
    return OK;
}

template <typename T>
void kernel(const edgevid::Task* tasks, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by) {
    for (unsigned z = 0; z < gz; ++z)
        for (unsigned y = 0; y < gy * by; ++y)
            for (unsigned x = 0; x < gx * bx; ++x)
                if (int(x) < tasks[z].target_width && int(y) < tasks[z].target_height)
                    edgevid::letterbox_pixel<T>(tasks[z], int(x), int(y));
}

const char* const kernels[] = {"letterbox_float32", "letterbox_uint8", "letterbox_int32"};

}  // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define GUARD std::lock_guard<std::mutex> guard(lock)

API cuInit(unsigned) { return OK; }
API cuDriverGetVersion(int* version) { *version = 13000; return OK; }
API cuDeviceGetCount(int* count) { *count = 1; return OK; }
API cuDeviceGet(int* found, int index) { *found = index; return index == 0 ? OK : 101; }
API cuDeviceGetName(char* name, int size, int) { std::strncpy(name, "Host stand-in", std::size_t(size)); return OK; }
API cuDeviceTotalMem_v2(std::size_t* bytes, int) { *bytes = all_memory; return OK; }
API cuDeviceGetAttribute(int* value, int which, int) {
    *value = which == 75 ? 8 : which == 76 ? 7 : which == 16 ? 4 : 0;
    return OK;
}
API cuGetErrorName(int code, const char** name) { *name = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR"; return OK; }
API cuGetErrorString(int code, const char** name) { return cuGetErrorName(code, name); }

API cuDevicePrimaryCtxRetain(void** context, int) { GUARD; ++primary; *context = &context_object; return OK; }
API cuDevicePrimaryCtxRelease_v2(int) { GUARD; if (primary < 1) return INVALID_CONTEXT; --primary; return OK; }
API cuCtxPushCurrent_v2(void* context) { stack.push_back(context); return OK; }
API cuCtxPopCurrent_v2(void** context) {
    if (stack.empty()) return INVALID_CONTEXT;
    if (context) *context = stack.back();
    stack.pop_back();
    return OK;
}
API cuCtxGetCurrent(void** context) { *context = stack.empty() ? nullptr : stack.back(); return OK; }
API cuCtxGetDevice(int* found) { *found = 0; return current() ? OK : INVALID_CONTEXT; }
API cuCtxSynchronize() { return current() ? OK : INVALID_CONTEXT; }
API cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    GUARD;
    *free = all_memory - used, *total = all_memory;
    return current() ? OK : INVALID_CONTEXT;
}

API cuMemAlloc_v2(u64* address, std::size_t size) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    if (size == 0) return INVALID_VALUE;
    if (used + size > all_memory) return OUT_OF_MEMORY;
    void* made = std::malloc(size);
    std::memset(made, 0xA5, size);  // never cleared
    *address = reinterpret_cast<u64>(made);
    device[*address] = size, used += size;
    return OK;
}
API cuMemFree_v2(u64 address) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    const auto it = device.find(address);
    if (it == device.end()) return INVALID_VALUE;
    used -= it->second;
    device.erase(it);
    std::free(reinterpret_cast<void*>(address));
    return OK;
}
API cuMemHostAlloc(void** made, std::size_t size, unsigned) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    *made = std::malloc(size);
    pinned[reinterpret_cast<u64>(*made)] = size;
    return OK;
}
API cuMemAllocHost_v2(void** made, std::size_t size) { return cuMemHostAlloc(made, size, 0); }
API cuMemFreeHost(void* made) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    if (!pinned.erase(reinterpret_cast<u64>(made))) return INVALID_VALUE;
    std::free(made);
    return OK;
}

API cuStreamCreate(void** stream, unsigned) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    streams.insert(*stream = new Stream);
    return OK;
}
API cuStreamDestroy_v2(void* stream) { GUARD; return drop<Stream>(streams, stream); }
API cuStreamSynchronize(void* stream) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    if (!streams.count(stream)) return INVALID_HANDLE;
    return static_cast<Stream*>(stream)->capturing ? CAPTURE_INVALIDATED : OK;
}
API cuEventCreate(void** event, unsigned) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    events.insert(*event = new Event);
    return OK;
}
API cuEventDestroy_v2(void* event) { GUARD; return drop<Event>(events, event); }
API cuEventRecord(void* event, void* stream) {
    return put(stream, [event] { static_cast<Event*>(event)->at = std::chrono::steady_clock::now(); });
}
API cuEventSynchronize(void*) { return current() ? OK : INVALID_CONTEXT; }
API cuEventElapsedTime(float* ms, void* a, void* b) {
    const auto passed = static_cast<Event*>(b)->at - static_cast<Event*>(a)->at;
    *ms = std::chrono::duration<float, std::milli>(passed).count();
    return OK;
}
API cuEventElapsedTime_v2(float* ms, void* a, void* b) { return cuEventElapsedTime(ms, a, b); }

API cuMemcpyHtoDAsync_v2(u64 to, const void* from, std::size_t size, void* stream) {
    if (!known(to, size)) return INVALID_VALUE;
    return put(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, size); });
}
API cuMemcpyDtoHAsync_v2(void* to, u64 from, std::size_t size, void* stream) {
    if (!known(from, size)) return INVALID_VALUE;
    return put(stream, [=] { std::memcpy(to, reinterpret_cast<const void*>(from), size); });
}

API cuModuleLoadData(void** module, const void* image) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    const auto* text = static_cast<const char*>(image);
    if (std::strncmp(text, "//", 2) != 0 || !std::strstr(text, ".visible .entry")) return INVALID_IMAGE;
    modules.insert(*module = new std::string(text));
    return OK;
}
API cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void*) { return cuModuleLoadData(module, image); }
API cuModuleUnload(void* module) { GUARD; return drop<std::string>(modules, module); }
API cuModuleGetFunction(void** function, void* module, const char* name) {
    GUARD;
    if (!modules.count(module)) return INVALID_HANDLE;
    for (const char* const& known_name : kernels) {
        if (std::strcmp(name, known_name) != 0) continue;
        *function = const_cast<const char**>(&known_name);
        return OK;
    }
    return NOT_FOUND;
}
API cuFuncSetBlockShape(void*, int, int, int) { return OK; }  // pycuda tells it twice
API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned, void* stream, void** args, void** extra) {
    if (bx * by * bz > 1024 || gx * gy * gz == 0) return INVALID_VALUE;
    u64 tasks = 0;  // the one argument: by pointers, or packed in a buffer (CU_LAUNCH_PARAM_BUFFER_POINTER)
    std::memcpy(&tasks, args ? args[0] : extra[1], sizeof tasks);
    if (!known(tasks, gz * sizeof(edgevid::Task))) return INVALID_VALUE;
    const std::string name = *static_cast<const char**>(function);
    return put(stream, [=] {
        ++launches;
        const auto* list = reinterpret_cast<const edgevid::Task*>(tasks);
        if (name == kernels[0]) kernel<float>(list, gx, gy, gz, bx, by);
        else if (name == kernels[1]) kernel<edgevid_u8>(list, gx, gy, gz, bx, by);
        else kernel<edgevid_i32>(list, gx, gy, gz, bx, by);
    });
}

API cuStreamBeginCapture_v2(void* stream, int) {
    GUARD;
    if (!current()) return INVALID_CONTEXT;
    if (!streams.count(stream)) return INVALID_HANDLE;
    static_cast<Stream*>(stream)->capturing = true;
    return OK;
}
API cuStreamEndCapture(void* stream, void** graph) {
    GUARD;
    auto* from = static_cast<Stream*>(stream);
    if (!from->capturing) return CAPTURE_INVALIDATED;
    from->capturing = false;
    graphs.insert(*graph = new Graph{std::move(from->kept)});
    from->kept.clear();
    return OK;
}
API cuGraphInstantiateWithFlags(void** exec, void* graph, u64) {
    GUARD;
    if (!graphs.count(graph)) return INVALID_HANDLE;
    execs.insert(*exec = new Graph(*static_cast<Graph*>(graph)));
    return OK;
}
API cuGraphDestroy(void* graph) { GUARD; return drop<Graph>(graphs, graph); }
API cuGraphExecDestroy(void* exec) { GUARD; return drop<Graph>(execs, exec); }
API cuGraphLaunch(void* exec, void* stream) {
    {
        GUARD;
        if (!execs.count(exec)) return INVALID_HANDLE;
        ++replays;
    }
    return put(stream, [exec] { for (const Work& work : static_cast<Graph*>(exec)->work) work(); });
}

// What a stand-in for TensorRT puts into a stream: a call back to it.
API host_enqueue(void* stream, void (*call)(int), int number) {
    return put(stream, [=] { call(number); });
}
// Living objects: device memory, pinned memory, streams, events, modules, graphs, recorded graphs, retained
// contexts, this thread's stack; then launches, replays, and whether an address lies in device memory.
API host_counts(long* out) {
    GUARD;
    const long found[] = {long(device.size()), long(pinned.size()), long(streams.size()), long(events.size()),
                          long(modules.size()), long(graphs.size()), long(execs.size()), primary,
                          long(stack.size()), launches, replays};
    std::memcpy(out, found, sizeof found);
    return OK;
}
API host_is_device(u64 address) { return known(address, 1); }

API cuGetProcAddress_v2(const char* name, void** found, int, u64, void*) {
    const std::string base(name);
    for (const auto& full : {base + "_v2", base, base + "_v3"}) {
        if ((*found = dlsym(RTLD_DEFAULT, full.c_str()))) return OK;
    }
    static void* self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    for (const auto& full : {base + "_v2", base, base + "_v3"}) {
        if (self && (*found = dlsym(self, full.c_str()))) return OK;
    }
    *found = nullptr;
    return NOT_FOUND;
}
API cuGetProcAddress(const char* name, void** found, int version, u64 flags) {
    return cuGetProcAddress_v2(name, found, version, flags, nullptr);
}
