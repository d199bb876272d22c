// Any bytes, cut anywhere: the checksum that the definition gives, bit by bit.
#include "../../csrc/crc32c.h"

#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const size_t cut = input.take(2);
  const uint32_t before = input.take(4);
  const std::vector<uint8_t> data(input.rest(), input.rest() + input.rest_size());
  uint32_t expected = ~before;
  for (const uint8_t byte : data) {
    expected ^= byte;
    for (int bit = 0; bit < 8; ++bit) expected = expected >> 1 ^ (expected & 1 ? 0x82f63b78u : 0);
  }
  require(basic::crc32c(data.data(), data.size(), before) == ~expected, "the polynomial's remainder");
  // Two vectors of their own: reading beyond the first must be seen.
  const size_t first = data.empty() ? 0 : cut % (data.size() + 1);
  const std::vector<uint8_t> head(data.begin(), data.begin() + static_cast<ptrdiff_t>(first));
  const std::vector<uint8_t> tail(data.begin() + static_cast<ptrdiff_t>(first), data.end());
  const uint32_t of_head = basic::crc32c(head.data(), head.size(), before);
  require(basic::crc32c(tail.data(), tail.size(), of_head) == ~expected, "continued where it was cut");
  return 0;
}
