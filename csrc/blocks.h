// What a synthesis ends in to pixels, in one pass: blocks of 8x8 pixels, each 3 planes of 64 floats in 0..1.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

constexpr size_t kBlockSide = 8;
constexpr size_t kBlockPixels = kBlockSide * kBlockSide;
constexpr size_t kBlockFloats = 3 * kBlockPixels;

// Where pixels go; distances in bytes. One plane: grey, the mean of the three. Four: the last one is filled with 255.
struct PixelPlaces {
  size_t num_planes, height, width;
  ptrdiff_t plane, row, pixel;
};

// to = from * 255 rounded half up, cut to 0..255. `bias`, unless it is null, is one block that is added to each first, the
// sum cut to 0..1. Blocks of one row lie one after the other, rows of them `block_row` floats apart; the last ones may
// reach beyond the pixels. False where a number, or its sum, is NaN: then the results are worthless.
bool blocks_to_bytes(const float* from, ptrdiff_t block_row, const float* bias, uint8_t* to, const PixelPlaces& places);

// One block to rows of 8 pixels of 4 bytes, `row` bytes apart: red, green, blue, 255; of grey only the first counts.
// False for NaN.
bool convert_block_avx2(const float* block, const float* bias, bool grey, uint8_t* to, ptrdiff_t row);

}  // namespace basic
