#include "latents.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace basic {
namespace {

constexpr float kEighth = 0.125f;
// Adding and subtracting this rounds a float below 2^22 to an integer, as rint does but in any vector instruction set.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23

}  // namespace

bool quantise(const float* y, const int16_t* means, int32_t* symbols, float* y_hat, size_t size) {
  int in_range = 1;
  for (size_t i = 0; i < size; ++i) {
    const float mean = static_cast<float>(means[i]) * kEighth;
    const float residual = y[i] - mean;
    const int fits = std::fabs(residual) <= static_cast<float>(kMaxSymbol);  // false for NaN
    in_range &= fits;
    const float rounded = ((fits ? residual : 0.0f) + kRound) - kRound;
    symbols[i] = static_cast<int32_t>(rounded);
    y_hat[i] = rounded + mean;
  }
  return in_range;
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
