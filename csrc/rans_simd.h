// What the vector loops share: cutting a call into rows of all lanes, and what is left to the portable loops: partial
// rows and rows with an escape.
#pragma once

#include "rans.h"

#if defined(__x86_64__) || defined(_M_X64)
#define BASIC_X86 1
#else
#define BASIC_X86 0
#endif
#if defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BASIC_NEON 1
#else
#define BASIC_NEON 0
#endif

namespace basic {

// Symbols and results as in decode_scalar and encode_scalar. Only for processors that have the instructions.
template <class Index>
Status decode_avx2(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                   const Index* indexes, int32_t* symbols, size_t num_symbols);
template <class Index>
Status decode_avx512(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                     const Index* indexes, int32_t* symbols, size_t num_symbols);
template <class Symbol, class Index>
size_t encode_avx2(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                   const Symbol* symbols, const Index* indexes, size_t from, size_t to);
template <class Symbol, class Index>
size_t encode_avx512(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                     const Symbol* symbols, const Index* indexes, size_t from, size_t to);

template <class Index>
Status decode_neon(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                   const Index* indexes, int32_t* symbols, size_t num_symbols);
template <class Symbol, class Index>
size_t encode_neon(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                   const Symbol* symbols, const Index* indexes, size_t from, size_t to);

// A file of vector code gives `Rows`, a type of its own anonymous namespace (so that everything below is its own too):
//   decode<kLanes, kFew>(view, states, next, limit, indexes, symbols, num_rows) -> rows done
//     reads at most 2 * kLanes bytes a row, begins no row where next > limit, stops before a row with an escape;
//   encode<kLanes, kFew>(view, states, writer, symbols, indexes, num_rows) -> rows done, counted from the back,
//     begins no row with less room than kLanes words, stops before a row with an escape.
// kFew: all indexes are below kMinColumn.
// Looked at block by block: the few symbols of a tile that have higher indexes come first and must not slow the others.
constexpr size_t kBlock = 4096;

template <class Index>
static bool all_few(const Index* indexes, size_t num_indexes) {
  uint32_t any = 0;
  for (size_t i = 0; i < num_indexes; ++i) any |= indexes[i];
  return any < kMinColumn;
}

template <class Rows, int kLanes, class Index>
static Status decode_with(const TableView& tables, uint32_t* states, uint32_t lane, Reader& reader,
                          const Index* indexes, int32_t* symbols, size_t num_symbols) {
  const size_t partial = lane ? kLanes - lane : 0;
  const size_t head = partial < num_symbols ? partial : num_symbols;
  Status status = decode_scalar(tables, states, lane, kLanes, reader, indexes, symbols, head);
  const bool few = all_few(indexes, num_symbols);
  for (size_t i = head; status == Status::ok && i < num_symbols;) {
    const size_t num_rows = (num_symbols - i) / kLanes;
    if (num_rows == 0)
      return decode_scalar(tables, states, 0, kLanes, reader, indexes + i, symbols + i, num_symbols - i);
    // Near the end read from a copy with zeros behind; a row that uses them proves that the stream is cut.
    uint8_t padded[6 * kLanes] = {};
    const size_t num_bytes = static_cast<size_t>(reader.end - reader.next);
    const bool near_end = num_bytes < 2 * kLanes;
    for (size_t k = 0; near_end && k < num_bytes; ++k) padded[k] = reader.next[k];
    const uint8_t* next = near_end ? padded : reader.next;
    const uint8_t* limit = near_end ? padded + num_bytes : reader.end - 2 * kLanes;
    const size_t done = few ? Rows::template decode<kLanes, true>(tables, states, next, limit, indexes + i, symbols + i, num_rows)
                            : Rows::template decode<kLanes, false>(tables, states, next, limit, indexes + i, symbols + i, num_rows);
    if (near_end && next > limit) return Status::truncated;
    reader.next = near_end ? reader.end - (limit - next) : next;
    i += done * kLanes;
    if (done < num_rows && next <= limit) {
      status = decode_scalar(tables, states, 0, kLanes, reader, indexes + i, symbols + i, kLanes);
      i += kLanes;
    }
  }
  return status;
}

template <class Rows, int kLanes, class Symbol, class Index>
static size_t encode_with(const TableView& tables, uint32_t* states, Writer& writer, const Symbol* symbols,
                          const Index* indexes, size_t from, size_t to) {
  const size_t first_row = (from + kLanes - 1) / kLanes * kLanes;
  if (to < first_row) return encode_scalar(tables, states, kLanes, writer, symbols, indexes, from, to);
  const size_t last = to / kLanes * kLanes;
  to = encode_scalar(tables, states, kLanes, writer, symbols, indexes, last, to);
  bool few = false;
  for (size_t block = to; to == to / kLanes * kLanes && to > first_row;) {
    if (to == block) {
      block = to - first_row > kBlock ? to - kBlock : first_row;
      few = all_few(indexes + block, to - block);
    }
    const size_t num_rows = (to - block) / kLanes;
    const size_t done = few ? Rows::template encode<kLanes, true>(tables, states, writer, symbols + block, indexes + block, num_rows)
                            : Rows::template encode<kLanes, false>(tables, states, writer, symbols + block, indexes + block, num_rows);
    to -= done * kLanes;
    if (done == num_rows) continue;
    if (writer.room() < kLanes * kMaxWordsPerSymbol) return to;
    to = encode_scalar(tables, states, kLanes, writer, symbols, indexes, to - kLanes, to);
  }
  if (to != first_row) return to;
  return encode_scalar(tables, states, kLanes, writer, symbols, indexes, from, to);
}

}  // namespace basic

// The functions that `Rows` of this file serves, for the types that the binding takes.
#define BASIC_INSTANTIATE_ENCODE(name, Symbol, Index)                                                       \
  template size_t name(const TableView&, uint32_t*, uint32_t, Writer&, const Symbol*, const Index*, size_t, \
                       size_t);
#define BASIC_INSTANTIATE_DECODE(name, Index) \
  template Status name(const TableView&, uint32_t*, uint32_t, uint32_t, Reader&, const Index*, int32_t*, size_t);
#define BASIC_INSTANTIATE(decode_name, encode_name)      \
  BASIC_INSTANTIATE_DECODE(decode_name, uint8_t)         \
  BASIC_INSTANTIATE_DECODE(decode_name, uint16_t)        \
  BASIC_INSTANTIATE_ENCODE(encode_name, int16_t, uint8_t)  \
  BASIC_INSTANTIATE_ENCODE(encode_name, int16_t, uint16_t) \
  BASIC_INSTANTIATE_ENCODE(encode_name, int32_t, uint8_t)  \
  BASIC_INSTANTIATE_ENCODE(encode_name, int32_t, uint16_t)
