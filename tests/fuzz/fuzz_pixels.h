// What both directions between bytes and floats share: shapes and distances of two images.
#pragma once

#include "../../csrc/pixels.h"
#include "fuzz_common.h"

// `From` with any step between pixels where it may have one, `To` in contiguous rows; element (p, r, k) of both.
template <class From, class To>
struct Images {
  Images(Input& input, bool any_pixel, From fill_from, To fill_to)
      : shape(input), from(shape.size, from_steps(shape, any_pixel), fill_from), to(shape.size, to_steps(shape), fill_to) {
    if (any_pixel && input.take(1) & 1) interleave(2 + input.take(1) % 3, fill_from, fill_to);
  }

  // Pixels of `channels` bytes one after the other, as image files have them; as many planes as there are channels.
  void interleave(size_t channels, From fill_from, To fill_to) {
    const size_t height = shape.size[1], width = shape.size[2];
    shape.size[0] = std::min<size_t>(channels, 3);
    from.all.assign(height && width ? (height * width - 1) * channels + shape.size[0] : 0, fill_from);
    from.origin = from.all.data();
    from.strides[0] = 1, from.strides[1] = static_cast<ptrdiff_t>(width * channels);
    from.strides[2] = static_cast<ptrdiff_t>(channels);
    to = Strided<To>(shape.size, to_steps(shape), fill_to);
  }
  basic::Planes planes() const {
    return {shape.size[0],   shape.size[1], shape.size[2],  from.strides[0],
            from.strides[1], to.strides[0], to.strides[1], from.strides[2]};
  }
  template <class Function>
  void each(Function function) {
    for (size_t p = 0; p < shape.size[0]; ++p)
      for (size_t r = 0; r < shape.size[1]; ++r)
        for (size_t k = 0; k < shape.size[2]; ++k) function(from.at(p, r, k), to.at(p, r, k));
  }

  Shape shape;
  Strided<From> from;
  Strided<To> to;

 private:
  using Steps = int[3];
  static const Steps& from_steps(Shape& shape, bool any_pixel) {
    if (!any_pixel) shape.steps[2] = 1;
    return shape.steps;
  }
  static const Steps& to_steps(Shape& shape) {
    shape.steps[2] = 1;
    return shape.steps;
  }
};
