// blocks.cpp's loop in AVX2: 8 floats at a time.
#include "blocks.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {
namespace {

inline __m256i to_bytes(__m256 values) {
  const __m256 scaled = _mm256_add_ps(_mm256_mul_ps(values, _mm256_set1_ps(255.0f)), _mm256_set1_ps(0.5f));
  const __m256 positive = _mm256_max_ps(scaled, _mm256_setzero_ps());  // NaN becomes 0
  return _mm256_cvttps_epi32(_mm256_min_ps(positive, _mm256_set1_ps(255.0f)));
}

}  // namespace

bool convert_block_avx2(const float* block, bool grey, uint32_t* pixels) {
  __m256 bad = _mm256_setzero_ps();
  for (size_t k = 0; k < kBlockPixels; k += 8) {
    const __m256 red = _mm256_loadu_ps(block + k), green = _mm256_loadu_ps(block + k + kBlockPixels),
                 blue = _mm256_loadu_ps(block + k + 2 * kBlockPixels);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(red, green, _CMP_UNORD_Q));
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(blue, blue, _CMP_UNORD_Q));
    __m256i made;
    if (grey) {
      made = to_bytes(_mm256_div_ps(_mm256_add_ps(_mm256_add_ps(red, green), blue), _mm256_set1_ps(3.0f)));
    } else {
      const __m256i upper = _mm256_or_si256(_mm256_slli_epi32(to_bytes(blue), 16), _mm256_set1_epi32(-0x1000000));
      made = _mm256_or_si256(_mm256_or_si256(to_bytes(red), _mm256_slli_epi32(to_bytes(green), 8)), upper);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(pixels + k), made);
  }
  return _mm256_testz_ps(bad, bad) != 0;
}

}  // namespace basic
#endif
