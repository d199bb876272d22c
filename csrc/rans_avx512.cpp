// 16 lanes a vector. Compiled with AVX-512 F, BW, DQ, VL and called only where the processor has them.
#include "rans_simd.h"

#if BASIC_X86

#include <immintrin.h>

namespace basic {
namespace {

inline __m512i load_indexes(const uint8_t* indexes) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(indexes)));
}
inline __m512i load_indexes(const uint16_t* indexes) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(indexes)));
}
inline __m512i load_symbols(const int16_t* symbols) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols)));
}
inline __m512i load_symbols(const int32_t* symbols) { return _mm512_loadu_si512(symbols); }

inline __m512i gather(const uint32_t* base, __m512i index) { return _mm512_i32gather_epi32(index, base, 4); }

// 16 look-ups, their lower and upper halves apart.
inline void gather_lut(const uint64_t* lut, __m512i place, __m512i& low, __m512i& high) {
  const __m512i a = _mm512_i32gather_epi64(_mm512_castsi512_si256(place), lut, 8);
  const __m512i b = _mm512_i32gather_epi64(_mm512_extracti32x8_epi32(place, 1), lut, 8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  low = _mm512_permutex2var_epi32(a, even, b);
  high = _mm512_permutex2var_epi32(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
}

// One parameter of every table: 64 tables fit four registers, more are gathered from memory.
template <bool kInRegisters>
struct Column {
  explicit Column(const uint32_t* column) : memory(column) {
    if constexpr (kInRegisters)
      for (int k = 0; k < 4; ++k) part[k] = _mm512_loadu_si512(column + 16 * k);
  }
  __m512i operator()(__m512i index) const {
    if constexpr (!kInRegisters) return gather(memory, index);
    const __mmask16 upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
    return _mm512_mask_blend_epi32(upper, _mm512_permutex2var_epi32(part[0], index, part[1]),
                                   _mm512_permutex2var_epi32(part[2], index, part[3]));
  }
  const uint32_t* memory;
  __m512i part[4];
};

template <bool kInRegisters>
struct DecodeTables {
  explicit DecodeTables(const TableView& tables)
      : lut(tables.lut),
        lut_base_shift(tables.columns.lut_base_shift),
        folds(tables.columns.folds),
        value_base(tables.columns.value_base) {}
  const uint64_t* lut;
  Column<kInRegisters> lut_base_shift, folds, value_base;
};

// One symbol in each of 16 lanes; true where one of them is an escape (then nothing is changed).
template <bool kInRegisters, class Index>
inline bool step(const DecodeTables<kInRegisters>& tables, int precision, const Index* indexes, __m512i& state,
                 __m512i& symbols) {
  const __m512i low_half = _mm512_set1_epi32(0xffff), low_15 = _mm512_set1_epi32(0x7fff);
  const __m512i index = load_indexes(indexes);
  const __m512i base_shift = tables.lut_base_shift(index), folds = tables.folds(index);
  const __m512i slot = _mm512_and_si512(state, _mm512_set1_epi32((1 << precision) - 1));
  const __m512i coarse = _mm512_add_epi32(_mm512_srlv_epi32(slot, _mm512_and_si512(base_shift, _mm512_set1_epi32(15))),
                                          _mm512_and_si512(folds, low_half));
  const __m512i fine = _mm512_sub_epi32(slot, _mm512_srli_epi32(folds, 16));
  const __m512i place = _mm512_add_epi32(_mm512_max_epi32(_mm512_min_epi32(slot, coarse), fine),
                                         _mm512_srli_epi32(base_shift, 4));
  __m512i low, high;
  gather_lut(tables.lut, place, low, high);
  const __m512i first = _mm512_and_si512(_mm512_srli_epi32(low, 15), low_15);
  const __m512i past = _mm512_sub_epi32(slot, _mm512_and_si512(low, low_15));
  const __mmask16 is_next = _mm512_cmpge_epu32_mask(past, first);
  if (_mm512_movepi32_mask(_mm512_mask_slli_epi32(low, _knot_mask16(is_next), low, 1))) return true;
  const __m512i frequency = _mm512_mask_srli_epi32(first, is_next, high, 16);
  state = _mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(state, precision)),
                           _mm512_mask_sub_epi32(past, is_next, past, first));
  const __m512i entry_index = _mm512_and_si512(high, low_half);
  symbols = _mm512_add_epi32(_mm512_mask_add_epi32(entry_index, is_next, entry_index, _mm512_set1_epi32(1)),
                             tables.value_base(index));
  return false;
}

// Lanes below 2^16 take a word each, in lane order; 32 bytes behind `next` must be readable.
inline const uint8_t* renormalise(__m512i& state, const uint8_t* next) {
  const __mmask16 low = _mm512_cmplt_epu32_mask(state, _mm512_set1_epi32(1 << 16));
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
  const __m512i mine = _mm512_maskz_expand_epi32(low, words);
  state = _mm512_mask_or_epi32(state, low, _mm512_slli_epi32(state, 16), mine);
  return next + 2 * __builtin_popcount(low);
}

// Whole rows of kVectors * 16 lanes while `limit` allows; stops before a row with an escape. Returns rows done.
template <int kVectors, bool kInRegisters, class Index>
size_t decode_rows(const TableView& view, uint32_t* states, const uint8_t*& next, const uint8_t* limit,
                   const Index* indexes, int32_t* symbols, size_t num_rows) {
  const DecodeTables<kInRegisters> tables(view);
  const int precision = view.precision;
  __m512i state[kVectors];
  for (int v = 0; v < kVectors; ++v) state[v] = _mm512_loadu_si512(states + 16 * v);
  size_t row = 0;
  for (; row < num_rows && next <= limit; ++row) {
    __m512i after[kVectors], value[kVectors];
    bool escape = false;
    for (int v = 0; v < kVectors; ++v) {
      after[v] = state[v];
      escape |= step(tables, precision, indexes + 16 * v, after[v], value[v]);
    }
    if (__builtin_expect(escape, 0)) break;
    for (int v = 0; v < kVectors; ++v) {
      next = renormalise(after[v], next);
      state[v] = after[v];
      _mm512_storeu_si512(symbols + 16 * v, value[v]);
    }
    indexes += 16 * kVectors;
    symbols += 16 * kVectors;
  }
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(states + 16 * v, state[v]);
  return row;
}

template <bool kInRegisters>
struct EncodeTables {
  explicit EncodeTables(const TableView& tables)
      : entries(tables.entries), value_base(tables.columns.value_base), symbol_entries(tables.columns.symbol_entries) {}
  const uint32_t* entries;
  Column<kInRegisters> value_base, symbol_entries;
};

// The entries of 16 symbols; false where one of them is outside its table.
template <bool kInRegisters, class Symbol, class Index>
inline bool find_entries(const EncodeTables<kInRegisters>& tables, const Symbol* symbols, const Index* indexes,
                         __m512i& entries) {
  const __m512i index = load_indexes(indexes);
  const __m512i range = tables.symbol_entries(index);
  const __m512i entry_index = _mm512_sub_epi32(load_symbols(symbols), tables.value_base(index));
  const __m512i slot = _mm512_sub_epi32(entry_index, _mm512_and_si512(range, _mm512_set1_epi32(0xffff)));
  if (_mm512_cmpge_epu32_mask(slot, _mm512_srli_epi32(range, 16))) return false;
  entries = gather(tables.entries, entry_index);
  return true;
}

inline uint16_t* encode_step(int precision, __m512i entry, __m512i& state, uint16_t* next) {
  const __m512i low_15 = _mm512_set1_epi32(0x7fff);
  const __m512i frequency = _mm512_srli_epi32(entry, 15);
  const __mmask16 full = _mm512_cmpge_epu32_mask(state, _mm512_slli_epi32(frequency, 32 - precision));
  const int num_words = __builtin_popcount(full);
  next -= num_words;
  const __m256i words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, state));
  _mm256_mask_storeu_epi16(next, static_cast<__mmask16>((1u << num_words) - 1), words);
  state = _mm512_mask_srli_epi32(state, full, state, 16);
  // Rounded towards zero twice: at most one below the quotient, since that is at most 2^21.
  constexpr int kDown = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
  const __m512 ratio =
      _mm512_div_round_ps(_mm512_cvt_roundepu32_ps(state, kDown), _mm512_cvt_roundepu32_ps(frequency, kDown), kDown);
  __m512i quotient = _mm512_cvttps_epu32(ratio);
  __m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, frequency));
  const __mmask16 short_by_one = _mm512_cmpge_epu32_mask(rest, frequency);
  quotient = _mm512_mask_add_epi32(quotient, short_by_one, quotient, _mm512_set1_epi32(1));
  rest = _mm512_mask_sub_epi32(rest, short_by_one, rest, frequency);
  state = _mm512_add_epi32(_mm512_slli_epi32(quotient, precision),
                           _mm512_add_epi32(rest, _mm512_and_si512(entry, low_15)));
  return next;
}

// Whole rows from the back while there is room; stops before a row with an escape. Returns rows done.
template <int kVectors, bool kInRegisters, class Symbol, class Index>
size_t encode_rows(const TableView& view, uint32_t* states, Writer& writer, const Symbol* symbols, const Index* indexes,
                   size_t num_rows) {
  const EncodeTables<kInRegisters> tables(view);
  const int precision = view.precision;
  __m512i state[kVectors];
  for (int v = 0; v < kVectors; ++v) state[v] = _mm512_loadu_si512(states + 16 * v);
  size_t row = 0;
  uint16_t* next = writer.next;
  for (; row < num_rows && next - writer.begin >= 16 * kVectors; ++row) {
    const size_t first = (num_rows - 1 - row) * 16 * kVectors;
    __m512i entries[kVectors];
    bool inside = true;
    for (int v = 0; v < kVectors; ++v)
      inside &= find_entries(tables, symbols + first + 16 * v, indexes + first + 16 * v, entries[v]);
    if (__builtin_expect(!inside, 0)) break;
    for (int v = kVectors - 1; v >= 0; --v) next = encode_step(precision, entries[v], state[v], next);
  }
  writer.next = next;
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(states + 16 * v, state[v]);
  return row;
}

struct Rows {
  template <int kLanes, bool kFew, class Index>
  static size_t decode(const TableView& view, uint32_t* states, const uint8_t*& next, const uint8_t* limit,
                       const Index* indexes, int32_t* symbols, size_t num_rows) {
    return decode_rows<kLanes / 16, kFew>(view, states, next, limit, indexes, symbols, num_rows);
  }
  template <int kLanes, bool kFew, class Symbol, class Index>
  static size_t encode(const TableView& view, uint32_t* states, Writer& writer, const Symbol* symbols,
                       const Index* indexes, size_t num_rows) {
    return encode_rows<kLanes / 16, kFew>(view, states, writer, symbols, indexes, num_rows);
  }
};

}  // namespace

template <class Index>
Status decode_avx512(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                     const Index* indexes, int32_t* symbols, size_t num_symbols) {
  if (num_lanes == 32) return decode_with<Rows, 32>(tables, states, lane, reader, indexes, symbols, num_symbols);
  if (num_lanes == 16) return decode_with<Rows, 16>(tables, states, lane, reader, indexes, symbols, num_symbols);
  return decode_avx2(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
}

template <class Symbol, class Index>
size_t encode_avx512(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                     const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  if (num_lanes == 32) return encode_with<Rows, 32>(tables, states, writer, symbols, indexes, from, to);
  if (num_lanes == 16) return encode_with<Rows, 16>(tables, states, writer, symbols, indexes, from, to);
  return encode_avx2(tables, states, num_lanes, writer, symbols, indexes, from, to);
}

BASIC_INSTANTIATE(decode_avx512, encode_avx512)

}  // namespace basic

#endif
