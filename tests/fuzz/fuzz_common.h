// What the fuzz targets share: tables without floating point, and inputs taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../csrc/stream.h"

// The bytes of an input, first to last; zeros once they are used up.
class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : next_(bytes), end_(bytes + size) {}

  uint32_t take(int num_bytes) {
    uint32_t value = 0;
    for (int k = 0; k < num_bytes; ++k) value |= static_cast<uint32_t>(next_ < end_ ? *next_++ : 0) << (8 * k);
    return value;
  }
  const uint8_t* rest() const { return next_; }
  size_t rest_size() const { return static_cast<size_t>(end_ - next_); }

 private:
  const uint8_t *next_, *end_;
};

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// Any bits as a float.
inline float take_float(Input& input) {
  const uint32_t bits = input.take(4);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Memory that ends exactly where element (planes, rows, columns) of an array with these steps may lie last, so that a
// sanitizer sees every step beyond; negative steps begin at its other end. At least one element a step.
template <class T>
class Strided {
 public:
  Strided(const size_t (&shape)[3], const int (&steps)[3], T fill) {
    ptrdiff_t first = 0, last = 0, step = 1;
    for (int axis = 2; axis >= 0; --axis) {
      strides[axis] = steps[axis] * step;
      const ptrdiff_t reach = shape[axis] ? strides[axis] * (static_cast<ptrdiff_t>(shape[axis]) - 1) : 0;
      (reach < 0 ? first : last) += reach;
      step *= std::abs(steps[axis]) * static_cast<ptrdiff_t>(std::max<size_t>(shape[axis], 1));
    }
    const bool empty = shape[0] * shape[1] * shape[2] == 0;
    all.assign(empty ? 0 : static_cast<size_t>(last - first) + 1, fill);
    origin = all.data() - (empty ? 0 : first);
  }
  T& at(size_t plane, size_t row, size_t column) {
    return origin[static_cast<ptrdiff_t>(plane) * strides[0] + static_cast<ptrdiff_t>(row) * strides[1] +
                  static_cast<ptrdiff_t>(column) * strides[2]];
  }
  std::vector<T> all;
  T* origin;
  ptrdiff_t strides[3];
};

// Up to 15 planes of 7 rows of 63 elements, and steps of -3 to 3 without 0.
struct Shape {
  explicit Shape(Input& input) : size{input.take(1) % 16, input.take(1) % 8, input.take(1) % 64} {
    for (int& step : steps) step = static_cast<int>(input.take(1) % 6) - 3, step += step >= 0;
  }
  size_t count() const { return size[0] * size[1] * size[2]; }
  size_t size[3];
  int steps[3];
};

// Tables of 2 to 130 symbols that fall off to both sides; precision 14.
inline basic::Tables falling_tables(int num_tables) {
  std::vector<uint16_t> frequencies;
  std::vector<int32_t> lengths, offsets;
  for (int t = 0; t < num_tables; ++t) {
    const int radius = t * t / 60;
    std::vector<int64_t> weights;
    for (int k = -radius; k <= radius; ++k) weights.push_back(1 + 16000ll * (radius + 1 - std::abs(k)) / ((radius + 1) * (radius + 1)));
    weights.push_back(1);  // escape
    int64_t total = 0;
    for (int64_t weight : weights) total += weight;
    int64_t left = 1 << 14;
    for (int64_t& weight : weights) weight = std::max<int64_t>(1, weight * (1 << 14) / total), left -= weight;
    weights[static_cast<size_t>(radius)] += left;
    for (int64_t weight : weights) frequencies.push_back(static_cast<uint16_t>(weight));
    lengths.push_back(static_cast<int32_t>(weights.size()));
    offsets.push_back(-radius);
  }
  return basic::Tables(frequencies.data(), frequencies.size(), lengths.data(), offsets.data(), lengths.size(), 14);
}

// Decode so many symbols in two calls and finish; only BitstreamError may come out.
template <class Index>
bool decodes(const basic::Tables& tables, const uint8_t* bytes, size_t size, const std::vector<Index>& indexes,
             std::vector<int32_t>& symbols) {
  // Exactly as long as they are, so that a sanitizer sees every step beyond.
  const std::vector<uint8_t> stream(bytes, bytes + size);
  symbols.assign(indexes.size(), 0);
  const size_t half = indexes.size() / 3;
  try {
    basic::StreamDecoder decoder(tables, stream.data(), stream.size());
    decoder.decode(indexes.data(), symbols.data(), half);
    decoder.decode(indexes.data() + half, symbols.data() + half, indexes.size() - half);
    decoder.finish();
  } catch (const basic::BitstreamError&) {
    return false;
  }
  return true;
}
