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

}  // namespace

bool quantise(const float* __restrict y, const int16_t* __restrict means, int32_t* __restrict symbols,
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

bool add_means(const int32_t* symbols, const int16_t* means, float* y_hat, size_t size) {
  uint32_t out_of_range = 0;
  int32_t block[1024];  // a copy: y_hat may be the same memory
  for (size_t first = 0; first < size; first += 1024) {
    const size_t count = std::min<size_t>(1024, size - first);
    std::memcpy(block, symbols + first, 4 * count);
    for (size_t i = 0; i < count; ++i) {
      out_of_range |= static_cast<uint32_t>(block[i]) + kMaxSymbol > 2u * kMaxSymbol;
      y_hat[first + i] = static_cast<float>(block[i]) + static_cast<float>(means[first + i]) * kEighth;
    }
  }
  return !out_of_range;
}

}  // namespace basic
