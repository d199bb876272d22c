// What the targets of integer networks share: random layers, and the same computed plainly in 64 bits.
#pragma once

#include <cmath>

#include "../../csrc/integer.h"
#include "fuzz_common.h"

struct Plain {
  std::vector<int16_t> weight;
  std::vector<int32_t> bias;
  std::vector<uint8_t> shift;
  size_t outputs, inputs;  // 9 taps are the inputs of a depthwise layer

  // Weights of the whole range, of few bits, or mostly zero; now and then sums that are to be refused.
  Plain(Input& input, size_t num_outputs, size_t num_inputs) : outputs(num_outputs), inputs(num_inputs) {
    const uint32_t kind = input.take(1), seed = input.take(4);
    uint32_t state = seed | 1;
    const auto random = [&] { return state = state * 1664525u + 1013904223u, state >> 8; };
    for (size_t i = 0; i < outputs * inputs; ++i) {
      const int32_t any = static_cast<int16_t>(random());
      weight.push_back(static_cast<int16_t>(kind % 3 == 0 ? any : kind % 3 == 1 ? any % 300 : any % 5 == 0 ? any % 90 : 0));
    }
    for (size_t o = 0; o < outputs; ++o) {
      const int32_t any = static_cast<int32_t>(random() << 8);
      bias.push_back(kind & 4 ? any : any % 100000);
      shift.push_back(static_cast<uint8_t>(kind & 8 ? random() % 40 : 1 + random() % 12));
    }
  }
};

using Planes = std::vector<std::vector<int64_t>>;  // channels, positions

inline int64_t clamped(int64_t value, int64_t low, int64_t high) { return std::min(std::max(value, low), high); }

inline int64_t whole(float value, float add, int64_t low, int64_t high) {
  const double down = std::floor(value + add);
  return std::isnan(down) ? low : static_cast<int64_t>(std::clamp<double>(down, static_cast<double>(low), static_cast<double>(high)));
}

inline Planes pointwise(const Plain& layer, const Planes& x, bool rounds) {
  Planes found(layer.outputs, std::vector<int64_t>(x[0].size()));
  for (size_t o = 0; o < layer.outputs; ++o)
    for (size_t p = 0; p < x[0].size(); ++p) {
      int64_t sum = layer.bias[o];
      for (size_t i = 0; i < layer.inputs; ++i) sum += layer.weight[o * layer.inputs + i] * x[i][p];
      found[o][p] = rounds ? (sum + (int64_t{1} << (layer.shift[o] - 1))) >> layer.shift[o] : sum;
    }
  return found;
}

inline Planes depthwise(const Plain& layer, const Planes& x, size_t height, size_t width) {
  Planes found(layer.outputs, std::vector<int64_t>(x[0].size()));
  for (size_t o = 0; o < layer.outputs; ++o)
    for (size_t p = 0; p < x[0].size(); ++p) {
      int64_t sum = layer.bias[o] + (int64_t{1} << (layer.shift[o] - 1));
      for (int k = 0; k < 9; ++k) {
        const ptrdiff_t row = static_cast<ptrdiff_t>(p / width) + k / 3 - 1;
        const ptrdiff_t column = static_cast<ptrdiff_t>(p % width) + k % 3 - 1;
        if (row < 0 || column < 0 || row >= static_cast<ptrdiff_t>(height) || column >= static_cast<ptrdiff_t>(width))
          continue;
        sum += layer.weight[9 * o + static_cast<size_t>(k)] * x[o][static_cast<size_t>(row) * width + static_cast<size_t>(column)];
      }
      found[o][p] = sum >> layer.shift[o];
    }
  return found;
}

inline Planes limited(Planes planes, int64_t low, int64_t high) {
  for (auto& plane : planes)
    for (int64_t& value : plane) value = clamped(value, low, high);
  return planes;
}

inline Planes read(const std::vector<float>& floats, size_t channels, float add) {
  const size_t size = floats.size() / channels;
  Planes found(channels, std::vector<int64_t>(size));
  for (size_t c = 0; c < channels; ++c)
    for (size_t p = 0; p < size; ++p) found[c][p] = whole(floats[c * size + p], add, -127, 127);
  return found;
}

inline basic::Pointwise made(const basic::IntegerKernels& kernels, const Plain& layer, int limit, bool rounds = true) {
  return {kernels, layer.weight.data(), layer.bias.data(), layer.shift.data(), layer.outputs, layer.inputs, limit, rounds};
}

inline basic::Depthwise made_spatial(const basic::IntegerKernels& kernels, const Plain& layer, int limit) {
  return {kernels, layer.weight.data(), layer.bias.data(), layer.shift.data(), layer.outputs, limit};
}

// Any floats, or eighths that a file could hold.
inline std::vector<float> take_floats(Input& input, size_t size) {
  std::vector<float> found(size);
  const uint32_t kind = input.take(1);
  uint32_t state = input.take(4) | 1;
  for (float& value : found) {
    state = state * 1664525u + 1013904223u;
    if (kind & 1)
      std::memcpy(&value, &state, sizeof value);
    else
      value = static_cast<float>(static_cast<int32_t>(state) >> (16 + kind % 8)) / 8;
  }
  for (size_t i = 0; i < std::min<size_t>(size, 8); ++i) found[i * (size / 8 + 1) % size] = take_float(input);
  return found;
}
