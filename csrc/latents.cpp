#include "latents.h"

#include <algorithm>
#include <cstring>

namespace basic {
namespace {

constexpr float kEighth = 0.125f;
// Adding this to a float below 2^22 rounds it to an integer, as rint does but in any vector instruction set; the
// integer then stands in the low bits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
constexpr int32_t kRoundBits = 0x4b400000;
constexpr int32_t kLargestBits = 0x49800000;  // of 2^20f; larger floats, infinity and NaN have larger bits

inline int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

constexpr size_t kBlock = 2048;  // what is between two passes stays in the first cache

// Call row(values, place, count) for the pieces of rows that hold elements [from, from + count).
template <class Value, class Place, class Row>
void for_rows(Value* values, Place* y, const Places& places, size_t from, size_t count, Row row) {
  size_t line = from / places.width, column = from % places.width;
  while (count > 0) {
    const size_t now = std::min(count, places.width - column);
    const ptrdiff_t at = static_cast<ptrdiff_t>(line / places.height) * places.plane +
                         static_cast<ptrdiff_t>(line % places.height) * places.row +
                         static_cast<ptrdiff_t>(column) * places.column;
    row(values, y + at, now);
    values += now, count -= now, column = 0, ++line;
  }
}

void gather(const float* y, float* values, const Places& places, size_t from, size_t count) {
  for_rows(values, y, places, from, count, [step = places.column](float* to, const float* row, size_t size) {
    if (step == 2) {
      for (size_t k = 0; k < size; ++k) to[k] = row[2 * k];
    } else {
      for (size_t k = 0; k < size; ++k) to[k] = row[static_cast<ptrdiff_t>(k) * step];
    }
  });
}

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

}  // namespace

bool quantise(const float* y, const Places& places, const int16_t* means, int32_t* symbols, float* y_hat) {
  float block[kBlock], sums[kBlock];
  bool in_range = true;
  const size_t size = places.size();
  for (size_t from = 0; from < size; from += kBlock) {
    const size_t count = std::min(kBlock, size - from);
    gather(y, block, places, from, count);
    in_range &= quantise_block(block, means + from, symbols + from, y_hat ? y_hat + from : sums, count);
  }
  return in_range;
}

bool add_means(const int32_t* __restrict symbols, const int16_t* __restrict means, float* __restrict y_hat,
               size_t size) {
  uint32_t out_of_range = 0;
  for (size_t i = 0; i < size; ++i) {
    out_of_range |= static_cast<uint32_t>(symbols[i]) + kMaxSymbol > 2u * kMaxSymbol;
    y_hat[i] = static_cast<float>(symbols[i]) + static_cast<float>(means[i]) * kEighth;
  }
  return !out_of_range;
}

void scatter(const float* values, float* y, const Places& places, size_t from, size_t count) {
  for_rows(values, y, places, from, count, [step = places.column](const float* values, float* row, size_t size) {
    for (size_t k = 0; k < size; ++k) row[static_cast<ptrdiff_t>(k) * step] = values[k];
  });
}

}  // namespace basic
