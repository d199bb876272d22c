#include "blocks.h"

#include <algorithm>

#include "dispatch.h"

namespace basic {
namespace {

inline uint8_t to_byte(float value) {
  const float scaled = value * 255.0f + 0.5f;
  const float positive = scaled > 0.0f ? scaled : 0.0f;  // NaN becomes 0
  return static_cast<uint8_t>(static_cast<int32_t>(positive < 255.0f ? positive : 255.0f));
}

bool convert_block_plain(const float* __restrict block, const float* bias, bool grey, uint8_t* __restrict to,
                         ptrdiff_t row) {
  float sums[kBlockFloats];
  uint32_t bad = 0;
  for (size_t k = 0; k < kBlockFloats; ++k) {
    const float sum = bias ? block[k] + bias[k] : block[k];
    bad |= sum == sum ? 0u : 1u;
    sums[k] = bias ? std::min(std::max(sum, 0.0f), 1.0f) : sum;
  }
  const float* from = sums;
  for (size_t y = 0; y < kBlockSide; ++y, to += row, from += kBlockSide)
    for (size_t x = 0; x < kBlockSide; ++x) {
      const float red = from[x], green = from[x + kBlockPixels], blue = from[x + 2 * kBlockPixels];
      to[4 * x] = to_byte(grey ? (red + green + blue) / 3.0f : red);
      to[4 * x + 1] = to_byte(green), to[4 * x + 2] = to_byte(blue), to[4 * x + 3] = 255;
    }
  return !bad;
}

constexpr size_t kAhead = 6;  // blocks: the processor's own prefetching ends with every page of memory

void fetch(const float* block) {
#if defined(__GNUC__)
  for (size_t k = 0; k < kBlockFloats; k += 16) __builtin_prefetch(block + k);
#endif
}

using Convert = bool (*)(const float*, const float*, bool, uint8_t*, ptrdiff_t);

Convert chosen() {
#if BASIC_X86
  if (simd() == Simd::avx2 || simd() == Simd::avx512) return convert_block_avx2;
#endif
  return convert_block_plain;
}

// A block's pixels to their places, as far as the picture reaches.
void put_block(const uint8_t* pixels, uint8_t* to, const PixelPlaces& places, size_t height, size_t width) {
  for (size_t y = 0; y < height; ++y, to += places.row, pixels += 4 * kBlockSide)
    for (size_t plane = 0; plane < places.num_planes; ++plane)
      for (size_t x = 0; x < width; ++x)
        to[static_cast<ptrdiff_t>(plane) * places.plane + static_cast<ptrdiff_t>(x) * places.pixel] =
            pixels[4 * x + plane];
}

}  // namespace

bool blocks_to_bytes(const float* from, ptrdiff_t block_row, const float* bias, uint8_t* to, const PixelPlaces& places) {
  const Convert convert = chosen();
  const bool as_they_are = places.num_planes == 4 && places.pixel == 4 && places.plane == 1;
  alignas(64) uint8_t pixels[4 * kBlockPixels];
  bool all_numbers = true;
  for (size_t top = 0; top < places.height; top += kBlockSide, from += block_row) {
    const float* block = from;
    for (size_t left = 0; left < places.width; left += kBlockSide, block += kBlockFloats) {
      if (left + kAhead * kBlockSide < places.width) fetch(block + kAhead * kBlockFloats);
      uint8_t* corner = to + static_cast<ptrdiff_t>(top) * places.row + static_cast<ptrdiff_t>(left) * places.pixel;
      const size_t height = std::min(kBlockSide, places.height - top), width = std::min(kBlockSide, places.width - left);
      if (as_they_are && height == kBlockSide && width == kBlockSide) {
        all_numbers &= convert(block, bias, false, corner, places.row);
        continue;
      }
      all_numbers &= convert(block, bias, places.num_planes == 1, pixels, 4 * kBlockSide);
      put_block(pixels, corner, places, height, width);
    }
  }
  return all_numbers;
}

}  // namespace basic
