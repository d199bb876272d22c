// Any integers as tables: refused, or good for coding.
#include <stdexcept>

#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const int precision = static_cast<int>(input.take(1) % 20);
  const bool mend = input.take(1) % 4;  // else the sums are left as they come
  std::vector<uint16_t> frequencies;
  std::vector<int32_t> lengths, offsets;
  for (uint32_t num_tables = input.take(1) % 12; num_tables > 0; --num_tables) {
    const uint32_t length = mend ? 2 + input.take(1) : input.take(2);
    lengths.push_back(static_cast<int32_t>(length));
    offsets.push_back(static_cast<int32_t>(input.take(4)));
    int64_t left = int64_t{1} << precision;
    for (uint32_t k = 0; k < (mend ? length : length % 300); ++k) {
      uint32_t frequency = input.take(2);
      if (mend) frequency = k + 1 == length ? static_cast<uint32_t>(std::max<int64_t>(left, 0))
                                            : 1 + frequency % static_cast<uint32_t>(std::max<int64_t>(1, left / 4));
      left -= frequency;
      frequencies.push_back(static_cast<uint16_t>(frequency));
    }
  }
  try {
    const basic::Tables tables(frequencies.data(), frequencies.size(), lengths.data(), offsets.data(), lengths.size(),
                               precision);
    std::vector<uint8_t> indexes(input.take(2) % 3000);
    for (size_t i = 0; i < indexes.size(); ++i) indexes[i] = static_cast<uint8_t>(i % lengths.size());
    std::vector<int32_t> symbols;
    decodes(tables, input.rest(), input.rest_size(), indexes, symbols);
    const basic::EncodedStream stream = basic::encode_stream(tables, symbols.data(), indexes.data(), symbols.size(), 0);
    std::vector<uint8_t> coded(stream.num_bytes());
    stream.copy_to(coded.data());
    std::vector<int32_t> decoded;
    require(decodes(tables, coded.data(), coded.size(), indexes, decoded), "tables that are accepted can decode");
    require(decoded == symbols, "tables that are accepted give back what went in");
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
