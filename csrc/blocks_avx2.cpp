// blocks.cpp's loop in AVX2: a row of 8 pixels at a time.
#include "blocks.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {
namespace {

// Integers of which packing makes 0..255; what NaN becomes does not matter.
inline __m256i integers(__m256 values) {
  const __m256 scaled = _mm256_add_ps(_mm256_mul_ps(values, _mm256_set1_ps(255.0f)), _mm256_set1_ps(0.5f));
  return _mm256_cvttps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(255.0f)));  // -2^31 for all below
}

// Eight pixels of four bytes from their planes, the fourth 255.
inline __m256i interleaved(__m256i red, __m256i green, __m256i blue) {
  const __m256i low = _mm256_packs_epi32(red, green), high = _mm256_packs_epi32(blue, _mm256_set1_epi32(255));
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm256_shuffle_epi8(_mm256_packus_epi16(low, high), order);
}

template <bool kBiased>
inline bool convert_block(const float* block, const float* bias, bool grey, uint8_t* to, ptrdiff_t row) {
  __m256 bad = _mm256_setzero_ps();
  const auto sums = [&](size_t k) {
    const __m256 values = _mm256_loadu_ps(block + k);
    return kBiased ? _mm256_add_ps(values, _mm256_loadu_ps(bias + k)) : values;
  };
  const auto within = [](__m256 sum) {
    return kBiased ? _mm256_min_ps(_mm256_max_ps(sum, _mm256_setzero_ps()), _mm256_set1_ps(1.0f)) : sum;
  };
  for (size_t k = 0; k < kBlockPixels; k += 8, to += row) {
    __m256 red = sums(k), green = sums(k + kBlockPixels), blue = sums(k + 2 * kBlockPixels);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(red, green, _CMP_UNORD_Q));
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(blue, blue, _CMP_UNORD_Q));
    red = within(red), green = within(green), blue = within(blue);
    __m256i made;
    if (grey) {
      const __m256 mean = _mm256_div_ps(_mm256_add_ps(_mm256_add_ps(red, green), blue), _mm256_set1_ps(3.0f));
      made = interleaved(integers(mean), _mm256_setzero_si256(), _mm256_setzero_si256());
    } else {
      made = interleaved(integers(red), integers(green), integers(blue));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), made);
  }
  return _mm256_testz_ps(bad, bad) != 0;
}

}  // namespace

bool convert_block_avx2(const float* block, const float* bias, bool grey, uint8_t* to, ptrdiff_t row) {
  return bias ? convert_block<true>(block, bias, grey, to, row) : convert_block<false>(block, bias, grey, to, row);
}

}  // namespace basic
#endif
