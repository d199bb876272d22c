// Image planes between 8 bits and floats in 0..1. Rows and planes lie any distance apart.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

struct Planes {
  size_t num_planes, height, width;
  ptrdiff_t from_plane, from_row, to_plane, to_row;  // distances in elements
  ptrdiff_t from_pixel;  // 1: rows are contiguous; else that of interleaved pixels
};

// to = from / 255. Three planes that are the bytes 0, 1, 2 of interleaved pixels take one pass.
void to_floats(const uint8_t* from, float* to, const Planes& planes);

// to = from * 255 rounded half up, cut to 0..255; from_pixel must be 1. False where a number is NaN: then the results are worthless.
bool to_bytes(const float* from, uint8_t* to, const Planes& planes);

constexpr float kStep = 1.0f / 255.0f;

// The part of a row of pixels of 4 bytes that fills vectors, its first three bytes to three planes. Returns its length.
size_t interleaved_to_floats_avx2(const uint8_t* from, float* to, ptrdiff_t to_plane, size_t width);

}  // namespace basic
