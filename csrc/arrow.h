// Image bytes that another library shares by the Arrow C data interface.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

// The head of that interface's struct ArrowArray, all that is read here.
struct ArrowArray {
  int64_t length, null_count, offset, num_buffers, num_children;
  const void** buffers;
  ArrowArray** children;
};

// The `size` bytes of a fixed-size list of bytes, one item a pixel; null where `list` is anything else. Its pointers
// must be null or good for as many elements as it says: nobody can check that.
const uint8_t* arrow_bytes(const ArrowArray* list, size_t size);

}  // namespace basic
