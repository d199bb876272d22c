// Any struct of the Arrow interface whose pointers are null or as long as it says: its bytes, or refused.
#include "../../csrc/arrow.h"

#include "fuzz_common.h"

namespace {

// 0 to 3 nearly always; else anything, sign and all.
int64_t take_number(Input& input) {
  const uint32_t kind = input.take(1);
  if (kind < 250) return kind % 4;
  const uint64_t low = input.take(4);
  return static_cast<int64_t>(low | static_cast<uint64_t>(input.take(4)) << 32);
}

// Fields as they come; `buffers` and `children` have as many elements as they say, up to 8, or are null.
struct Array : basic::ArrowArray {
  explicit Array(Input& input) {
    length = take_number(input), null_count = take_number(input), offset = take_number(input);
    num_buffers = take_number(input), num_children = take_number(input);
    const auto room = [](int64_t count) { return static_cast<size_t>(std::clamp<int64_t>(count, 0, 8)); };
    own_buffers.resize(room(num_buffers)), own_children.resize(room(num_children));
    buffers = own_buffers.empty() ? nullptr : own_buffers.data();
    children = own_children.empty() ? nullptr : own_children.data();
  }
  std::vector<const void*> own_buffers;
  std::vector<basic::ArrowArray*> own_children;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Array list(input), inner(input);
  const uint32_t kind = input.take(1), wanted = input.take(1);
  if (kind & 1) list.num_children = 1, list.own_children.assign(1, nullptr), list.children = list.own_children.data();
  if (kind & 2) inner.num_buffers = 2, inner.own_buffers.assign(2, nullptr), inner.buffers = inner.own_buffers.data();
  if (kind & 4) inner.length = wanted;
  for (basic::ArrowArray*& child : list.own_children) child = input.take(1) & 7 ? &inner : nullptr;
  const std::vector<uint8_t> pixels(static_cast<size_t>(std::clamp<int64_t>(inner.length, 0, 4096)), 9);
  for (const void*& buffer : inner.own_buffers) buffer = input.take(1) & 7 ? pixels.data() : nullptr;
  const size_t asked = kind & 8 ? static_cast<size_t>(take_number(input)) : wanted;
  const uint8_t* found = basic::arrow_bytes(kind & 16 ? nullptr : &list, asked);
  if (!found) return 0;
  require(list.num_children == 1 && list.offset == 0 && inner.offset == 0, "one list from its first item on");
  require(inner.length >= 0 && static_cast<uint64_t>(inner.length) == asked, "of as many bytes as were asked for");
  for (size_t k = 0; k < std::min<size_t>(asked, 4096); ++k) require(found[k] == 9, "its own");
  return 0;
}
