// The loops of integer.h for any vector of int32. A file for one kind of processor gives `V`, a type of its own anonymous
// namespace, so that everything below is its own too:
//   kLanes; Int, Float; zero(), broadcast(int32), load, store (int32_t*), dot(sum, x, w): pairs times pairs, added up;
//   both (bitwise and), first(value, count): the others 0, clamp(value, Range), down(value, shift), paired(low, high);
//   load_floats(from, count), store_floats, sum of floats `plus`, floats(Int) * float `scaled`, floors(Float, add, Range);
//   store_means(to, value, count), store_indexes.
#pragma once

#include <algorithm>
#include <cmath>

#include "integer.h"

namespace basic {

// What a block of rows and columns does with its sums: out(row, column, sum).
template <class V, size_t kRows, size_t kColumns, class Out>
static inline void multiply(const int32_t* weight, const int32_t* start, size_t num_pairs, const int32_t* x,
                            size_t block, Out out) {
  typename V::Int sums[kRows][kColumns];
  for (size_t r = 0; r < kRows; ++r)
    for (size_t c = 0; c < kColumns; ++c) sums[r][c] = V::broadcast(start[r]);
  for (size_t k = 0; k < num_pairs; ++k) {
    typename V::Int columns[kColumns];
    for (size_t c = 0; c < kColumns; ++c) columns[c] = V::load(x + k * block + c * V::kLanes);
    for (size_t r = 0; r < kRows; ++r) {
      const typename V::Int w = V::broadcast(weight[k * kRows + r]);
      for (size_t c = 0; c < kColumns; ++c) sums[r][c] = V::dot(sums[r][c], columns[c], w);
    }
  }
  for (size_t r = 0; r < kRows; ++r)
    for (size_t c = 0; c < kColumns; ++c) out(r, c, sums[r][c]);
}

// All sums of a layer; of a block of positions only as many vectors as hold one. tile(row, position, sums, columns):
// a block of rows from `row` on, `columns` vectors from `position` on.
template <class V, size_t kRows, size_t kColumns>
struct Product {
  static constexpr size_t kBlock = kColumns * V::kLanes;
  using Sums = typename V::Int[kRows][kColumns];

  template <class Tile>
  static void run(const PointwiseView& layer, const int32_t* x, size_t size, Tile tile) {
    for (size_t from = 0; from < size; from += kBlock, x += layer.num_pairs * kBlock) {
      const size_t vectors = std::min(kColumns, (size - from + V::kLanes - 1) / V::kLanes);
      for (size_t row = 0; row < layer.num_outputs; row += kRows) {
        const int32_t* weight = layer.weight + row * layer.num_pairs;
        Sums sums;
        const auto keep = [&](size_t r, size_t c, typename V::Int sum) { sums[r][c] = sum; };
        if (vectors == kColumns)
          multiply<V, kRows, kColumns>(weight, layer.start + row, layer.num_pairs, x, kBlock, keep);
        else
          for (size_t c = 0; c < vectors; ++c)
            multiply<V, kRows, 1>(weight, layer.start + row, layer.num_pairs, x + c * V::kLanes, kBlock,
                                  [&](size_t r, size_t, typename V::Int sum) { sums[r][c] = sum; });
        tile(row, from, sums, vectors);
      }
    }
  }

  static size_t used_rows(const PointwiseView& layer, size_t row) { return std::min(kRows, layer.num_outputs - row); }

  static void from_floats(const float* even, const float* odd, size_t size, float add, Range range, size_t pair,
                          size_t num_pairs, int32_t* pairs) {
    for (size_t from = 0; from < size; from += kBlock)
      for (size_t c = 0; c < kBlock; c += V::kLanes) {
        typename V::Int value = V::zero();
        if (from + c < size) {
          const size_t count = std::min<size_t>(V::kLanes, size - from - c);
          const auto whole = [&](const float* floats) {
            return V::floors(V::load_floats(floats + from + c, count), add, range);
          };
          value = V::paired(whole(even), odd ? whole(odd) : V::zero());
          if (count < V::kLanes) value = V::first(value, count);
        }
        V::store(pairs + (from * num_pairs) + pair * kBlock + c, value);
      }
  }

  static void to_pairs(const PointwiseView& layer, const int32_t* x, size_t size, Range range, int32_t* pairs) {
    const size_t num_pairs = (layer.num_outputs + 1) / 2;
    run(layer, x, size, [&](size_t row, size_t from, const Sums& sums, size_t vectors) {
      for (size_t r = 0; r < used_rows(layer, row); r += 2)
        for (size_t c = 0; c < vectors; ++c) {
          const auto value = [&](size_t k) {
            return V::clamp(V::down(sums[k][c], layer.shift[row + k]), range);
          };
          int32_t* to = pairs + from * num_pairs + (row + r) / 2 * kBlock + c * V::kLanes;
          V::store(to, V::paired(value(r), row + r + 1 < layer.num_outputs ? value(r + 1) : V::zero()));
        }
    });
  }

  // store(output, position, value, count)
  template <class Store>
  static void to_planes(const PointwiseView& layer, const int32_t* x, size_t size, Range range, Store store) {
    run(layer, x, size, [&](size_t row, size_t from, const Sums& sums, size_t vectors) {
      for (size_t r = 0; r < used_rows(layer, row); ++r)
        for (size_t c = 0; c < vectors; ++c) {
          const size_t at = from + c * V::kLanes;
          store(row + r, at, V::clamp(V::down(sums[r][c], layer.shift[row + r]), range),
                std::min<size_t>(V::kLanes, size - at));
        }
    });
  }

  static void to_means(const PointwiseView& layer, const int32_t* x, size_t size, Range range, int16_t* means,
                       size_t plane) {
    to_planes(layer, x, size, range, [&](size_t output, size_t at, typename V::Int value, size_t count) {
      V::store_means(means + output * plane + at, value, count);
    });
  }

  static void to_indexes(const PointwiseView& layer, const int32_t* x, size_t size, Range range, uint8_t* indexes,
                         size_t plane) {
    to_planes(layer, x, size, range, [&](size_t output, size_t at, typename V::Int value, size_t count) {
      V::store_indexes(indexes + output * plane + at, value, count);
    });
  }

  static void to_floats(const PointwiseView& layer, const int32_t* x, size_t size, const float* added,
                        size_t added_plane, float* out, size_t out_plane) {
    run(layer, x, size, [&](size_t row, size_t from, const Sums& sums, size_t vectors) {
      for (size_t r = 0; r < used_rows(layer, row); ++r) {
        const float unit = std::ldexp(1.0f, -layer.shift[row + r]);
        for (size_t c = 0; c < vectors; ++c) {
          const size_t at = from + c * V::kLanes;
          typename V::Float value = V::scaled(sums[r][c], unit);
          if (added) {
            const float* others = added + (row + r) * added_plane + at;
            value = V::plus(V::load_floats(others, std::min<size_t>(V::kLanes, size - at)), value);
          }
          V::store_floats(out + (row + r) * out_plane + at, value);
        }
      }
    });
  }

  static void spatial(const DepthwiseView& layer, size_t pair, const int32_t* row, const Neighbours& neighbours,
                      size_t size, Range range, int32_t* pairs) {
    const int32_t *weight = layer.weight + 18 * pair, *start = layer.start + 2 * pair, *shift = layer.shift + 2 * pair;
    for (size_t from = 0; from < size; from += kBlock)
      for (size_t c = 0; c < kBlock; c += V::kLanes) {
        typename V::Int value = V::zero();
        if (from + c < size) {
          typename V::Int x[9];
          for (ptrdiff_t k = 0; k < 9; ++k)
            x[k] = V::load(row + static_cast<ptrdiff_t>(from + c) + (k / 3 - 1) * neighbours.width + k % 3 - 1);
          const typename V::Int left = V::load(neighbours.left + from + c), right = V::load(neighbours.right + from + c);
          for (int k = 0; k < 9; k += 3) x[k] = V::both(x[k], left), x[k + 2] = V::both(x[k + 2], right);
          typename V::Int found[2];
          for (int half = 0; half < 2; ++half) {
            typename V::Int sum = V::broadcast(start[half]);
            for (int k = 0; k < 9; ++k) sum = V::dot(sum, x[k], V::broadcast(weight[9 * half + k]));
            found[half] = V::clamp(V::down(sum, shift[half]), range);
          }
          value = V::paired(found[0], found[1]);
        }
        V::store(pairs + from * layer.num_pairs + pair * kBlock + c, value);
      }
  }

  static constexpr IntegerKernels kernels(const char* name) {
    return {name, kRows, kBlock, &from_floats, &to_pairs, &to_means, &to_indexes, &to_floats, &spatial};
  }
};

}  // namespace basic
