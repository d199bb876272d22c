// Any symbols: the bits that are counted are those that a stream takes.
#include <cmath>

#include "fuzz_common.h"

namespace {

template <class Symbol, class Index>
void check(const std::vector<int32_t>& given, const std::vector<uint16_t>& given_indexes) {
  static const basic::Tables tables = falling_tables(96);
  const std::vector<Symbol> symbols(given.begin(), given.end());
  const std::vector<Index> indexes(given_indexes.begin(), given_indexes.end());
  const double bits = basic::count_bits(tables, symbols.data(), indexes.data(), symbols.size());
  require(std::isfinite(bits) && bits >= 0, "a number of bits");
  const double size = 8.0 * static_cast<double>(
      basic::encode_stream(tables, symbols.data(), indexes.data(), symbols.size(), 1).num_bytes());
  // States of 17 bits and more are a quotient of at least 2^17 / 2^14 times a frequency: up to 1/8 of it is cut off.
  require(size >= bits - 8 && size <= bits * 1.01 + 0.2 * static_cast<double>(symbols.size()) + 64, "what a stream takes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const uint32_t kind = input.take(1), repeat = 1 + input.take(1);
  std::vector<int32_t> symbols;
  std::vector<uint16_t> indexes;
  while (input.rest_size() > 0 && symbols.size() < 4000) {
    const uint32_t index = input.take(1) % 96;
    const int width = kind & 1 ? 2 : 4;
    const uint32_t raw = input.take(width) >> (input.take(1) % 3 ? 8 * width - 6 : 0);
    const int32_t symbol = kind & 1 ? static_cast<int16_t>(raw) : static_cast<int32_t>(raw);
    for (uint32_t k = 0; k < repeat; ++k) symbols.push_back(symbol), indexes.push_back(static_cast<uint16_t>(index));
  }
  if (kind & 1) {
    kind & 2 ? check<int16_t, uint8_t>(symbols, indexes) : check<int16_t, uint16_t>(symbols, indexes);
  } else {
    kind & 2 ? check<int32_t, uint8_t>(symbols, indexes) : check<int32_t, uint16_t>(symbols, indexes);
  }
  return 0;
}
