// 8 lanes a vector. Compiled with AVX2 and called only where the processor has it.
#include "rans_simd.h"

#if BASIC_X86

#include <immintrin.h>

namespace basic {
namespace {

inline __m256i load_symbols(const int16_t* symbols) {
  return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols)));
}
inline __m256i load_vector(const void* words) { return _mm256_loadu_si256(static_cast<const __m256i*>(words)); }
inline __m256i load_symbols(const int32_t* symbols) { return load_vector(symbols); }
inline void store_vector(void* words, __m256i vector) { _mm256_storeu_si256(static_cast<__m256i*>(words), vector); }

inline __m256i gather(const uint32_t* base, __m256i index) {
  return _mm256_i32gather_epi32(reinterpret_cast<const int*>(base), index, 4);
}

inline __m256i two_rows(const TableRow* low, const TableRow* high) {
  const __m128i first = _mm_load_si128(reinterpret_cast<const __m128i*>(low));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(first), *reinterpret_cast<const __m128i*>(high), 1);
}

struct Fields {
  __m256i lut_base_shift, folds, value_base, symbol_entries;
};

// The rows of 8 symbols, turned into fields: 8 loads where gathering each field takes 8 a field.
template <class Index>
inline Fields load_fields(const TableRow* rows, const Index* indexes) {
  const auto pair = [&](int k) { return two_rows(rows + indexes[k], rows + indexes[k + 4]); };
  const __m256i row0 = pair(0), row1 = pair(1), row2 = pair(2), row3 = pair(3);
  const __m256i low01 = _mm256_unpacklo_epi32(row0, row1), high01 = _mm256_unpackhi_epi32(row0, row1);
  const __m256i low23 = _mm256_unpacklo_epi32(row2, row3), high23 = _mm256_unpackhi_epi32(row2, row3);
  return {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
          _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
}

// 8 look-ups, their lower and upper halves apart.
inline void gather_lut(const uint64_t* lut, __m256i place, __m256i& low, __m256i& high) {
  const auto* base = reinterpret_cast<const long long*>(lut);
  const __m256i order = _mm256_permute4x64_epi64(place, 0xd8);  // lanes 0 1 4 5, 2 3 6 7: as shuffle_ps joins them
  const __m256 a = _mm256_castsi256_ps(_mm256_i32gather_epi64(base, _mm256_castsi256_si128(order), 8));
  const __m256 b = _mm256_castsi256_ps(_mm256_i32gather_epi64(base, _mm256_extracti128_si256(order, 1), 8));
  low = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
  high = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd));
}

// All bits of a lane where a >= b, unsigned.
inline __m256i at_least(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a); }
inline unsigned lane_bits(__m256i vector) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(vector)));
}

// For each set of lanes, a byte of a 64-bit number for each of eight places: `expand` holds the number of chosen lanes
// before lane k, `compress` the chosen lanes one after the other, in the last places.
struct Permutations {
  uint64_t expand[256], compress[256];
};

constexpr Permutations make_permutations() {
  Permutations result{};
  for (unsigned set = 0; set < 256; ++set) {
    unsigned count = 0;
    for (unsigned lane = 0; lane < 8; ++lane) {
      result.expand[set] |= static_cast<uint64_t>(count) << (8 * lane);
      if (!(set >> lane & 1)) continue;
      ++count;
      result.compress[set] = result.compress[set] >> 8 | static_cast<uint64_t>(lane) << 56;
    }
  }
  return result;
}

constexpr Permutations kPermutations = make_permutations();

inline __m256i lane_numbers(uint64_t bytes) {
  return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes)));
}

// One symbol in each of 8 lanes; true where one of them is an escape.
template <class Index>
inline bool step(const TableView& tables, const Index* indexes, __m256i& state, __m256i& symbols) {
  const __m256i low_half = _mm256_set1_epi32(0xffff), low_15 = _mm256_set1_epi32(0x7fff);
  const Fields fields = load_fields(tables.rows, indexes);
  const __m256i base_shift = fields.lut_base_shift, folds = fields.folds;
  const __m256i slot = _mm256_and_si256(state, _mm256_set1_epi32((1 << tables.precision) - 1));
  const __m256i coarse = _mm256_add_epi32(_mm256_srlv_epi32(slot, _mm256_and_si256(base_shift, _mm256_set1_epi32(15))),
                                          _mm256_and_si256(folds, low_half));
  const __m256i fine = _mm256_sub_epi32(slot, _mm256_srli_epi32(folds, 16));
  const __m256i place = _mm256_add_epi32(_mm256_max_epi32(_mm256_min_epi32(slot, coarse), fine),
                                         _mm256_srli_epi32(base_shift, 4));
  __m256i low, high;
  gather_lut(tables.lut, place, low, high);
  const __m256i first = _mm256_and_si256(_mm256_srli_epi32(low, 15), low_15);
  const __m256i past = _mm256_sub_epi32(slot, _mm256_and_si256(low, low_15));
  const __m256i rest = _mm256_sub_epi32(past, first);
  const __m256i is_first = _mm256_srai_epi32(rest, 31);  // both are below 2^15
  const __m256i frequency = _mm256_blendv_epi8(_mm256_srli_epi32(high, 16), first, is_first);
  state = _mm256_add_epi32(_mm256_mullo_epi32(frequency, _mm256_srli_epi32(state, tables.precision)),
                           _mm256_blendv_epi8(rest, past, is_first));
  const __m256i entry_index = _mm256_sub_epi32(_mm256_add_epi32(_mm256_and_si256(high, low_half), is_first),
                                               _mm256_set1_epi32(-1));
  symbols = _mm256_add_epi32(entry_index, fields.value_base);
  return lane_bits(_mm256_blendv_epi8(low, _mm256_slli_epi32(low, 1), is_first)) != 0;
}

// Lanes below 2^16 take a word each, in lane order; 16 bytes behind `next` must be readable.
inline const uint8_t* renormalise(__m256i& state, const uint8_t* next) {
  const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
  const unsigned set = lane_bits(low);
  const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(next)));
  const __m256i mine = _mm256_permutevar8x32_epi32(words, lane_numbers(kPermutations.expand[set]));
  state = _mm256_blendv_epi8(state, _mm256_or_si256(_mm256_slli_epi32(state, 16), mine), low);
  return next + 2 * __builtin_popcount(set);
}

// The entries of 8 symbols; false where one of them is outside its table.
template <class Symbol, class Index>
inline bool find_entries(const TableView& tables, const Symbol* symbols, const Index* indexes, __m256i& entries) {
  const Fields fields = load_fields(tables.rows, indexes);
  const __m256i range = fields.symbol_entries;
  const __m256i entry_index = _mm256_sub_epi32(load_symbols(symbols), fields.value_base);
  const __m256i slot = _mm256_sub_epi32(entry_index, _mm256_and_si256(range, _mm256_set1_epi32(0xffff)));
  entries = _mm256_setzero_si256();
  if (lane_bits(at_least(slot, _mm256_srli_epi32(range, 16)))) return false;
  entries = gather(tables.entries, entry_index);
  return true;
}

// A little less than state / frequency, so that its whole part is right or one too small (it is at most 2^21).
// AVX2 converts no unsigned numbers and cannot choose the rounding: two halves, and a factor below one.
inline __m256i quotient_below(__m256i state, __m256i frequency) {
  const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(state, 16));
  const __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(state, _mm256_set1_epi32(0xffff)));
  const __m256 sum = _mm256_add_ps(_mm256_mul_ps(high, _mm256_set1_ps(65536.0f)), low);
  const __m256 ratio = _mm256_div_ps(sum, _mm256_cvtepi32_ps(frequency));
  return _mm256_cvttps_epi32(_mm256_mul_ps(ratio, _mm256_set1_ps(1.0f - 0x1p-22f)));
}

inline uint16_t* encode_step(int precision, __m256i entry, __m256i& state, uint16_t* next) {
  const __m256i low_15 = _mm256_set1_epi32(0x7fff);
  const __m256i frequency = _mm256_srli_epi32(entry, 15);
  const __m256i full = at_least(state, _mm256_slli_epi32(frequency, 32 - precision));
  const unsigned set = lane_bits(full);
  // The chosen words, right-aligned, end where the others begin; what lies in front of them is overwritten later.
  const __m256i chosen = _mm256_permutevar8x32_epi32(state, lane_numbers(kPermutations.compress[set]));
  const __m256i halves = _mm256_and_si256(chosen, _mm256_set1_epi32(0xffff));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(next - 8), words);
  state = _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), full);
  const __m256i quotient = quotient_below(state, frequency);
  const __m256i rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(quotient, frequency));
  const __m256i short_by_one = at_least(rest, frequency);  // -1 or 0
  const __m256i exact = _mm256_sub_epi32(quotient, short_by_one);
  const __m256i exact_rest = _mm256_sub_epi32(rest, _mm256_and_si256(short_by_one, frequency));
  state = _mm256_add_epi32(_mm256_slli_epi32(exact, precision),
                           _mm256_add_epi32(exact_rest, _mm256_and_si256(entry, low_15)));
  return next - __builtin_popcount(set);
}

struct Rows {
  template <int kLanes, bool, class Index>
  static size_t decode(const TableView& view, uint32_t* states, const uint8_t*& next, const uint8_t* limit,
                       const Index* indexes, int32_t* symbols, size_t num_rows) {
    constexpr int kVectors = kLanes / 8;
    __m256i state[kVectors];
    for (int v = 0; v < kVectors; ++v) state[v] = load_vector(states + 8 * v);
    size_t row = 0;
    for (; row < num_rows && next <= limit; ++row, indexes += kLanes, symbols += kLanes) {
      __m256i after[kVectors], value[kVectors];
      bool escape = false;
      for (int v = 0; v < kVectors; ++v) {
        after[v] = state[v];
        escape |= step(view, indexes + 8 * v, after[v], value[v]);
      }
      if (__builtin_expect(escape, 0)) break;
      for (int v = 0; v < kVectors; ++v) {
        next = renormalise(after[v], next);
        state[v] = after[v];
        store_vector(symbols + 8 * v, value[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) store_vector(states + 8 * v, state[v]);
    return row;
  }

  template <int kLanes, bool, class Symbol, class Index>
  static size_t encode(const TableView& view, uint32_t* states, Writer& writer, const Symbol* symbols,
                       const Index* indexes, size_t num_rows) {
    constexpr int kVectors = kLanes / 8;
    __m256i state[kVectors];
    for (int v = 0; v < kVectors; ++v) state[v] = load_vector(states + 8 * v);
    uint16_t* next = writer.next;
    size_t row = 0;
    for (; row < num_rows && next - writer.begin >= kLanes; ++row) {
      const size_t first = (num_rows - 1 - row) * kLanes;
      __m256i entries[kVectors];
      bool inside = true;
      for (int v = 0; v < kVectors; ++v)
        inside &= find_entries(view, symbols + first + 8 * v, indexes + first + 8 * v, entries[v]);
      if (__builtin_expect(!inside, 0)) break;
      for (int v = kVectors - 1; v >= 0; --v) next = encode_step(view.precision, entries[v], state[v], next);
    }
    writer.next = next;
    for (int v = 0; v < kVectors; ++v) store_vector(states + 8 * v, state[v]);
    return row;
  }
};

}  // namespace

template <class Index>
Status decode_avx2(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                   const Index* indexes, int32_t* symbols, size_t num_symbols) {
  if (num_lanes == 32) return decode_with<Rows, 32>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 16) return decode_with<Rows, 16>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 8) return decode_with<Rows, 8>(tables, states, lane, reader, indexes, symbols, num_symbols);
  return decode_scalar(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
}

template <class Symbol, class Index>
size_t encode_avx2(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                   const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  if (num_lanes == 32) return encode_with<Rows, 32>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 16) return encode_with<Rows, 16>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 8) return encode_with<Rows, 8>(tables, states, writer, symbols, indexes, from, to);
  return encode_scalar(tables, states, num_lanes, writer, symbols, indexes, from, to);
}

BASIC_INSTANTIATE(decode_avx2, encode_avx2)

}  // namespace basic

#endif
