// Any floats, infinity and NaN among them: the whole numbers below, cut to what the type holds.
#include <cmath>
#include <limits>

#include "fuzz_common.h"

namespace {

template <class Number>
void check(const std::vector<float>& values) {
  using Limits = std::numeric_limits<Number>;
  std::vector<Number> numbers(values.size());
  basic::floors(values.data(), numbers.data(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double whole = std::floor(static_cast<double>(values[i]));
    const double cut = std::isnan(whole) ? Limits::min() : std::clamp<double>(whole, Limits::min(), Limits::max());
    require(static_cast<double>(numbers[i]) == cut, "the floor, cut");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const bool any = input.take(1) & 1;
  std::vector<float> values(input.take(2) % 2000);
  for (float& value : values)  // any float, or thirds around what the types hold
    value = any ? take_float(input) : static_cast<float>(static_cast<int32_t>(input.take(3)) - (1 << 23)) / 96;
  check<uint8_t>(values);
  check<int16_t>(values);
  return 0;
}
