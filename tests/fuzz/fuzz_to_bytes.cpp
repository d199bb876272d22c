// Any floats become bytes, rounded and cut, or are refused where one is NaN; nothing is written beside them.
#include <cmath>

#include "fuzz_pixels.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Images<float, uint8_t> images(input, false, 0.0f, 0);
  const bool any = input.take(1) & 1;
  // Any float, or 512ths around 0 to 255: halves among them.
  for (float& value : images.from.all)
    value = any ? take_float(input) : static_cast<float>(static_cast<int32_t>(input.take(2) % 1024) - 256) / 2 / 255;
  const bool all_numbers = basic::to_bytes(images.from.origin, images.to.origin, images.planes());
  bool expected = true;
  images.each([&](float from, uint8_t& to) {
    expected &= !std::isnan(from);
    if (!std::isnan(from)) {
      const float scaled = from * 255.0f + 0.5f;
      const float cut = scaled < 0.0f ? 0.0f : scaled > 255.0f ? 255.0f : scaled;
      require(to == static_cast<uint8_t>(cut), "rounded half up and cut");
    }
    to = 0;
  });
  require(all_numbers == expected, "refused exactly where a number is none");
  for (const uint8_t value : images.to.all) require(value == 0, "nothing is written beside the rows");
  return 0;
}
