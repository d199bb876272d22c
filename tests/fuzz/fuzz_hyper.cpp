// z_hat to the state by every loop that runs here: refused, or what 64 bits give.
#include <memory>

#include "integer_layers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const size_t hyper = 1 + input.take(1) % 20, inner = 1 + input.take(1) % 20, state = 1 + input.take(1) % 6;
  const basic::Grid grid{1, 1 + input.take(1) % 12, 1 + input.take(1) % 20};
  const size_t threads = 1 + input.take(1) % 3;
  const Plain spread(input, inner, hyper), spatial(input, inner, 9), up(input, 4 * state, inner);
  const std::vector<float> z_hat = take_floats(input, hyper * grid.size());
  Planes want;
  for (const basic::IntegerKernels* kernels : basic::integer_kernels()) {
    std::vector<float> found(4 * state * grid.size());
    try {
      const basic::Pointwise first = made(*kernels, spread, 127), last = made(*kernels, up, 255);
      const basic::Depthwise middle = made_spatial(*kernels, spatial, 255);
      basic::run_hyper({&first, &middle, &last}, grid, z_hat.data(), found.data(), threads);
    } catch (const std::invalid_argument&) {
      return 0;
    }
    if (want.empty()) {
      const Planes h = limited(pointwise(spread, read(z_hat, hyper, 0), true), 0, 255);
      want = pointwise(up, limited(depthwise(spatial, h, grid.height, grid.width), 0, 255), false);
    }
    for (size_t c = 0; c < 4 * state; ++c)
      for (size_t p = 0; p < grid.size(); ++p) {
        const size_t row = 2 * (p / grid.width) + c % 4 / 2, column = 2 * (p % grid.width) + c % 2;
        const int shift = up.shift[c];
        const float sum = static_cast<float>(want[c][p] + (int64_t{1} << (shift - 1)));
        const float expected = std::ldexp(sum, -shift) + std::ldexp(0.5f, -shift);
        require(found[(c / 4 * 2 * grid.height + row) * 2 * grid.width + column] == expected, "the state");
      }
  }
  return 0;
}
