// Blocks of any floats become pixels in any order, with a bias or without, rounded and cut, or are refused where one is
// NaN; nothing is written beside them.
#include <array>
#include <cmath>

#include "../../csrc/blocks.h"
#include "fuzz_common.h"

using basic::kBlockFloats;
using basic::kBlockPixels;
using basic::kBlockSide;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const size_t planes = std::array<size_t, 4>{1, 3, 4, 4}[input.take(1) % 4];
  const size_t height = 1 + input.take(1) % 30, width = 1 + input.take(1) % 30;
  const size_t rows = (height + kBlockSide - 1) / kBlockSide, columns = (width + kBlockSide - 1) / kBlockSide;
  const size_t block_row = (columns + input.take(1) % 3) * kBlockFloats;
  std::vector<float> blocks((rows - 1) * block_row + columns * kBlockFloats);
  const bool any = input.take(1) & 1;
  for (float& value : blocks)  // any float, or halves around 0 to 255
    value = any ? take_float(input) : static_cast<float>(static_cast<int32_t>(input.take(2) % 1024) - 256) / 2 / 255;

  std::array<float, kBlockFloats> bias;
  const bool biased = input.take(1) & 1;
  for (float& value : bias) value = any ? take_float(input) : static_cast<float>(input.take(1)) / 128 - 1;

  const bool interleaved = input.take(1) & 1;
  const size_t pixel = interleaved ? planes : 1, margin = input.take(1) % 3;
  const size_t row = (width + margin) * pixel, plane = interleaved ? 1 : height * row;
  const auto at = [&](size_t p, size_t y, size_t x) { return p * plane + y * row + x * pixel; };
  std::vector<uint8_t> pixels(at(planes - 1, height - 1, width - 1) + 1, 7);
  const auto step = [](size_t distance) { return static_cast<ptrdiff_t>(distance); };
  const basic::PixelPlaces places{planes, height, width, step(plane), step(row), step(pixel)};
  const bool all_numbers = basic::blocks_to_bytes(blocks.data(), step(block_row), biased ? bias.data() : nullptr,
                                                  pixels.data(), places);

  bool expected = true;
  for (size_t y = 0; y < rows; ++y)
    for (size_t k = 0; k < columns * kBlockFloats; ++k) {
      float& value = blocks[y * block_row + k];
      if (biased) value += bias[k % kBlockFloats];
      expected &= !std::isnan(value);
      if (biased) value = value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
    }
  require(all_numbers == expected, "refused exactly where a number is none");
  for (size_t y = 0; y < height; ++y)
    for (size_t x = 0; x < width; ++x) {
      const float* from = blocks.data() + y / kBlockSide * block_row + x / kBlockSide * kBlockFloats +
                          y % kBlockSide * kBlockSide + x % kBlockSide;
      const float colours[4] = {from[0], from[kBlockPixels], from[2 * kBlockPixels], 1.0f};
      for (size_t p = 0; p < planes; ++p) {
        const float value = planes == 1 ? (colours[0] + colours[1] + colours[2]) / 3.0f : colours[p];
        const float scaled = value * 255.0f + 0.5f;
        const float cut = scaled < 0.0f ? 0.0f : scaled > 255.0f ? 255.0f : scaled;
        uint8_t& found = pixels[at(p, y, x)];
        require(std::isnan(value) || found == static_cast<uint8_t>(cut), "rounded half up and cut");
        found = 7;
      }
    }
  for (const uint8_t value : pixels) require(value == 7, "nothing is written beside the pixels");
  return 0;
}
