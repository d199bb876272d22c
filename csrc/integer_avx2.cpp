// Integer networks in AVX2.
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

#include <cstring>

#include "integer_loops.h"

namespace basic {
namespace {

struct Vectors {
  static constexpr size_t kLanes = 8;
  using Int = __m256i;
  using Float = __m256;

  static Int zero() { return _mm256_setzero_si256(); }
  static Int broadcast(int32_t value) { return _mm256_set1_epi32(value); }
  static Int load(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const Int*>(from)); }
  static void store(int32_t* to, Int value) { _mm256_storeu_si256(reinterpret_cast<Int*>(to), value); }
  static Int dot(Int sum, Int x, Int w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)); }
  static Int both(Int a, Int b) { return _mm256_and_si256(a, b); }
  static Int lanes(size_t count) {
    return _mm256_cmpgt_epi32(broadcast(static_cast<int32_t>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Int first(Int value, size_t count) { return both(value, lanes(count)); }
  static Int clamp(Int value, Range range) {
    return _mm256_min_epi32(_mm256_max_epi32(value, broadcast(range.low)), broadcast(range.high));
  }
  static Int down(Int value, int32_t shift) { return _mm256_sra_epi32(value, _mm_cvtsi32_si128(shift)); }
  static Int paired(Int low, Int high) { return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xAA); }
  static Float load_floats(const float* from, size_t count) {
    return count == kLanes ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lanes(count));
  }
  static void store_floats(float* to, Float value) { _mm256_storeu_ps(to, value); }
  static Float plus(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float scaled(Int value, float unit) { return _mm256_mul_ps(_mm256_cvtepi32_ps(value), _mm256_set1_ps(unit)); }
  static Int floors(Float value, float add, Range range) {
    const Float whole = _mm256_floor_ps(_mm256_add_ps(value, _mm256_set1_ps(add)));
    const Float low = _mm256_set1_ps(static_cast<float>(range.low));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(whole, low), _mm256_set1_ps(static_cast<float>(range.high))));
  }
  static void store_means(int16_t* to, Int value, size_t count) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    if (count == kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), words);
    std::memcpy(to, &words, count * sizeof *to);
  }
  static void store_indexes(uint8_t* to, Int value, size_t count) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    std::memcpy(to, &bytes, count);
  }
};

}  // namespace

const IntegerKernels kAvx2Integers = Product<Vectors, 4, 3>::kernels("avx2");

}  // namespace basic
#endif
