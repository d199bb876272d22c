// The passes between a context network and the coder, so that no array is walked more often than it must be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

constexpr int32_t kMaxSymbol = 1 << 20;  // y_hat in eighths stays below 2^24: exact in float32

// symbols = round(y - means / 8), ties to even; y_hat = symbols + means / 8, exactly. False where a symbol is beyond
// kMaxSymbol or y is not a number: then the results are worthless.
bool quantise(const float* y, const int16_t* means, int32_t* symbols, float* y_hat, size_t size);

// y_hat = symbols + means / 8. False where a symbol is beyond kMaxSymbol. y_hat may lie where symbols lies.
bool add_means(const int32_t* symbols, const int16_t* means, float* y_hat, size_t size);

}  // namespace basic
