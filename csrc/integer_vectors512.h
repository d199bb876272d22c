// Vectors of AVX-512 (F, BW, DQ, VL) for integer_loops.h, but for `dot`, which newer processors do in one.
#pragma once

#include <immintrin.h>

#include "integer_loops.h"

namespace basic {
namespace {

inline __mmask16 first_lanes(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }

struct Vectors512 {
  static constexpr size_t kLanes = 16;
  using Int = __m512i;
  using Float = __m512;

  static Int zero() { return _mm512_setzero_si512(); }
  static Int broadcast(int32_t value) { return _mm512_set1_epi32(value); }
  static Int load(const int32_t* from) { return _mm512_loadu_si512(from); }
  static void store(int32_t* to, Int value) { _mm512_storeu_si512(to, value); }
  static Int both(Int a, Int b) { return _mm512_and_si512(a, b); }
  static Int first(Int value, size_t count) { return _mm512_maskz_mov_epi32(first_lanes(count), value); }
  static Int clamp(Int value, Range range) {
    return _mm512_min_epi32(_mm512_max_epi32(value, broadcast(range.low)), broadcast(range.high));
  }
  static Int down(Int value, int32_t shift) { return _mm512_sra_epi32(value, _mm_cvtsi32_si128(shift)); }
  static Int paired(Int low, Int high) {
    return _mm512_mask_blend_epi16(0xAAAAAAAAu, low, _mm512_slli_epi32(high, 16));
  }
  static Float load_floats(const float* from, size_t count) { return _mm512_maskz_loadu_ps(first_lanes(count), from); }
  static void store_floats(float* to, Float value) { _mm512_storeu_ps(to, value); }
  static Float plus(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float scaled(Int value, float unit) { return _mm512_mul_ps(_mm512_cvtepi32_ps(value), _mm512_set1_ps(unit)); }
  static Int floors(Float value, float add, Range range) {
    const Float whole = _mm512_roundscale_ps(_mm512_add_ps(value, _mm512_set1_ps(add)), 0x09);  // down
    const Float low = _mm512_set1_ps(static_cast<float>(range.low));
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(whole, low), _mm512_set1_ps(static_cast<float>(range.high))));
  }
  static void store_means(int16_t* to, Int value, size_t count) {
    _mm256_mask_storeu_epi16(to, first_lanes(count), _mm512_cvtepi32_epi16(value));
  }
  static void store_indexes(uint8_t* to, Int value, size_t count) {
    _mm_mask_storeu_epi8(to, first_lanes(count), _mm512_cvtepi32_epi8(value));
  }
};

}  // namespace
}  // namespace basic
