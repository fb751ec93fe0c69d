// One binary for every processor: work compiled for several instruction sets, chosen at run time.
// Plain loops throughout; the compiler vectorizes them once for each set.
#pragma once

#include <algorithm>

#if defined(__GNUC__)
#define EDGEVID_INLINE inline __attribute__((always_inline))
#else
#define EDGEVID_INLINE inline
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define EDGEVID_LITTLE_ENDIAN false
#else
#define EDGEVID_LITTLE_ENDIAN true
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define EDGEVID_X86 1
#if defined(__clang__)
#define EDGEVID_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"), min_vector_width(512)))
#else
#define EDGEVID_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif
#define EDGEVID_AVX2 __attribute__((target("avx2")))
#endif

namespace edgevid {

enum class Isa { base, avx2, avx512 };

inline Isa best_isa() {
#if defined(EDGEVID_X86)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return Isa::avx512;
    if (__builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
    return Isa::base;
}

// The set in use; tests lower it.
inline Isa& isa() {
    static Isa chosen = best_isa();
    return chosen;
}

#if defined(EDGEVID_X86)
template <typename Work>
EDGEVID_AVX512 void run_avx512(Work& work) {
    work();
}
template <typename Work>
EDGEVID_AVX2 void run_avx2(Work& work) {
    work();
}
#endif

// Runs work(), an always-inlined call operator, as compiled for the set in use.
template <typename Work>
void run(Work& work) {
#if defined(EDGEVID_X86)
    if (isa() == Isa::avx512) return run_avx512(work);
    if (isa() == Isa::avx2) return run_avx2(work);
#endif
    work();
}

}  // namespace edgevid
