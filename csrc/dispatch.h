// Which loops run: chosen once, from what the processor has and from BASIC_SIMD.
#pragma once

#include "rans_simd.h"

namespace basic {

enum class Simd { scalar, avx2, avx512, neon };

// What BASIC_SIMD (scalar, avx2, avx512 or neon) forces, else the best. Throws std::invalid_argument where it cannot be had.
Simd simd();
const char* simd_name();

// decode_scalar and encode_scalar, or faster ones of the same bytes.
template <class Index>
Status decode_symbols(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                      const Index* indexes, int32_t* symbols, size_t num_symbols) {
#if BASIC_X86
  if (simd() == Simd::avx512)
    return decode_avx512(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
  if (simd() == Simd::avx2) return decode_avx2(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
#endif
#if BASIC_NEON
  if (simd() == Simd::neon) return decode_neon(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
#endif
  return decode_scalar(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
}

template <class Symbol, class Index>
size_t encode_symbols(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                      const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
#if BASIC_X86
  if (simd() == Simd::avx512) return encode_avx512(tables, states, num_lanes, writer, symbols, indexes, from, to);
  if (simd() == Simd::avx2) return encode_avx2(tables, states, num_lanes, writer, symbols, indexes, from, to);
#endif
#if BASIC_NEON
  if (simd() == Simd::neon) return encode_neon(tables, states, num_lanes, writer, symbols, indexes, from, to);
#endif
  return encode_scalar(tables, states, num_lanes, writer, symbols, indexes, from, to);
}

}  // namespace basic
