// State and latents to means, indexes and the next state by every loop that runs here: refused, or what 64 bits give.
#include "integer_layers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Input input(bytes, size);
  const size_t num_read = 1 + input.take(1) % 20, state = 1 + input.take(1) % 20, inner = 1 + input.take(1) % 20;
  const size_t outputs = 1 + input.take(1) % 20;
  const basic::Grid grid{1, 1 + input.take(1) % 12, 1 + input.take(1) % 20};
  const uint32_t how = input.take(1);
  const bool reads = how & 1, keeps = reads && (how & 2);
  const size_t threads = 1 + how / 4 % 3;
  const Plain reading(input, num_read, 9), write(input, state, num_read), first(input, inner, state);
  const Plain spatial(input, inner, 9), second(input, inner, inner), mean(input, outputs, inner);
  const Plain scale(input, outputs, inner);
  const std::vector<float> before = take_floats(input, state * grid.size());
  const std::vector<float> y_hat = take_floats(input, num_read * grid.size());
  std::vector<float> after = before;
  Planes means, indexes;
  for (const basic::IntegerKernels* kernels : basic::integer_kernels()) {
    std::vector<int16_t> found_means(outputs * grid.size());
    std::vector<uint8_t> found_indexes(outputs * grid.size());
    std::vector<float> found_state(state * grid.size());
    try {
      const basic::Depthwise one = made_spatial(*kernels, reading, 127), four = made_spatial(*kernels, spatial, 255);
      const basic::Pointwise two = made(*kernels, write, 127, false), three = made(*kernels, first, 127);
      const basic::Pointwise five = made(*kernels, second, 255), six = made(*kernels, mean, 255);
      const basic::Pointwise seven = made(*kernels, scale, 255);
      const basic::Context layers{reads ? &one : nullptr, reads ? &two : nullptr, &three, &four, &five, &six, &seven};
      basic::run_context(layers, grid, before.data(), reads ? y_hat.data() : nullptr, found_means.data(),
                         found_indexes.data(), keeps ? found_state.data() : nullptr, threads);
    } catch (const std::invalid_argument&) {
      return 0;
    }
    if (means.empty()) {
      if (reads) {
        const Planes y = limited(depthwise(reading, read(y_hat, num_read, 0.5f), grid.height, grid.width), -127, 127);
        const Planes sums = pointwise(write, y, false);
        for (size_t s = 0; s < state; ++s)
          for (size_t p = 0; p < grid.size(); ++p)
            after[s * grid.size() + p] += std::ldexp(static_cast<float>(sums[s][p]), -write.shift[s]);
      }
      Planes h = limited(pointwise(first, read(after, state, 0), true), 0, 255);
      h = limited(depthwise(spatial, h, grid.height, grid.width), 0, 255);
      h = limited(pointwise(second, h, true), 0, 255);
      means = limited(pointwise(mean, h, true), -16383, 16383);
      indexes = limited(pointwise(scale, h, true), 0, 63);
    }
    for (size_t c = 0; c < outputs; ++c)
      for (size_t p = 0; p < grid.size(); ++p) {
        require(found_means[c * grid.size() + p] == means[c][p], "means");
        require(found_indexes[c * grid.size() + p] == indexes[c][p], "indexes");
      }
    for (size_t i = 0; keeps && i < after.size(); ++i)
      require(found_state[i] == after[i] || (std::isnan(found_state[i]) && std::isnan(after[i])), "the state");
  }
  return 0;
}
