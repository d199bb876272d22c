// Any floats wherever they lie: the nearest integers beside the means where they are not silent, or refused.
#include <cmath>

#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const Shape shape(input);
  const uint32_t kind = input.take(1);
  Strided<float> y(shape.size, shape.steps, 7.0f);
  std::vector<int16_t> means(shape.count());
  std::vector<float> in_order;
  for (size_t p = 0; p < shape.size[0]; ++p)
    for (size_t r = 0; r < shape.size[1]; ++r)
      for (size_t k = 0; k < shape.size[2]; ++k) {
        // Thirds of what is near, or any float: infinity and NaN among them.
        const float value = kind & 1 ? take_float(input) : static_cast<float>(static_cast<int32_t>(input.take(2)) - 32768) / 3;
        means[in_order.size()] = static_cast<int16_t>(input.take(2));
        in_order.push_back(value), y.at(p, r, k) = value;
      }
  const uint32_t num_silent = kind >> 2 & 7, step = input.take(1);
  std::vector<uint8_t> indexes(in_order.size());
  for (size_t i = 0; i < indexes.size(); ++i) indexes[i] = static_cast<uint8_t>(step & 128 ? i * step / 16 % 16 : input.take(1) % 16);
  std::vector<int32_t> symbols(in_order.size());
  std::vector<uint8_t> coded(in_order.size());
  std::vector<float> y_hat(kind & 2 ? in_order.size() : 0);
  const basic::Places places = {shape.size[0], shape.size[1], shape.size[2], y.strides[0], y.strides[1], y.strides[2]};
  const basic::Coded found = basic::quantise(y.origin, places, means.data(), indexes.data(), num_silent, symbols.data(),
                                             coded.data(), kind & 2 ? y_hat.data() : nullptr);
  bool expected = true;
  size_t num_coded = 0;
  for (size_t i = 0; i < in_order.size(); ++i) {
    const float mean = static_cast<float>(means[i]) / 8, residual = in_order[i] - mean;
    if (indexes[i] < num_silent) {
      if (kind & 2) require(y_hat[i] == mean, "the mean where it is silent");
      continue;
    }
    const size_t place = num_coded++;
    require(place < found.size && coded[place] == indexes[i], "the indexes that are not silent, in order");
    const bool fits = std::fabs(residual) <= static_cast<float>(basic::kMaxSymbol);  // not where it is NaN
    expected &= fits;
    if (!fits) continue;
    const float nearest = std::nearbyintf(residual);
    require(symbols[place] == static_cast<int32_t>(nearest), "the nearest integer, ties to even");
    if (kind & 2) require(y_hat[i] == nearest + mean, "and the mean again");
  }
  require(found.size == num_coded, "no other symbols");
  require(found.in_range == expected, "refused exactly where a number is too far or none");
  return 0;
}
