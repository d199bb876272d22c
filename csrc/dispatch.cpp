#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace basic {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "neon"};

// What this processor has, the best last.
std::vector<Simd> available() {
  std::vector<Simd> found = {Simd::scalar};
#if BASIC_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) found.push_back(Simd::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    found.push_back(Simd::avx512);
#endif
#if BASIC_NEON
  found.push_back(Simd::neon);
#endif
  return found;
}

Simd choose() {
  const std::vector<Simd> found = available();
  const char* wanted = std::getenv("BASIC_SIMD");
  if (!wanted || !*wanted) return found.back();
  std::string names;
  for (const Simd one : found) {
    const char* name = kNames[static_cast<int>(one)];
    if (std::string(wanted) == name) return one;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw std::invalid_argument("BASIC_SIMD: expected what this processor has (" + names + "), got " + wanted);
}

}  // namespace

Simd simd() {
  static const Simd chosen = choose();
  return chosen;
}

const char* simd_name() { return kNames[static_cast<int>(simd())]; }

}  // namespace basic
