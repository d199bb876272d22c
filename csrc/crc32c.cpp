#include "crc32c.h"

#include <array>
#include <cstring>

#include "dispatch.h"

#if BASIC_X86
#include <nmmintrin.h>
#endif

namespace basic {
namespace {

// Eight tables: eight bytes a step ("slicing by 8", Kounavis and Berry 2005).
struct CrcTables {
  std::array<std::array<uint32_t, 256>, 8> rows{};
  CrcTables() {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t crc = byte;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
      rows[0][byte] = crc;
    }
    for (size_t row = 1; row < 8; ++row)
      for (size_t byte = 0; byte < 256; ++byte)
        rows[row][byte] = rows[row - 1][byte] >> 8 ^ rows[0][rows[row - 1][byte] & 255];
  }
};

uint32_t crc32c_portable(const uint8_t* bytes, size_t num_bytes, uint32_t value) {
  static const CrcTables tables;
  const auto& rows = tables.rows;
  uint32_t crc = ~value;
  for (; num_bytes >= 8; bytes += 8, num_bytes -= 8) {
    crc ^= bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
    crc = rows[7][crc & 255] ^ rows[6][crc >> 8 & 255] ^ rows[5][crc >> 16 & 255] ^ rows[4][crc >> 24] ^
          rows[3][bytes[4]] ^ rows[2][bytes[5]] ^ rows[1][bytes[6]] ^ rows[0][bytes[7]];
  }
  for (; num_bytes > 0; ++bytes, --num_bytes) crc = crc >> 8 ^ rows[0][(crc ^ *bytes) & 255];
  return ~crc;
}

#if BASIC_X86
// The instruction that SSE4.2 has for it.
__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(const uint8_t* bytes, size_t num_bytes, uint32_t value) {
  uint64_t crc = static_cast<uint32_t>(~value);
  for (; num_bytes >= 8; bytes += 8, num_bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  for (; num_bytes > 0; ++bytes, --num_bytes) crc = _mm_crc32_u8(static_cast<uint32_t>(crc), *bytes);
  return ~static_cast<uint32_t>(crc);
}
#endif

}  // namespace

uint32_t crc32c(const uint8_t* bytes, size_t num_bytes, uint32_t value) {
#if BASIC_X86
  if (simd() != Simd::scalar && __builtin_cpu_supports("sse4.2")) return crc32c_sse42(bytes, num_bytes, value);
#endif
  return crc32c_portable(bytes, num_bytes, value);
}

}  // namespace basic
