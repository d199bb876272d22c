// The passes between a context network and the coder, so that no array is walked more often than it must be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

constexpr int32_t kMaxSymbol = 1 << 20;  // y_hat in eighths stays below 2^24: exact in float32

// Where element (plane, row, column) of a part of a larger array lies; distances in elements.
struct Places {
  size_t num_planes, height, width;
  ptrdiff_t plane, row, column;

  size_t size() const { return num_planes * height * width; }
};

// symbols = round(y - means / 8), ties to even; y_hat = symbols + means / 8, exactly, unless y_hat is null. Only y lies
// as `places` says. False where a symbol is beyond kMaxSymbol or y is not a number: then the results are worthless.
bool quantise(const float* y, const Places& places, const int16_t* means, int32_t* symbols, float* y_hat);

// y = symbols + means / 8, of elements [from, from + count) of the part, counted row after row; symbols, means and y_hat
// (the same numbers, unless it is null) begin with the first of them. False where a symbol is beyond kMaxSymbol.
bool add_means(const int32_t* symbols, const int16_t* means, float* y_hat, float* y, const Places& places, size_t from,
               size_t count);

// The whole numbers below, cut to what the type holds; NaN becomes the least of them.
void floors(const float* values, int16_t* numbers, size_t size);
void floors(const float* values, uint8_t* numbers, size_t size);

// Adding this to a float below 2^22 rounds it to an integer, as rint does but in any vector instruction set; the
// integer then stands in the low bits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23

// A row of which every second element is meant, as far as it fills vectors; they return how far. Only these are read or
// written. They clear `in_range` where the functions above return false.
size_t quantise_even_avx2(const float* row, const int16_t* means, int32_t* symbols, float* y_hat, size_t size,
                          bool& in_range);
size_t add_means_even_avx2(const int32_t* symbols, const int16_t* means, float* y_hat, float* row, size_t size,
                           bool& in_range);

}  // namespace basic
