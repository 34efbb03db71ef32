#include "cpu.h"

namespace convnet {

Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // The features of x86-64-v4 and -v3; the compiler's check includes the operating system's support.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return Isa::avx2;
#endif
  return Isa::baseline;
}

}  // namespace convnet
