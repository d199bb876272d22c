#include "blocks.h"

#include <algorithm>
#include <cstring>

#include "dispatch.h"

namespace basic {
namespace {

inline uint32_t to_byte(float value) {
  const float scaled = value * 255.0f + 0.5f;
  const float positive = scaled > 0.0f ? scaled : 0.0f;  // NaN becomes 0
  return static_cast<uint32_t>(static_cast<int32_t>(positive < 255.0f ? positive : 255.0f));
}

bool convert_block_plain(const float* __restrict block, bool grey, uint32_t* __restrict pixels) {
  uint32_t bad = 0;
  for (size_t k = 0; k < kBlockFloats; ++k) bad |= block[k] == block[k] ? 0u : 1u;
  if (grey) {
    for (size_t k = 0; k < kBlockPixels; ++k)
      pixels[k] = to_byte((block[k] + block[k + kBlockPixels] + block[k + 2 * kBlockPixels]) / 3.0f);
  } else {
    for (size_t k = 0; k < kBlockPixels; ++k)
      pixels[k] = to_byte(block[k]) | to_byte(block[k + kBlockPixels]) << 8 |
                  to_byte(block[k + 2 * kBlockPixels]) << 16 | 0xff000000u;
  }
  return !bad;
}

constexpr size_t kAhead = 6;  // blocks: the processor's own prefetching ends with every page of memory

void fetch(const float* block) {
#if defined(__GNUC__)
  for (size_t k = 0; k < kBlockFloats; k += 16) __builtin_prefetch(block + k);
#endif
}

using Convert = bool (*)(const float*, bool, uint32_t*);

Convert chosen() {
#if BASIC_X86
  if (simd() == Simd::avx2 || simd() == Simd::avx512) return convert_block_avx2;
#endif
  return convert_block_plain;
}

// A block's pixels to their places, as far as the picture reaches.
void put_block(const uint32_t* pixels, uint8_t* to, const PixelPlaces& places, size_t height, size_t width) {
  constexpr uint32_t kOne = 1;
  uint8_t low_first;
  std::memcpy(&low_first, &kOne, 1);
  const bool as_they_are = low_first && places.num_planes == 4 && places.pixel == 4 && places.plane == 1;
  for (size_t y = 0; y < height; ++y, to += places.row, pixels += kBlockSide) {
    if (as_they_are && width == kBlockSide) {
      std::memcpy(to, pixels, 4 * kBlockSide);
      continue;
    }
    for (size_t plane = 0; plane < places.num_planes; ++plane)
      for (size_t x = 0; x < width; ++x)
        to[static_cast<ptrdiff_t>(plane) * places.plane + static_cast<ptrdiff_t>(x) * places.pixel] =
            static_cast<uint8_t>(pixels[x] >> (8 * plane));
  }
}

}  // namespace

bool blocks_to_bytes(const float* from, ptrdiff_t block_row, uint8_t* to, const PixelPlaces& places) {
  const Convert convert = chosen();
  alignas(64) uint32_t pixels[kBlockPixels];
  bool all_numbers = true;
  for (size_t top = 0; top < places.height; top += kBlockSide, from += block_row) {
    const float* block = from;
    for (size_t left = 0; left < places.width; left += kBlockSide, block += kBlockFloats) {
      if (left + kAhead * kBlockSide < places.width) fetch(block + kAhead * kBlockFloats);
      all_numbers &= convert(block, places.num_planes == 1, pixels);
      uint8_t* corner = to + static_cast<ptrdiff_t>(top) * places.row + static_cast<ptrdiff_t>(left) * places.pixel;
      put_block(pixels, corner, places, std::min(kBlockSide, places.height - top),
                std::min(kBlockSide, places.width - left));
    }
  }
  return all_numbers;
}

}  // namespace basic
