#include "pixels.h"

#include <cstring>

#include "dispatch.h"

#if BASIC_X86
#include <emmintrin.h>
#endif

namespace basic {
namespace {

void row_to_floats(const uint8_t* __restrict from, ptrdiff_t pixel, float* __restrict to, size_t width) {
  if (pixel == 1) {
    for (size_t k = 0; k < width; ++k) to[k] = static_cast<float>(from[k]) * kStep;
  } else {
    for (size_t k = 0; k < width; ++k) to[k] = static_cast<float>(from[static_cast<ptrdiff_t>(k) * pixel]) * kStep;
  }
}

#if BASIC_X86
inline __m128i load_pixel(const uint8_t* from) {
  int32_t pixel;
  std::memcpy(&pixel, from, sizeof pixel);
  return _mm_cvtsi32_si128(pixel);
}

// Four interleaved pixels of 3 or 4 bytes: the first three bytes of each, with rubbish above them.
inline __m128i load_pixels(const uint8_t* from, ptrdiff_t pixel) {
  if (pixel == 4) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm_unpacklo_epi64(_mm_unpacklo_epi32(load_pixel(from), load_pixel(from + 3)),
                            _mm_unpacklo_epi32(load_pixel(from + 6), load_pixel(from + 9)));
}

// The part of a row of interleaved pixels that fills vectors, to three planes. Returns its length.
size_t vectors_to_floats(const uint8_t* from, ptrdiff_t pixel, float* to, ptrdiff_t to_plane, size_t width) {
  const __m128i byte = _mm_set1_epi32(255);
  const __m128 step = _mm_set1_ps(kStep);
  size_t k = 0;
  if (pixel == 4 && (simd() == Simd::avx2 || simd() == Simd::avx512))
    k = interleaved_to_floats_avx2(from, to, to_plane, width);
  const auto store = [&](float* place, __m128i values) {
    _mm_storeu_ps(place, _mm_mul_ps(_mm_cvtepi32_ps(_mm_and_si128(values, byte)), step));
  };
  for (; k + 5 <= width; k += 4) {  // four bytes of the last of four pixels of three reach into the next
    const __m128i four = load_pixels(from + static_cast<ptrdiff_t>(k) * pixel, pixel);
    store(to + k, four);
    store(to + k + to_plane, _mm_srli_epi32(four, 8));
    store(to + k + 2 * to_plane, _mm_srli_epi32(four, 16));
  }
  return k;
}
#else
size_t vectors_to_floats(const uint8_t*, ptrdiff_t, float*, ptrdiff_t, size_t) { return 0; }
#endif

#if BASIC_X86
// Four numbers as integers, at most 255; `bad` collects lanes that are NaN. SSE2, which every x86-64 has.
inline __m128i four_integers(const float* from, __m128& bad) {
  const __m128 values = _mm_loadu_ps(from);
  bad = _mm_or_ps(bad, _mm_cmpunord_ps(values, values));
  const __m128 scaled = _mm_add_ps(_mm_mul_ps(values, _mm_set1_ps(255.0f)), _mm_set1_ps(0.5f));
  return _mm_cvttps_epi32(_mm_min_ps(scaled, _mm_set1_ps(255.0f)));
}

// The part of a row that fills vectors (negative numbers become 0 where 16 bits are packed to 8). Returns its length.
size_t vectors_to_bytes(const float* from, uint8_t* to, size_t width, int& all_numbers) {
  __m128 bad = _mm_setzero_ps();
  size_t k = 0;
  for (; k + 16 <= width; k += 16) {
    const __m128i low = _mm_packs_epi32(four_integers(from + k, bad), four_integers(from + k + 4, bad));
    const __m128i high = _mm_packs_epi32(four_integers(from + k + 8, bad), four_integers(from + k + 12, bad));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + k), _mm_packus_epi16(low, high));
  }
  all_numbers &= _mm_movemask_ps(bad) == 0;
  return k;
}
#else
size_t vectors_to_bytes(const float*, uint8_t*, size_t, int&) { return 0; }
#endif

// Whether all are numbers.
int row_to_bytes(const float* from, uint8_t* to, size_t width) {
  int all_numbers = 1;
  for (size_t k = vectors_to_bytes(from, to, width, all_numbers); k < width; ++k) {
    all_numbers &= from[k] == from[k];
    const float scaled = from[k] * 255.0f + 0.5f;
    const float positive = scaled > 0.0f ? scaled : 0.0f;  // NaN becomes 0
    to[k] = static_cast<uint8_t>(static_cast<int32_t>(positive < 255.0f ? positive : 255.0f));
  }
  return all_numbers;
}

// Then there may be no memory that a row could begin in.
bool is_empty(const Planes& planes) { return planes.num_planes == 0 || planes.height == 0 || planes.width == 0; }

}  // namespace

void to_floats(const uint8_t* from, float* to, const Planes& planes) {
  const ptrdiff_t pixel = planes.from_pixel;
  if (is_empty(planes)) return;
  const bool interleaved = planes.num_planes == 3 && planes.from_plane == 1 && (pixel == 3 || pixel == 4);
  for (size_t row = 0; row < planes.height; ++row) {
    const auto r = static_cast<ptrdiff_t>(row);
    const uint8_t* from_row = from + r * planes.from_row;
    float* to_row = to + r * planes.to_row;
    const size_t done = interleaved ? vectors_to_floats(from_row, pixel, to_row, planes.to_plane, planes.width) : 0;
    for (size_t plane = 0; plane < planes.num_planes; ++plane) {
      const auto p = static_cast<ptrdiff_t>(plane), k = static_cast<ptrdiff_t>(done);
      row_to_floats(from_row + p * planes.from_plane + k * pixel, pixel, to_row + p * planes.to_plane + k,
                    planes.width - done);
    }
  }
}

bool to_bytes(const float* from, uint8_t* to, const Planes& planes) {
  if (is_empty(planes)) return true;
  bool all_numbers = true;
  for (size_t plane = 0; plane < planes.num_planes; ++plane)
    for (size_t row = 0; row < planes.height; ++row) {
      const auto p = static_cast<ptrdiff_t>(plane), r = static_cast<ptrdiff_t>(row);
      all_numbers &= row_to_bytes(from + p * planes.from_plane + r * planes.from_row,
                                  to + p * planes.to_plane + r * planes.to_row, planes.width) != 0;
    }
  return all_numbers;
}

}  // namespace basic
