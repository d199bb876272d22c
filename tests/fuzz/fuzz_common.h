// What the fuzz targets share: tables without floating point, and inputs taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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
