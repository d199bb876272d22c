// Image planes between 8 bits and floats in 0..1. Rows are contiguous; rows and planes lie any distance apart.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

struct Planes {
  size_t num_planes, height, width;
  ptrdiff_t from_plane, from_row, to_plane, to_row;  // distances in elements
};

// to = from / 255.
void to_floats(const uint8_t* from, float* to, const Planes& planes);

// to = from * 255 rounded half up, cut to 0..255. False where a number is NaN: then the results are worthless.
bool to_bytes(const float* from, uint8_t* to, const Planes& planes);

}  // namespace basic
