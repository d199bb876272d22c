// The passes between a context network and the coder, so that no array is walked more often than it must be.
//
// Most latents of a light level are silent: their scale index is below `num_silent`, their symbol is 0 and is not coded
// (runtime/BITSTREAM.md). Whole planes of them, channels that a level hardly uses, are passed over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

constexpr int32_t kMaxSymbol = 1 << 20;  // y_hat in eighths stays below 2^24: exact in float32
constexpr uint32_t kMaxSilent = 255;     // so that it compares with indexes of a byte

// Where element (plane, row, column) of a part of a larger array lies; distances in elements.
struct Places {
  size_t num_planes, height, width;
  ptrdiff_t plane, row, column;

  size_t size() const { return num_planes * height * width; }
};

// What the coder gets, one after the other: room for as many as there are places.
struct Coded {
  int32_t* symbols;
  uint8_t* indexes;
  size_t size = 0;
  bool in_range = true;  // false where a symbol is beyond kMaxSymbol or y is not a number: then all this is worthless
};

// symbols = round(y - means / 8), ties to even, of the places that are not silent; y_hat = symbols + means / 8, exactly,
// of all places, unless y_hat is null. Only y lies as `places` says; where it is silent nobody looks at it.
Coded quantise(const float* y, const Places& places, const int16_t* means, const uint8_t* indexes, uint32_t num_silent,
               int32_t* symbols, uint8_t* coded, float* y_hat);

// The indexes that are not silent, in order; returns their number. Room for as many as there are.
template <class Index>
size_t without_silent(const Index* indexes, size_t size, uint32_t num_silent, Index* coded);

// y = symbols + means / 8, of elements [from, from + count) of the part, counted row after row; indexes, means and y_hat
// (the same numbers, unless it is null) begin with the first of them. `symbols` are those that are not silent, kSpare
// more must be readable behind them. False where a symbol is beyond kMaxSymbol.
constexpr size_t kSpare = 16;
template <class Index>
bool add_means(const int32_t* symbols, const Index* indexes, uint32_t num_silent, const int16_t* means, float* y_hat,
               float* y, const Places& places, size_t from, size_t count);

// The whole numbers below, cut to what the type holds; NaN becomes the least of them.
void floors(const float* values, int16_t* numbers, size_t size);
void floors(const float* values, uint8_t* numbers, size_t size);

// Adding this to a float below 2^22 rounds it to an integer, as rint does but in any vector instruction set; the
// integer then stands in the low bits.
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23

// Places of one row; y_hat may be null.
template <class Index>
struct Run {
  const Index* indexes;
  const int16_t* means;
  float* y_hat;
  size_t size;
};

// `size` places from this one on. Static: files compiled for one processor include it, as rans.h says.
template <class Index>
static inline Run<Index> run_from(const Run<Index>& run, size_t place, size_t size) {
  return {run.indexes + place, run.means + place, run.y_hat ? run.y_hat + place : nullptr, size};
}

// A row of y of which every second element is meant, as far as it fills vectors; they return how far. Only these
// elements are read or written. `symbols` moves on behind those that were used.
size_t quantise_even_avx2(const float* row, const Run<uint8_t>& run, uint32_t num_silent, Coded& coded);
template <class Index>
size_t add_means_even_avx2(const int32_t*& symbols, const Run<Index>& run, uint32_t num_silent, float* row,
                           bool& in_range);

// All of `num_rows` such rows, each of run.size places; the places of a row follow those of the row before.
void quantise_even_avx512(const float* row, ptrdiff_t step, size_t num_rows, Run<uint8_t> run, uint32_t num_silent,
                          Coded& coded);
template <class Index>
void add_means_even_avx512(const int32_t*& symbols, Run<Index> run, uint32_t num_silent, float* row, ptrdiff_t step,
                           size_t num_rows, bool& in_range);

// The part of `without_silent` that fills vectors: how much of the indexes it took; `num_coded` are those that it kept.
size_t without_silent_avx2(const uint8_t* indexes, size_t size, uint32_t num_silent, uint8_t* coded, size_t& num_coded);
size_t without_silent_avx512(const uint8_t* indexes, size_t size, uint32_t num_silent, uint8_t* coded,
                             size_t& num_coded);

}  // namespace basic
