// CRC-32C (Castagnoli), as in iSCSI and ext4.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

// The checksum of the bytes behind `value`'s: crc32c(b, crc32c(a)) is that of a followed by b.
uint32_t crc32c(const uint8_t* bytes, size_t num_bytes, uint32_t value = 0);

}  // namespace basic
