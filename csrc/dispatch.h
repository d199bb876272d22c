// Which loops run: chosen once, from what the processor has and from BASIC_SIMD.
#pragma once

#include <string>

#include "rans.h"

namespace basic {

// "scalar", "avx2" or "avx512". BASIC_SIMD forces one; throws std::invalid_argument where it cannot be had.
const std::string& simd_name();

// decode_scalar and encode_scalar, or faster ones of the same bytes.
template <class Index>
Status decode_symbols(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                      const Index* indexes, int32_t* symbols, size_t num_symbols) {
  return decode_scalar(tables, states, lane, num_lanes, reader, indexes, symbols, num_symbols);
}

template <class Symbol, class Index>
size_t encode_symbols(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                      const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  return encode_scalar(tables, states, num_lanes, writer, symbols, indexes, from, to);
}

}  // namespace basic
