// Image bytes that libraries share by the Arrow C data interface.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

struct ArrowSchema {
  const char *format, *name, *metadata;
  int64_t flags, num_children;
  ArrowSchema **children, *dictionary;
  void (*release)(ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  int64_t length, null_count, offset, num_buffers, num_children;
  const void** buffers;
  ArrowArray **children, *dictionary;
  void (*release)(ArrowArray*);
  void* private_data;
};

// The `size` bytes of a fixed-size list of bytes, one item a pixel; null where `list` is anything else. Its pointers
// must be null or good for as many elements as it says: nobody can check that.
const uint8_t* arrow_bytes(const ArrowArray* list, size_t size);

}  // namespace basic
