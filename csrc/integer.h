// Integer networks: the layers of hyper and contexts (docs/architecture.md). Sums are exact within 32 bits; the state,
// which goes in and out as floats, is so within the 2^22 that runtime/layers.py proves.
//
// What a newcomer gets wrong: a product of two int16 adds up in int32, so two channels stand side by side in one lane, a
// "pair", and one instruction multiplies and adds both. Positions are cut into blocks of a few vectors; a block holds
// all its pairs, so that what a product reads lies in one piece whatever the size of the image.
//
// Every layer: sum = w x + b; then, but for the state, (sum + 2^(s-1)) >> s and a clamp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace basic {

// Weights as the loops read them; `start` is what a sum begins with, `shift` how far it goes down.
struct PointwiseView {
  const int32_t* weight;  // (blocks of rows, pairs of inputs, rows of a block), pairs
  const int32_t* start;   // of whole blocks of rows
  const int32_t* shift;
  size_t num_outputs, num_pairs;
};

struct DepthwiseView {
  const int32_t* weight;  // (pairs, 2, 9): the first with its partner 0, the second with it before
  const int32_t* start;   // (pairs, 2)
  const int32_t* shift;
  size_t num_pairs;
};

// A clamp.
struct Range {
  int32_t low, high;
};

// Neighbours of a position: rows lie one after the other, `width` apart; masks are 0 where there is none to that side.
struct Neighbours {
  ptrdiff_t width;
  const int32_t *left, *right;
};

// The loops of one kind of processor. Positions are counted in blocks of `block` numbers, the last of them whole too;
// pairs of positions: (blocks, pairs, block).
struct IntegerKernels {
  const char* name;
  size_t rows, block;

  // Pairs number `pair` of `num_pairs` from one or two (odd may be null) rows of floats: floor(x + add), clamped;
  // 0 behind the last position.
  void (*from_floats)(const float* even, const float* odd, size_t size, float add, Range range, size_t pair,
                      size_t num_pairs, int32_t* pairs);
  void (*to_pairs)(const PointwiseView& layer, const int32_t* x, size_t size, Range range, int32_t* pairs);
  void (*to_means)(const PointwiseView& layer, const int32_t* x, size_t size, Range range, int16_t* means,
                   size_t plane);
  void (*to_indexes)(const PointwiseView& layer, const int32_t* x, size_t size, Range range, uint8_t* indexes,
                     size_t plane);
  // sums / 2^shift, added to `added` unless it is null; planes of `out` have room for whole blocks.
  void (*to_floats)(const PointwiseView& layer, const int32_t* x, size_t size, const float* added, size_t added_plane,
                    float* out, size_t out_plane);
  // Of one pair: `row` is its first position; a row and one before, and after with a block, can be read too.
  void (*spatial)(const DepthwiseView& layer, size_t pair, const int32_t* row, const Neighbours& neighbours, size_t size,
                  Range range, int32_t* pairs);
};

// All that this processor can run, the best last.
std::vector<const IntegerKernels*> integer_kernels();
extern const IntegerKernels kScalarIntegers, kAvx2Integers, kAvx512Integers, kVnniIntegers;

// 1x1 convolution. Throws std::invalid_argument where inputs of up to `limit` could make a sum that int32 cannot hold.
class Pointwise {
 public:
  Pointwise(const IntegerKernels& kernels, const int16_t* weight, const int32_t* bias, const uint8_t* shift,
            size_t num_outputs, size_t num_inputs, int32_t limit, bool rounds);
  Pointwise(const Pointwise&) = delete;  // the view points into the vectors, which a move takes along
  Pointwise(Pointwise&&) = default;
  const PointwiseView& view() const { return view_; }
  size_t num_inputs() const { return num_inputs_; }
  int32_t limit() const { return limit_; }
  bool rounds() const { return rounds_; }
  const IntegerKernels& kernels() const { return *kernels_; }

 private:
  const IntegerKernels* kernels_;
  size_t num_inputs_;
  int32_t limit_;
  bool rounds_;
  std::vector<int32_t> weight_, start_, shift_;
  PointwiseView view_;
};

// Depthwise 3x3 convolution, zeros around. Throws as Pointwise does.
class Depthwise {
 public:
  Depthwise(const IntegerKernels& kernels, const int16_t* weight, const int32_t* bias, const uint8_t* shift,
            size_t num_channels, int32_t limit);
  Depthwise(const Depthwise&) = delete;
  Depthwise(Depthwise&&) = default;
  const DepthwiseView& view() const { return view_; }
  size_t num_channels() const { return num_channels_; }
  int32_t limit() const { return limit_; }
  bool rounds() const { return true; }
  const IntegerKernels& kernels() const { return *kernels_; }

 private:
  const IntegerKernels* kernels_;
  size_t num_channels_;
  int32_t limit_;
  std::vector<int32_t> weight_, start_, shift_;
  DepthwiseView view_;
};

// Images of a batch and the positions of each.
struct Grid {
  size_t batch, height, width;
  size_t size() const { return height * width; }
};

// z_hat (B, C, h, w) -> the state (B, S, 2h, 2w), (sum + 2^(s-1) + 1/2) / 2^s.
struct Hyper {
  const Pointwise* spread;
  const Depthwise* spatial;
  const Pointwise* up;
};
void run_hyper(const Hyper& layers, const Grid& grid, const float* z_hat, float* state, size_t num_threads);

// State and, unless `read` is null, the y_hat (B, n, h, w) of the group before -> means, indexes, and the state after
// that group unless `state_out` is null.
struct Context {
  const Depthwise* read;
  const Pointwise* write;
  const Pointwise* first;
  const Depthwise* spatial;
  const Pointwise *second, *mean, *scale;
};
void run_context(const Context& layers, const Grid& grid, const float* state, const float* y_hat, int16_t* means,
                 uint8_t* indexes, float* state_out, size_t num_threads);

}  // namespace basic
