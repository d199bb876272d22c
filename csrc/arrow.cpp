#include "arrow.h"

namespace basic {

const uint8_t* arrow_bytes(const ArrowArray* list, size_t size) {
  if (!list || list->num_children != 1 || !list->children || list->offset) return nullptr;
  const ArrowArray* bytes = list->children[0];
  if (!bytes || bytes->offset || bytes->num_buffers != 2 || !bytes->buffers) return nullptr;
  if (bytes->length < 0 || static_cast<uint64_t>(bytes->length) != size) return nullptr;
  return static_cast<const uint8_t*>(bytes->buffers[1]);
}

}  // namespace basic
