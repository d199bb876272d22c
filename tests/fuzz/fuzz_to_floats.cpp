// Any bytes of any layout become their 255ths; nothing is read or written beside them.
#include "fuzz_pixels.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  Images<uint8_t, float> images(input, true, 0, -1.0f);
  for (uint8_t& value : images.from.all) value = static_cast<uint8_t>(input.take(1));
  basic::to_floats(images.from.origin, images.to.origin, images.planes());
  images.each([](uint8_t from, float& to) {
    require(to == static_cast<float>(from) * (1.0f / 255.0f), "a 255th of each");
    to = -1.0f;
  });
  for (const float value : images.to.all) require(value == -1.0f, "nothing is written beside the rows");
  return 0;
}
