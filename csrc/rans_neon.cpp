// 4 lanes a vector, for 64-bit Arm, where NEON is always there. It cannot gather: loads are one a lane.
#include "rans_simd.h"

#if BASIC_NEON

#include <arm_neon.h>

namespace basic {
namespace {

struct Fields {
  uint32x4_t lut_base_shift, folds, value_base, symbol_entries;
};

// The rows of 4 symbols, turned into fields.
template <class Index>
inline Fields load_fields(const TableRow* rows, const Index* indexes) {
  const auto row = [&](int k) { return vld1q_u32(&rows[indexes[k]].lut_base_shift); };
  const uint32x4_t row0 = row(0), row1 = row(1), row2 = row(2), row3 = row(3);
  const auto wide = [](uint32x4_t vector) { return vreinterpretq_u64_u32(vector); };
  const auto low = [&](uint32x4_t a, uint32x4_t b) { return vreinterpretq_u32_u64(vtrn1q_u64(wide(a), wide(b))); };
  const auto high = [&](uint32x4_t a, uint32x4_t b) { return vreinterpretq_u32_u64(vtrn2q_u64(wide(a), wide(b))); };
  const uint32x4_t even01 = vtrn1q_u32(row0, row1), odd01 = vtrn2q_u32(row0, row1);
  const uint32x4_t even23 = vtrn1q_u32(row2, row3), odd23 = vtrn2q_u32(row2, row3);
  return {low(even01, even23), low(odd01, odd23), high(even01, even23), high(odd01, odd23)};
}

// 4 look-ups, their lower and upper halves apart.
inline void gather_lut(const uint64_t* lut, uint32x4_t place, uint32x4_t& low, uint32x4_t& high) {
  const auto pair = [&](uint32_t a, uint32_t b) {
    return vreinterpretq_u32_u64(vcombine_u64(vld1_u64(lut + a), vld1_u64(lut + b)));
  };
  const uint32x4_t first = pair(vgetq_lane_u32(place, 0), vgetq_lane_u32(place, 1));
  const uint32x4_t second = pair(vgetq_lane_u32(place, 2), vgetq_lane_u32(place, 3));
  low = vuzp1q_u32(first, second);
  high = vuzp2q_u32(first, second);
}

inline uint32x4_t shifted_right(uint32x4_t values, uint32x4_t by) {
  return vshlq_u32(values, vnegq_s32(vreinterpretq_s32_u32(by)));
}
inline uint32x4_t shifted_right(uint32x4_t values, int by) { return vshlq_u32(values, vdupq_n_s32(-by)); }

// One bit for each lane of a mask.
inline unsigned lane_bits(uint32x4_t mask) {
  const uint32x4_t bits = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(mask, bits));
}

// For each set of lanes, where bytes come from. expand: word k of those read goes to the k-th chosen lane; compress: the
// chosen lanes' low halves, one after the other, in the last places.
struct Permutations {
  uint8_t expand[16][16], compress[16][8], count[16];
};

constexpr Permutations make_permutations() {
  Permutations result{};
  for (unsigned set = 0; set < 16; ++set) {
    unsigned count = 0;
    for (unsigned lane = 0; lane < 4; ++lane) {
      for (unsigned byte = 0; byte < 4; ++byte)
        result.expand[set][4 * lane + byte] = static_cast<uint8_t>((set >> lane & 1) && byte < 2 ? 2 * count + byte : 255);
      count += set >> lane & 1;
    }
    result.count[set] = static_cast<uint8_t>(count);
    unsigned place = 4 - count;
    for (unsigned lane = 0; lane < 4; ++lane) {
      if (!(set >> lane & 1)) continue;
      for (unsigned byte = 0; byte < 2; ++byte)
        result.compress[set][2 * place + byte] = static_cast<uint8_t>(2 * lane + byte);
      ++place;
    }
  }
  return result;
}

constexpr Permutations kPermutations = make_permutations();

// One symbol in each of 4 lanes; true where one of them is an escape.
template <class Index>
inline bool step(const TableView& tables, const Index* indexes, uint32x4_t& state, uint32x4_t& symbols) {
  const uint32x4_t low_half = vdupq_n_u32(0xffff), low_15 = vdupq_n_u32(0x7fff);
  const Fields fields = load_fields(tables.rows, indexes);
  const uint32x4_t slot = vandq_u32(state, vdupq_n_u32((1u << tables.precision) - 1));
  const uint32x4_t coarse = vaddq_u32(shifted_right(slot, vandq_u32(fields.lut_base_shift, vdupq_n_u32(15))),
                                      vandq_u32(fields.folds, low_half));
  const int32x4_t fine = vreinterpretq_s32_u32(vsubq_u32(slot, vshrq_n_u32(fields.folds, 16)));
  const int32x4_t folded = vmaxq_s32(vreinterpretq_s32_u32(vminq_u32(slot, coarse)), fine);
  uint32x4_t low, high;
  gather_lut(tables.lut, vaddq_u32(vreinterpretq_u32_s32(folded), vshrq_n_u32(fields.lut_base_shift, 4)), low, high);
  const uint32x4_t first = vandq_u32(vshrq_n_u32(low, 15), low_15);
  const uint32x4_t past = vsubq_u32(slot, vandq_u32(low, low_15));
  const uint32x4_t is_next = vcgeq_u32(past, first);
  const uint32x4_t frequency = vbslq_u32(is_next, vshrq_n_u32(high, 16), first);
  const uint32x4_t rest = vsubq_u32(past, vandq_u32(first, is_next));
  state = vmlaq_u32(rest, frequency, shifted_right(state, tables.precision));
  symbols = vaddq_u32(vsubq_u32(vandq_u32(high, low_half), is_next), fields.value_base);
  return vmaxvq_u32(vshrq_n_u32(vbslq_u32(is_next, low, vshlq_n_u32(low, 1)), 31)) != 0;
}

// Lanes below 2^16 take a word each, in lane order; 8 bytes behind `next` must be readable.
inline const uint8_t* renormalise(uint32x4_t& state, const uint8_t* next) {
  const uint32x4_t low = vcltq_u32(state, vdupq_n_u32(kStateLow));
  const unsigned set = lane_bits(low);
  const uint8x16_t words = vcombine_u8(vld1_u8(next), vdup_n_u8(0));
  const uint32x4_t mine = vreinterpretq_u32_u8(vqtbl1q_u8(words, vld1q_u8(kPermutations.expand[set])));
  state = vbslq_u32(low, vorrq_u32(vshlq_n_u32(state, 16), mine), state);
  return next + 2 * kPermutations.count[set];
}

inline uint32x4_t load_symbols(const int16_t* symbols) {
  return vreinterpretq_u32_s32(vmovl_s16(vld1_s16(symbols)));
}
inline uint32x4_t load_symbols(const int32_t* symbols) { return vreinterpretq_u32_s32(vld1q_s32(symbols)); }

// The entries of 4 symbols; false where one of them is outside its table.
template <class Symbol, class Index>
inline bool find_entries(const TableView& tables, const Symbol* symbols, const Index* indexes, uint32x4_t& entries) {
  const Fields fields = load_fields(tables.rows, indexes);
  const uint32x4_t range = fields.symbol_entries;
  const uint32x4_t index = vsubq_u32(load_symbols(symbols), fields.value_base);
  const uint32x4_t slot = vsubq_u32(index, vandq_u32(range, vdupq_n_u32(0xffff)));
  if (vmaxvq_u32(vcgeq_u32(slot, vshrq_n_u32(range, 16)))) return false;
  entries = vld1q_dup_u32(tables.entries + vgetq_lane_u32(index, 0));
  entries = vld1q_lane_u32(tables.entries + vgetq_lane_u32(index, 1), entries, 1);
  entries = vld1q_lane_u32(tables.entries + vgetq_lane_u32(index, 2), entries, 2);
  entries = vld1q_lane_u32(tables.entries + vgetq_lane_u32(index, 3), entries, 3);
  return true;
}

inline uint16_t* encode_step(int precision, uint32x4_t entry, uint32x4_t& state, uint16_t* next) {
  const uint32x4_t frequency = vshrq_n_u32(entry, 15);
  const uint32x4_t full = vcgeq_u32(state, vshlq_u32(frequency, vdupq_n_s32(32 - precision)));
  const unsigned set = lane_bits(full);
  // The chosen words, right-aligned, end where the others begin; what lies in front of them is overwritten later.
  const uint8x8_t halves = vreinterpret_u8_u16(vmovn_u32(state));
  vst1_u16(next - 4, vreinterpret_u16_u8(vtbl1_u8(halves, vld1_u8(kPermutations.compress[set]))));
  state = vbslq_u32(full, vshrq_n_u32(state, 16), state);
  // A little less than state / frequency, so that its whole part is right or one too small (it is at most 2^21).
  const float32x4_t ratio = vdivq_f32(vcvtq_f32_u32(state), vcvtq_f32_u32(frequency));
  const uint32x4_t quotient = vcvtq_u32_f32(vmulq_f32(ratio, vdupq_n_f32(1.0f - 0x1p-22f)));
  const uint32x4_t rest = vmlsq_u32(state, quotient, frequency);
  const uint32x4_t short_by_one = vcgeq_u32(rest, frequency);  // all bits or none
  const uint32x4_t exact = vsubq_u32(quotient, short_by_one);
  const uint32x4_t exact_rest = vsubq_u32(rest, vandq_u32(short_by_one, frequency));
  state = vaddq_u32(vshlq_u32(exact, vdupq_n_s32(precision)),
                    vaddq_u32(exact_rest, vandq_u32(entry, vdupq_n_u32(0x7fff))));
  return next - kPermutations.count[set];
}

struct Rows {
  template <int kLanes, bool, class Index>
  static size_t decode(const TableView& view, uint32_t* states, const uint8_t*& next, const uint8_t* limit,
                       const Index* indexes, int32_t* symbols, size_t num_rows) {
    constexpr int kVectors = kLanes / 4;
    uint32x4_t state[kVectors];
    for (int v = 0; v < kVectors; ++v) state[v] = vld1q_u32(states + 4 * v);
    size_t row = 0;
    for (; row < num_rows && next <= limit; ++row, indexes += kLanes, symbols += kLanes) {
      uint32x4_t after[kVectors], value[kVectors];
      bool escape = false;
      for (int v = 0; v < kVectors; ++v) {
        after[v] = state[v];
        escape |= step(view, indexes + 4 * v, after[v], value[v]);
      }
      if (__builtin_expect(escape, 0)) break;
      for (int v = 0; v < kVectors; ++v) {
        next = renormalise(after[v], next);
        state[v] = after[v];
        vst1q_s32(symbols + 4 * v, vreinterpretq_s32_u32(value[v]));
      }
    }
    for (int v = 0; v < kVectors; ++v) vst1q_u32(states + 4 * v, state[v]);
    return row;
  }

  template <int kLanes, bool, class Symbol, class Index>
  static size_t encode(const TableView& view, uint32_t* states, Writer& writer, const Symbol* symbols,
                       const Index* indexes, size_t num_rows) {
    constexpr int kVectors = kLanes / 4;
    uint32x4_t state[kVectors];
    for (int v = 0; v < kVectors; ++v) state[v] = vld1q_u32(states + 4 * v);
    uint16_t* next = writer.next;
    size_t row = 0;
    for (; row < num_rows && next - writer.begin >= kLanes; ++row) {
      const size_t first = (num_rows - 1 - row) * kLanes;
      uint32x4_t entries[kVectors];
      bool inside = true;
      for (int v = 0; v < kVectors; ++v)
        inside &= find_entries(view, symbols + first + 4 * v, indexes + first + 4 * v, entries[v]);
      if (__builtin_expect(!inside, 0)) break;
      for (int v = kVectors - 1; v >= 0; --v) next = encode_step(view.precision, entries[v], state[v], next);
    }
    writer.next = next;
    for (int v = 0; v < kVectors; ++v) vst1q_u32(states + 4 * v, state[v]);
    return row;
  }
};

}  // namespace

template <class Index>
Status decode_neon(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                   const Index* indexes, int32_t* symbols, size_t num_symbols) {
  if (num_lanes == 32) return decode_with<Rows, 32>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 16) return decode_with<Rows, 16>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 8) return decode_with<Rows, 8>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 4) return decode_with<Rows, 4>(tables, states, lane, reader, indexes, symbols, num_symbols);
  return decode_scalar(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
}

template <class Symbol, class Index>
size_t encode_neon(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                   const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  if (num_lanes == 32) return encode_with<Rows, 32>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 16) return encode_with<Rows, 16>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 8) return encode_with<Rows, 8>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 4) return encode_with<Rows, 4>(tables, states, writer, symbols, indexes, from, to);
  return encode_scalar(tables, states, num_lanes, writer, symbols, indexes, from, to);
}

BASIC_INSTANTIATE(decode_neon, encode_neon)

}  // namespace basic

#endif
