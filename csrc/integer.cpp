#include "integer.h"

#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#include "dispatch.h"
#include "integer_loops.h"

namespace basic {
namespace {

struct Vectors {  // of one
  static constexpr size_t kLanes = 1;
  using Int = int32_t;
  using Float = float;

  static Int zero() { return 0; }
  static Int broadcast(int32_t value) { return value; }
  static Int load(const int32_t* from) { return *from; }
  static void store(int32_t* to, Int value) { *to = value; }
  static Int low(Int pair) { return static_cast<int16_t>(pair); }
  static Int dot(Int sum, Int x, Int w) { return sum + low(x) * low(w) + (x >> 16) * (w >> 16); }
  static Int both(Int a, Int b) { return a & b; }
  static Int first(Int value, size_t) { return value; }
  static Int clamp(Int value, Range range) { return std::min(std::max(value, range.low), range.high); }
  static Int down(Int value, int32_t shift) { return value >> shift; }
  static Int paired(Int low, Int high) {
    return static_cast<Int>((static_cast<uint32_t>(low) & 0xFFFF) | (static_cast<uint32_t>(high) << 16));
  }
  static Float load_floats(const float* from, size_t) { return *from; }
  static void store_floats(float* to, Float value) { *to = value; }
  static Float plus(Float a, Float b) { return a + b; }
  static Float scaled(Int value, float unit) { return static_cast<float>(value) * unit; }
  static Int floors(Float value, float add, Range range) {
    const float whole = std::floor(value + add);
    if (!(whole > static_cast<float>(range.low))) return range.low;  // NaN too
    return whole > static_cast<float>(range.high) ? range.high : static_cast<Int>(whole);
  }
  static void store_means(int16_t* to, Int value, size_t) { *to = static_cast<int16_t>(value); }
  static void store_indexes(uint8_t* to, Int value, size_t) { *to = static_cast<uint8_t>(value); }
};

constexpr Range kLatent{-127, 127}, kSigned{-127, 127}, kUnsigned{0, 255}, kMeans{-16383, 16383}, kIndexes{0, 63};
constexpr int32_t kMaxShift = 30;
constexpr size_t kMostPositions = 1024;  // of a band: what it holds at once stays in a cache of the second level
constexpr size_t kLeastPositions = 64;   // less is not worth a thread,
constexpr size_t kLeastRows = 4;         // nor the two rows beside it that are done twice

// Whether every partial sum fits int32, and then what a sum begins with.
int32_t start_of(const int16_t* weight, size_t size, int32_t bias, int32_t shift, int32_t limit, bool rounds,
                 size_t channel) {
  const auto refuse = [&](const std::string& what) {
    throw std::invalid_argument("output channel " + std::to_string(channel) + ": " + what);
  };
  if (shift < 1 || shift > kMaxShift)
    refuse("shift: expected 1 to " + std::to_string(kMaxShift) + ", got " + std::to_string(shift));
  const int64_t half = int64_t{1} << (shift - 1);
  int64_t largest = std::abs(int64_t{bias}) + half;
  for (size_t i = 0; i < size; ++i) largest += std::abs(int64_t{weight[i]}) * limit;
  if (largest > std::numeric_limits<int32_t>::max())
    refuse("expected weights and a bias whose sums fit 31 bits, got " + std::to_string(largest));
  return static_cast<int32_t>(bias + (rounds ? half : 0));
}

size_t whole(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// Rows of an image that are done together, `[from, to)`, and those that they need, one more to each side within the
// image: `[top, bottom)`.
struct Band {
  size_t from, to, top, bottom, width;
  Band(size_t first, size_t last, size_t height, size_t columns)
      : from(first), to(last), top(first ? first - 1 : 0), bottom(std::min(last + 1, height)), width(columns) {}
  size_t size() const { return (to - from) * width; }
  size_t seen() const { return (bottom - top) * width; }
};

// Room of a thread, kept from band to band.
class Scratch {
 public:
  explicit Scratch(const IntegerKernels& kernels) : kernels_(kernels) {}

  int32_t* pairs(size_t which, size_t num_channels, size_t size) {
    return grown(pairs_[which], (num_channels + 1) / 2 * whole(size, kernels_.block));
  }
  float* floats(size_t num_planes, size_t size) {
    return grown(floats_, num_planes * whole(size, kernels_.block));
  }

  // A depthwise layer of a band: x holds the rows that it needs, the result those that it has.
  void spatial(const Depthwise& layer, const int32_t* x, const Band& band, Range range, int32_t* pairs) {
    const size_t block = kernels_.block, num_pairs = layer.view().num_pairs;
    const size_t seen = band.seen(), margin = band.width + 1;
    neighbours_of(band);
    plane_.assign(margin + whole(seen, block) + margin + band.width + block, 0);
    // First row of the band in `plane_`: behind the margin, and behind the row above it if there is one.
    const int32_t* row = plane_.data() + margin + (band.from - band.top) * band.width;
    const Neighbours neighbours{static_cast<ptrdiff_t>(band.width), left_.data(), right_.data()};
    for (size_t pair = 0; pair < num_pairs; ++pair) {
      for (size_t from = 0; from < seen; from += block)
        std::memcpy(plane_.data() + margin + from, x + from * num_pairs + pair * block,
                    std::min(block, seen - from) * sizeof *x);
      kernels_.spatial(layer.view(), pair, row, neighbours, band.size(), range, pairs);
    }
  }

 private:
  // Masks for all positions of a band in whole blocks; those of the last band will often do.
  void neighbours_of(const Band& band) {
    const size_t size = whole(band.size(), kernels_.block);
    if (width_ == band.width && left_.size() >= size) return;
    left_.resize(size), right_.resize(size);
    width_ = band.width;
    for (size_t p = 0; p < size; ++p) {
      left_[p] = p % width_ ? -1 : 0;
      right_[p] = (p + 1) % width_ ? -1 : 0;
    }
  }

  template <class T>
  static T* grown(std::vector<T>& room, size_t size) {
    if (room.size() < size) room.resize(size);
    return room.data();
  }

  const IntegerKernels& kernels_;
  std::vector<int32_t> pairs_[2], plane_, left_, right_;
  std::vector<float> floats_;
  size_t width_ = 0;
};

// work(scratch, image, band) for all bands, in up to `num_threads` threads.
template <class Work>
void for_bands(const IntegerKernels& kernels, const Grid& grid, size_t num_threads, Work work) {
  if (!grid.batch || !grid.size()) return;
  const size_t shares = (num_threads + grid.batch - 1) / grid.batch;
  size_t rows = std::min((grid.height + shares - 1) / shares, kMostPositions / grid.width);
  rows = std::min(std::max({rows, kLeastRows, kLeastPositions / grid.width}), grid.height);
  const size_t bands = (grid.height + rows - 1) / rows, jobs = grid.batch * bands;
  rows = (grid.height + bands - 1) / bands;  // of equal size
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto run = [&] {
    try {
      Scratch scratch(kernels);
      for (size_t job = next++; job < jobs; job = next++) {
        const size_t from = job % bands * rows;
        if (from >= grid.height) continue;
        work(scratch, job / bands, Band(from, std::min(from + rows, grid.height), grid.height, grid.width));
      }
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  };
  const size_t num_others = std::min(num_threads, jobs) - 1;
  std::vector<std::thread> others;
  others.reserve(num_others);
  try {
    while (others.size() < num_others) others.emplace_back(run);
  } catch (const std::exception&) {  // neither threads nor memory for one to be had: those that are here do it all
  }
  run();
  for (std::thread& other : others) other.join();
  if (failed) throw std::bad_alloc();
}

// Pairs of planes of floats, those positions that a band needs.
void read(const IntegerKernels& kernels, const float* floats, size_t num_planes, size_t plane, size_t size, float add,
          Range range, int32_t* pairs) {
  const size_t num_pairs = (num_planes + 1) / 2;
  for (size_t pair = 0; pair < num_pairs; ++pair) {
    const float *even = floats + 2 * pair * plane, *odd = 2 * pair + 1 < num_planes ? even + plane : nullptr;
    kernels.from_floats(even, odd, size, add, range, pair, num_pairs, pairs);
  }
}

}  // namespace

const IntegerKernels kScalarIntegers = Product<Vectors, 2, 4>::kernels("scalar");

std::vector<const IntegerKernels*> integer_kernels() {
  std::vector<const IntegerKernels*> found = {&kScalarIntegers};
#if BASIC_X86
  if (simd() == Simd::avx2 || simd() == Simd::avx512) found.push_back(&kAvx2Integers);
  if (simd() == Simd::avx512) {
    found.push_back(&kAvx512Integers);
    if (__builtin_cpu_supports("avx512vnni")) found.push_back(&kVnniIntegers);
  }
#endif
  return found;
}

Pointwise::Pointwise(const IntegerKernels& kernels, const int16_t* weight, const int32_t* bias, const uint8_t* shift,
                     size_t num_outputs, size_t num_inputs, int32_t limit, bool rounds)
    : kernels_(&kernels), num_inputs_(num_inputs), limit_(limit), rounds_(rounds) {
  const size_t num_pairs = (num_inputs + 1) / 2, rows = whole(num_outputs, kernels.rows);
  weight_.assign(rows * num_pairs, 0);
  start_.assign(rows, 0);
  shift_.assign(rows, 0);
  for (size_t o = 0; o < num_outputs; ++o) {
    const int16_t* row = weight + o * num_inputs;
    start_[o] = start_of(row, num_inputs, bias[o], shift[o], limit, rounds, o);
    shift_[o] = shift[o];
    int32_t* to = weight_.data() + o / kernels.rows * kernels.rows * num_pairs + o % kernels.rows;
    for (size_t k = 0; k < num_pairs; ++k)
      to[k * kernels.rows] = Vectors::paired(row[2 * k], 2 * k + 1 < num_inputs ? row[2 * k + 1] : 0);
  }
  view_ = {weight_.data(), start_.data(), shift_.data(), num_outputs, num_pairs};
}

Depthwise::Depthwise(const IntegerKernels& kernels, const int16_t* weight, const int32_t* bias, const uint8_t* shift,
                     size_t num_channels, int32_t limit)
    : kernels_(&kernels), num_channels_(num_channels), limit_(limit) {
  const size_t num_pairs = (num_channels + 1) / 2;
  weight_.assign(num_pairs * 18, 0);
  start_.assign(num_pairs * 2, 0);
  shift_.assign(num_pairs * 2, 0);
  for (size_t c = 0; c < num_channels; ++c) {
    start_[c] = start_of(weight + 9 * c, 9, bias[c], shift[c], limit, true, c);
    shift_[c] = shift[c];
    for (size_t k = 0; k < 9; ++k) {
      const int32_t tap = weight[9 * c + k];
      weight_[9 * c + k] = c % 2 ? Vectors::paired(0, tap) : Vectors::paired(tap, 0);
    }
  }
  view_ = {weight_.data(), start_.data(), shift_.data(), num_pairs};
}

void run_hyper(const Hyper& layers, const Grid& grid, const float* z_hat, float* state, size_t num_threads) {
  const IntegerKernels& kernels = layers.up->kernels();
  const PointwiseView& up = layers.up->view();
  const size_t num_inputs = layers.spread->num_inputs(), num_inner = layers.spatial->num_channels();
  const size_t num_state = up.num_outputs / 4;
  for_bands(kernels, grid, num_threads, [&](Scratch& scratch, size_t image, const Band& band) {
    int32_t* one = scratch.pairs(0, std::max(num_inputs, num_inner), band.seen());
    int32_t* other = scratch.pairs(1, num_inner, band.seen());
    const float* z = z_hat + image * num_inputs * grid.size() + band.top * grid.width;
    read(kernels, z, num_inputs, grid.size(), band.seen(), 0.0f, kLatent, one);
    kernels.to_pairs(layers.spread->view(), one, band.seen(), kUnsigned, other);
    scratch.spatial(*layers.spatial, other, band, kUnsigned, one);
    const size_t plane = whole(band.size(), kernels.block);
    float* sums = scratch.floats(up.num_outputs, band.size());
    kernels.to_floats(up, one, band.size(), nullptr, 0, sums, plane);
    for (size_t s = 0; s < num_state; ++s)
      for (size_t y = 0; y < 2 * (band.to - band.from); ++y) {  // pixel-shuffle
        const size_t place = y % 2 * 2;
        const float *even = sums + (4 * s + place) * plane + y / 2 * grid.width, *odd = even + plane;
        const float even_half = std::ldexp(0.5f, -up.shift[4 * s + place]);
        const float odd_half = std::ldexp(0.5f, -up.shift[4 * s + place + 1]);
        float* to = state + ((image * num_state + s) * 2 * grid.height + 2 * band.from + y) * 2 * grid.width;
        for (size_t x = 0; x < grid.width; ++x) {
          to[2 * x] = even[x] + even_half;
          to[2 * x + 1] = odd[x] + odd_half;
        }
      }
  });
}

void run_context(const Context& layers, const Grid& grid, const float* state, const float* y_hat, int16_t* means,
                 uint8_t* indexes, float* state_out, size_t num_threads) {
  const IntegerKernels& kernels = layers.first->kernels();
  const size_t num_state = layers.first->num_inputs(), num_inner = layers.spatial->num_channels();
  const size_t num_read = layers.read ? layers.read->num_channels() : 0, plane = grid.size();
  const size_t num_outputs = layers.mean->view().num_outputs;
  const size_t most = std::max({num_state, num_inner, num_read});
  for_bands(kernels, grid, num_threads, [&](Scratch& scratch, size_t image, const Band& band) {
    const Band wider(band.top, band.bottom, grid.height, grid.width);  // what the band needs, and what that needs
    int32_t* one = scratch.pairs(0, most, wider.seen());
    int32_t* other = scratch.pairs(1, most, wider.seen());
    const size_t top = band.top * grid.width, from = band.from * grid.width, seen = band.seen();
    const float* before = state + image * num_state * plane + top;
    if (layers.read) {
      const float* latents = y_hat + image * num_read * plane + wider.top * grid.width;
      read(kernels, latents, num_read, plane, wider.seen(), 0.5f, kLatent, one);
      scratch.spatial(*layers.read, one, wider, kSigned, other);
      const size_t room = whole(seen, kernels.block);
      float* after = scratch.floats(num_state, seen);
      kernels.to_floats(layers.write->view(), other, seen, before, plane, after, room);
      if (state_out)
        for (size_t s = 0; s < num_state; ++s)
          std::memcpy(state_out + (image * num_state + s) * plane + from, after + s * room + (from - top),
                      band.size() * sizeof *after);
      read(kernels, after, num_state, room, seen, 0.0f, kSigned, one);
    } else {
      read(kernels, before, num_state, plane, seen, 0.0f, kSigned, one);
    }
    kernels.to_pairs(layers.first->view(), one, seen, kUnsigned, other);
    scratch.spatial(*layers.spatial, other, band, kUnsigned, one);
    kernels.to_pairs(layers.second->view(), one, band.size(), kUnsigned, other);
    const size_t at = image * num_outputs * plane + from;
    kernels.to_means(layers.mean->view(), other, band.size(), kMeans, means + at, plane);
    kernels.to_indexes(layers.scale->view(), other, band.size(), kIndexes, indexes + at, plane);
  });
}

}  // namespace basic
