// Interleaved pixels to planes in AVX2, 8 at a time.
#include "pixels.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {

size_t interleaved_to_floats_avx2(const uint8_t* from, float* to, ptrdiff_t to_plane, size_t width) {
  const __m256 step = _mm256_set1_ps(kStep);
  // Byte `plane` of every pixel as an integer of 32 bits.
  const auto order = [](char plane) {
    const auto at = [plane](int pixel) { return plane + 4 * pixel; };
    return _mm256_broadcastsi128_si256(_mm_setr_epi32(at(0) | -256, at(1) | -256, at(2) | -256, at(3) | -256));
  };
  const __m256i orders[3] = {order(0), order(1), order(2)};
  size_t k = 0;
  for (; k + 9 <= width; k += 8) {  // the fourth byte of a row's last pixel need not be there
    const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 4 * k));
    for (int plane = 0; plane < 3; ++plane) {
      const __m256 value = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(eight, orders[plane]));
      _mm256_storeu_ps(to + plane * to_plane + static_cast<ptrdiff_t>(k), _mm256_mul_ps(value, step));
    }
  }
  return k;
}

}  // namespace basic
#endif
