#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace basic {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

Simd best() {
#if BASIC_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Simd::avx512;
  if (__builtin_cpu_supports("avx2")) return Simd::avx2;
#endif
  return Simd::scalar;
}

Simd choose() {
  const Simd has = best();
  const char* wanted = std::getenv("BASIC_SIMD");
  if (!wanted || !*wanted) return has;
  for (int k = 0; k <= static_cast<int>(has); ++k)
    if (std::string(wanted) == kNames[k]) return static_cast<Simd>(k);
  throw std::invalid_argument(std::string("BASIC_SIMD: expected scalar, avx2 or avx512, at most what this processor has (") +
                              kNames[static_cast<int>(has)] + "), got " + wanted);
}

}  // namespace

Simd simd() {
  static const Simd chosen = choose();
  return chosen;
}

const char* simd_name() { return kNames[static_cast<int>(simd())]; }

}  // namespace basic
