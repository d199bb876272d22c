// Rows of latents in AVX2, 8 at a time, where every second element of a row is meant.
#include "latents.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {
namespace {

inline __m256 load_means(const int16_t* means) {
  const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(means));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(eight)), _mm256_set1_ps(0.125f));
}

// Elements 0, 2 .. 14: nothing beyond them is read.
inline __m256 load_even(const float* row) {
  const __m256i all_but_last = _mm256_setr_epi32(-1, -1, -1, -1, -1, -1, -1, 0);
  const __m256 low = _mm256_loadu_ps(row), high = _mm256_maskload_ps(row + 8, all_but_last);
  const __m256 mixed = _mm256_shuffle_ps(low, high, 0x88);
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}

// To elements 0, 2 .. 14: nothing between or beyond them is written.
inline void store_even(float* row, __m256 values) {
  const __m256i even = _mm256_setr_epi32(-1, 0, -1, 0, -1, 0, -1, 0);
  const __m256i low = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), high = _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7);
  _mm256_maskstore_ps(row, even, _mm256_permutevar8x32_ps(values, low));
  _mm256_maskstore_ps(row + 8, even, _mm256_permutevar8x32_ps(values, high));
}

}  // namespace

size_t quantise_even_avx2(const float* row, const int16_t* means, int32_t* symbols, float* y_hat, size_t size,
                          bool& in_range) {
  const __m256 round = _mm256_set1_ps(kRound), largest = _mm256_set1_ps(kMaxSymbol);
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 fits = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  size_t k = 0;
  for (; k + 8 <= size; k += 8) {
    const __m256 mean = load_means(means + k), residual = _mm256_sub_ps(load_even(row + 2 * k), mean);
    fits = _mm256_and_ps(fits, _mm256_cmp_ps(_mm256_andnot_ps(sign, residual), largest, _CMP_LE_OQ));  // not NaN
    const __m256 rounded = _mm256_add_ps(residual, round);
    const __m256i symbol = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(round));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(symbols + k), symbol);
    if (y_hat) _mm256_storeu_ps(y_hat + k, _mm256_add_ps(_mm256_sub_ps(rounded, round), mean));
  }
  in_range &= _mm256_movemask_ps(fits) == 255;
  return k;
}

size_t add_means_even_avx2(const int32_t* symbols, const int16_t* means, float* y_hat, float* row, size_t size,
                           bool& in_range) {
  __m256i bad = _mm256_setzero_si256();
  size_t k = 0;
  for (; k + 8 <= size; k += 8) {
    const __m256i symbol = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + k));
    const __m256i most = _mm256_set1_epi32(kMaxSymbol), least = _mm256_set1_epi32(-kMaxSymbol);
    bad = _mm256_or_si256(bad, _mm256_or_si256(_mm256_cmpgt_epi32(symbol, most), _mm256_cmpgt_epi32(least, symbol)));
    const __m256 value = _mm256_add_ps(_mm256_cvtepi32_ps(symbol), load_means(means + k));
    if (y_hat) _mm256_storeu_ps(y_hat + k, value);
    store_even(row + 2 * k, value);
  }
  in_range &= _mm256_testz_si256(bad, bad) != 0;
  return k;
}

}  // namespace basic
#endif
