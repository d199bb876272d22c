#include "latents.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "dispatch.h"

#if BASIC_X86
#include <emmintrin.h>
#endif

namespace basic {
namespace {

constexpr float kEighth = 0.125f;
constexpr int32_t kRoundBits = 0x4b400000;
constexpr int32_t kLargestBits = 0x49800000;  // of 2^20f; larger floats, infinity and NaN have larger bits

inline int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

constexpr size_t kPass = 2048;  // what is between two passes stays in the first cache

// Call row(place, done, size) for the pieces of rows that hold elements [from, from + count); `done` counts those before.
template <class Place, class Row>
void for_rows(Place* y, const Places& places, size_t from, size_t count, Row row) {
  if (count == 0) return;  // then a side may be 0
  size_t line = from / places.width % places.height, column = from % places.width;
  Place* plane = y + static_cast<ptrdiff_t>(from / places.width / places.height) * places.plane;
  for (size_t done = 0; done < count;) {
    const size_t now = std::min(count - done, places.width - column);
    row(plane + static_cast<ptrdiff_t>(line) * places.row + static_cast<ptrdiff_t>(column) * places.column, done, now);
    done += now, column = 0;
    if (++line == places.height) line = 0, plane += places.plane;
  }
}

void gather(const float* y, float* values, const Places& places, size_t from, size_t count) {
  for_rows(y, places, from, count, [values, step = places.column](const float* row, size_t done, size_t size) {
    float* to = values + done;
    if (step == 2) {
      for (size_t k = 0; k < size; ++k) to[k] = row[2 * k];
    } else {
      for (size_t k = 0; k < size; ++k) to[k] = row[static_cast<ptrdiff_t>(k) * step];
    }
  });
}

#if BASIC_X86
bool has_avx2_rows(const Places& places) {
  return places.column == 2 && places.width >= 8 && (simd() == Simd::avx2 || simd() == Simd::avx512);
}
#endif

bool quantise_block(const float* __restrict y, const int16_t* __restrict means, int32_t* __restrict symbols,
                    float* __restrict y_hat, size_t size) {
  int32_t out_of_range = 0;
  for (size_t i = 0; i < size; ++i) {
    const float mean = static_cast<float>(means[i]) * kEighth;
    const float residual = y[i] - mean;
    out_of_range |= (bits_of(residual) & 0x7fffffff) > kLargestBits;
    const float rounded = residual + kRound;
    symbols[i] = static_cast<int32_t>(static_cast<uint32_t>(bits_of(rounded)) - kRoundBits);
    y_hat[i] = (rounded - kRound) + mean;
  }
  return !out_of_range;
}

#if BASIC_X86
// Four floors, cut to low..high; NaN becomes low. SSE2, which every x86-64 has.
inline __m128i four_floors(const float* values, __m128 low, __m128 high) {
  const __m128 inside = _mm_min_ps(_mm_max_ps(_mm_loadu_ps(values), low), high);
  const __m128i towards_zero = _mm_cvttps_epi32(inside);
  const __m128 is_above = _mm_cmpgt_ps(_mm_cvtepi32_ps(towards_zero), inside);  // -1 where it is
  return _mm_add_epi32(towards_zero, _mm_castps_si128(is_above));
}

// The part that fills vectors. Returns its length.
template <class Number>
size_t vectors_of_floors(const float* values, Number* numbers, size_t size) {
  using Limits = std::numeric_limits<Number>;
  const __m128 low = _mm_set1_ps(Limits::min()), high = _mm_set1_ps(Limits::max());
  const auto eight = [&](const float* from) {
    return _mm_packs_epi32(four_floors(from, low, high), four_floors(from + 4, low, high));
  };
  size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    auto* to = reinterpret_cast<__m128i*>(numbers + i);
    if (sizeof(Number) == 1) {
      _mm_storeu_si128(to, _mm_packus_epi16(eight(values + i), eight(values + i + 8)));
    } else {
      _mm_storeu_si128(to, eight(values + i));
      _mm_storeu_si128(to + 1, eight(values + i + 8));
    }
  }
  return i;
}
#else
template <class Number>
size_t vectors_of_floors(const float*, Number*, size_t) {
  return 0;
}
#endif

template <class Number>
void floors_as(const float* values, Number* numbers, size_t size) {
  constexpr float kLow = std::numeric_limits<Number>::min(), kHigh = std::numeric_limits<Number>::max();
  for (size_t i = vectors_of_floors(values, numbers, size); i < size; ++i) {
    const float above = values[i] > kLow ? values[i] : kLow;  // NaN becomes the least
    const float inside = above < kHigh ? above : kHigh;
    const int32_t towards_zero = static_cast<int32_t>(inside);
    numbers[i] = static_cast<Number>(towards_zero - (static_cast<float>(towards_zero) > inside ? 1 : 0));
  }
}

}  // namespace

void floors(const float* values, int16_t* numbers, size_t size) { floors_as(values, numbers, size); }
void floors(const float* values, uint8_t* numbers, size_t size) { floors_as(values, numbers, size); }

bool quantise(const float* y, const Places& places, const int16_t* means, int32_t* symbols, float* y_hat) {
  bool in_range = true;
#if BASIC_X86
  if (has_avx2_rows(places)) {
    for_rows(y, places, 0, places.size(), [&](const float* row, size_t done, size_t size) {
      float* sum = y_hat ? y_hat + done : nullptr;
      const size_t k = quantise_even_avx2(row, means + done, symbols + done, sum, size, in_range);
      float rest[8], sums[8];
      for (size_t i = k; i < size; ++i) rest[i - k] = row[2 * i];
      in_range &= quantise_block(rest, means + done + k, symbols + done + k, sum ? sum + k : sums, size - k);
    });
    return in_range;
  }
#endif
  float block[kPass], sums[kPass];
  const size_t size = places.size();
  for (size_t from = 0; from < size; from += kPass) {
    const size_t count = std::min(kPass, size - from);
    gather(y, block, places, from, count);
    in_range &= quantise_block(block, means + from, symbols + from, y_hat ? y_hat + from : sums, count);
  }
  return in_range;
}

bool add_means(const int32_t* symbols, const int16_t* means, float* y_hat, float* y, const Places& places, size_t from,
               size_t count) {
  bool in_range = true;
  for_rows(y, places, from, count, [&](float* row, size_t done, size_t size) {
    size_t k = 0;
#if BASIC_X86
    if (has_avx2_rows(places))
      k = add_means_even_avx2(symbols + done, means + done, y_hat ? y_hat + done : nullptr, row, size, in_range);
#endif
    for (; k < size; ++k) {
      in_range &= static_cast<uint32_t>(symbols[done + k]) + kMaxSymbol <= 2u * kMaxSymbol;
      const float value = static_cast<float>(symbols[done + k]) + static_cast<float>(means[done + k]) * kEighth;
      if (y_hat) y_hat[done + k] = value;
      row[static_cast<ptrdiff_t>(k) * places.column] = value;
    }
  });
  return in_range;
}

}  // namespace basic
