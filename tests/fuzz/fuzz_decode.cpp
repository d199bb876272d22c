// Any bytes as a stream: no crash, and no result that the encoder would not have written.
#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const basic::Tables tables = falling_tables(64);
  Input input(bytes, size);
  std::vector<uint8_t> indexes(input.take(2) % 6000);
  const uint32_t step = input.take(1), first = input.take(1);
  for (size_t i = 0; i < indexes.size(); ++i) indexes[i] = static_cast<uint8_t>((first + i * step / 16) % 64);
  std::vector<int32_t> symbols;
  if (!decodes(tables, input.rest(), input.rest_size(), indexes, symbols)) return 0;
  const basic::EncodedStream again =
      basic::encode_stream(tables, symbols.data(), indexes.data(), symbols.size(), 1u << (input.rest()[0] & 7));
  require(again.num_bytes() <= input.rest_size() + 8 * 32 + 600, "a decodable stream is not much longer than ours");
  return 0;
}
