// Any symbols, indexes, number of lanes and limit come back.
#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const basic::Tables tables = falling_tables(96);
  Input input(bytes, size);
  const uint32_t lanes = input.take(1) % 7, repeat = 1 + input.take(1) % 64;
  const size_t limit = input.take(1) % 32, max_overhead = limit < basic::kMinOverhead ? 0 : limit;
  std::vector<int32_t> symbols;
  std::vector<uint16_t> indexes;
  while (input.rest_size() > 0 && symbols.size() < 20000) {
    const uint32_t head = input.take(1), index = input.take(1) % 96;
    const int width = head % 8 < 6 ? 1 : head % 8 == 6 ? 2 : 4;
    uint32_t symbol = input.take(width);
    if (width < 4) symbol -= 1u << (8 * width - 1);
    for (uint32_t k = 0; k < repeat; ++k) {
      symbols.push_back(static_cast<int32_t>(symbol));
      indexes.push_back(static_cast<uint16_t>((index + (head / 8) * k) % 96));
    }
  }
  const basic::EncodedStream stream =
      basic::encode_stream(tables, symbols.data(), indexes.data(), symbols.size(), lanes == 6 ? 0 : 1u << lanes,
                           max_overhead);
  std::vector<uint8_t> coded(stream.num_bytes());
  stream.copy_to(coded.data());
  std::vector<int32_t> decoded;
  require(decodes(tables, coded.data(), coded.size(), indexes, decoded), "what was encoded can be decoded");
  require(decoded == symbols, "what was encoded comes back");
  return 0;
}
