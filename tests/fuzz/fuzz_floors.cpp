// Any floats: the whole numbers below, cut to what 16 or 8 bits hold.
#include <cmath>
#include <limits>

#include "fuzz_common.h"

namespace {

template <class Number>
void floors(Input& input, size_t size) {
  std::vector<float> values(size);
  const bool any = input.take(1) & 1;
  for (float& value : values)  // any float, or thirds beyond both ends of 16 bits
    value = any ? take_float(input) : static_cast<float>(static_cast<int32_t>(input.take(3)) - (1 << 23)) / 3 / 32;
  std::vector<Number> numbers(size);
  basic::floors(values.data(), numbers.data(), size);
  using Limits = std::numeric_limits<Number>;
  for (size_t i = 0; i < size; ++i) {
    const double below = std::isnan(values[i]) ? double{Limits::min()} : std::floor(double{values[i]});
    require(numbers[i] == std::clamp(below, double{Limits::min()}, double{Limits::max()}), "floored and cut");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const uint32_t kind = input.take(1), count = input.take(1);
  if (kind & 1) floors<int16_t>(input, count);
  else floors<uint8_t>(input, count);
  return 0;
}
