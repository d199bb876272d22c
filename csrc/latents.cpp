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

// Call rows(place, done, size, num_rows) for the rows, or pieces of one, that hold elements [from, from + count); `done`
// counts those before, whole rows of a plane come together.
template <class Place, class Rows>
void for_rows(Place* y, const Places& places, size_t from, size_t count, Rows rows) {
  if (count == 0) return;  // then a side may be 0
  size_t line = from / places.width % places.height, column = from % places.width;
  Place* plane = y + static_cast<ptrdiff_t>(from / places.width / places.height) * places.plane;
  for (size_t done = 0; done < count;) {
    const size_t size = std::min(count - done, places.width - column);
    const size_t num_rows = size < places.width ? 1 : std::min((count - done) / size, places.height - line);
    rows(plane + static_cast<ptrdiff_t>(line) * places.row + static_cast<ptrdiff_t>(column) * places.column, done, size,
         num_rows);
    done += size * num_rows, column = 0, line += num_rows;
    if (line == places.height) line = 0, plane += places.plane;
  }
}

enum class Rows { any, avx2, avx512 };

// Which loops take rows of `places`.
Rows rows_of(const Places& places) {
#if BASIC_X86
  if (places.column == 2 && simd() == Simd::avx512) return Rows::avx512;
  if (places.column == 2 && places.width >= 8 && simd() == Simd::avx2) return Rows::avx2;
#endif
  static_cast<void>(places);
  return Rows::any;
}

template <class Index>
bool all_silent(const Index* indexes, size_t size, uint32_t num_silent) {
  Index largest = 0;
  for (size_t i = 0; i < size; ++i) largest = std::max(largest, indexes[i]);
  return largest < num_silent;
}

// At most kPass places, whose y lie one after the other.
void quantise_run(const float* __restrict y, const Run<uint8_t>& run, uint32_t num_silent, Coded& coded) {
  int32_t symbols[kPass], out_of_range = 0;
  float sums[kPass];
  for (size_t i = 0; i < run.size; ++i) {
    const float mean = static_cast<float>(run.means[i]) * kEighth;
    const float residual = run.indexes[i] < num_silent ? 0.0f : y[i] - mean;
    out_of_range |= (bits_of(residual) & 0x7fffffff) > kLargestBits;
    const float rounded = residual + kRound;
    symbols[i] = static_cast<int32_t>(static_cast<uint32_t>(bits_of(rounded)) - kRoundBits);
    sums[i] = (rounded - kRound) + mean;
  }
  if (run.y_hat) std::copy(sums, sums + run.size, run.y_hat);
  for (size_t i = 0; i < run.size; ++i) {  // no branch: nothing could predict it
    coded.symbols[coded.size] = symbols[i];
    coded.indexes[coded.size] = run.indexes[i];
    coded.size += run.indexes[i] >= num_silent;
  }
  coded.in_range &= !out_of_range;
}

// The same of a row whose elements lie `step` apart.
void quantise_row(const float* row, ptrdiff_t step, const Run<uint8_t>& run, uint32_t num_silent, Coded& coded) {
  float block[kPass];
  for (size_t from = 0; from < run.size; from += kPass) {
    const size_t count = std::min(kPass, run.size - from);
    for (size_t k = 0; k < count; ++k) block[k] = row[static_cast<ptrdiff_t>(from + k) * step];
    quantise_run(block, {run.indexes + from, run.means + from, run.y_hat ? run.y_hat + from : nullptr, count},
                 num_silent, coded);
  }
}

template <class Index>
void add_means_row(const int32_t*& symbols, const Run<Index>& run, uint32_t num_silent, float* row, ptrdiff_t step,
                   bool& in_range) {
  for (size_t k = 0; k < run.size; ++k) {
    const bool loud = run.indexes[k] >= num_silent;
    const int32_t symbol = loud ? *symbols : 0;
    symbols += loud;
    in_range &= static_cast<uint32_t>(symbol) + kMaxSymbol <= 2u * kMaxSymbol;
    const float value = static_cast<float>(symbol) + static_cast<float>(run.means[k]) * kEighth;
    if (run.y_hat) run.y_hat[k] = value;
    row[static_cast<ptrdiff_t>(k) * step] = value;
  }
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

Coded quantise(const float* y, const Places& places, const int16_t* means, const uint8_t* indexes, uint32_t num_silent,
               int32_t* symbols, uint8_t* coded_indexes, float* y_hat) {
  Coded coded{symbols, coded_indexes};
  [[maybe_unused]] const Rows rows = rows_of(places);
  const size_t plane_size = places.height * places.width;
  for (size_t plane = 0; plane < places.num_planes; ++plane) {
    const size_t start = plane * plane_size;
    if (all_silent(indexes + start, plane_size, num_silent)) {
      for (size_t i = start; y_hat && i < start + plane_size; ++i) y_hat[i] = static_cast<float>(means[i]) * kEighth;
      continue;
    }
    for_rows(y, places, start, plane_size, [&](const float* row, size_t done, size_t size, size_t num_rows) {
      const size_t at = start + done;
      Run<uint8_t> run = {indexes + at, means + at, y_hat ? y_hat + at : nullptr, size};
#if BASIC_X86
      if (rows == Rows::avx512) return quantise_even_avx512(row, places.row, num_rows, run, num_silent, coded);
#endif
      for (size_t i = 0; i < num_rows; ++i, row += places.row) {
        size_t k = 0;
#if BASIC_X86
        if (rows == Rows::avx2) k = quantise_even_avx2(row, run, num_silent, coded);
#endif
        quantise_row(row + static_cast<ptrdiff_t>(k) * places.column, places.column, run_from(run, k, size - k), num_silent, coded);
        run = run_from(run, size, size);
      }
    });
  }
  return coded;
}

template <class Index>
size_t without_silent(const Index* indexes, size_t size, uint32_t num_silent, Index* coded) {
  size_t num_coded = 0, k = 0;
#if BASIC_X86
  if constexpr (sizeof(Index) == 1) {
    if (simd() == Simd::avx512) k = without_silent_avx512(indexes, size, num_silent, coded, num_coded);
    if (simd() == Simd::avx2) k = without_silent_avx2(indexes, size, num_silent, coded, num_coded);
  }
#endif
  for (; k < size; ++k) {
    coded[num_coded] = indexes[k];
    num_coded += indexes[k] >= num_silent;
  }
  return num_coded;
}

template <class Index>
bool add_means(const int32_t* symbols, const Index* indexes, uint32_t num_silent, const int16_t* means, float* y_hat,
               float* y, const Places& places, size_t from, size_t count) {
  bool in_range = true;
  [[maybe_unused]] const Rows rows = rows_of(places);
  for_rows(y, places, from, count, [&](float* row, size_t done, size_t size, size_t num_rows) {
    Run<Index> run = {indexes + done, means + done, y_hat ? y_hat + done : nullptr, size};
#if BASIC_X86
    if (rows == Rows::avx512)
      return add_means_even_avx512(symbols, run, num_silent, row, places.row, num_rows, in_range);
#endif
    for (size_t i = 0; i < num_rows; ++i, row += places.row) {
      size_t k = 0;
#if BASIC_X86
      if (rows == Rows::avx2) k = add_means_even_avx2(symbols, run, num_silent, row, in_range);
#endif
      add_means_row(symbols, run_from(run, k, size - k), num_silent, row + static_cast<ptrdiff_t>(k) * places.column, places.column,
                    in_range);
      run = run_from(run, size, size);
    }
  });
  return in_range;
}

#define BASIC_INSTANTIATE_LATENTS(Index)                                              \
  template size_t without_silent(const Index*, size_t, uint32_t, Index*);             \
  template bool add_means(const int32_t*, const Index*, uint32_t, const int16_t*, float*, float*, const Places&, size_t, \
                          size_t);
BASIC_INSTANTIATE_LATENTS(uint8_t)
BASIC_INSTANTIATE_LATENTS(uint16_t)

}  // namespace basic
