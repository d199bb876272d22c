// The portable coding loops. Other files may be faster; they must give these bytes.
#include "rans.h"

namespace basic {
namespace {

inline bool renormalise(uint32_t& state, Reader& reader) {
  if (state >= kStateLow) return true;
  if (reader.end - reader.next < 2) return false;
  state = state << 16 | static_cast<uint32_t>(reader.next[0]) | static_cast<uint32_t>(reader.next[1]) << 8;
  reader.next += 2;
  return true;
}

inline void emit(uint32_t& state, Writer& writer) {
  *--writer.next = static_cast<uint16_t>(state);
  state >>= 16;
}

Status decode_escape(uint32_t& state, Reader& reader, const TableParams& table, int32_t& symbol) {
  uint32_t head = 0, low = 0, high = 0;
  if (!get_bits(state, 4, reader, head)) return Status::truncated;
  uint32_t distance = head >> 1;
  if (distance == 6) {
    if (!get_bits(state, 8, reader, low)) return Status::truncated;
    distance = kNear + low;
  } else if (distance == 7) {
    if (!get_bits(state, 16, reader, high) || !get_bits(state, 16, reader, low)) return Status::truncated;
    distance = high << 16 | low;
    if (distance < kFar) return Status::symbol_range;
  }
  const int64_t above = static_cast<int64_t>(table.offset) + (table.num_entries - 1) + distance;
  const int64_t below = static_cast<int64_t>(table.offset) - 1 - distance;
  const int64_t value = (head & 1) ? below : above;
  if (value != static_cast<int32_t>(value)) return Status::symbol_range;
  symbol = static_cast<int32_t>(value);
  return Status::ok;
}

void encode_escape(uint32_t& state, Writer& writer, const TableParams& table, int32_t symbol) {
  const auto [distance, side] = escape_of(table, symbol);
  if (distance < kNear) {
    put_bits(state, 4, distance << 1 | side, writer);
  } else if (distance < kFar) {
    put_bits(state, 8, distance - kNear, writer);
    put_bits(state, 4, 6 << 1 | side, writer);
  } else {
    put_bits(state, 16, distance & 0xffff, writer);
    put_bits(state, 16, distance >> 16, writer);
    put_bits(state, 4, 7 << 1 | side, writer);
  }
}

}  // namespace

bool get_bits(uint32_t& state, int num_bits, Reader& reader, uint32_t& value) {
  value = state & ((1u << num_bits) - 1);
  state >>= num_bits;
  return renormalise(state, reader);
}

void put_bits(uint32_t& state, int num_bits, uint32_t value, Writer& writer) {
  if (static_cast<uint64_t>(state) >> (32 - num_bits)) emit(state, writer);
  state = state << num_bits | value;
}

template <class Index>
Status decode_scalar(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                     const Index* indexes, int32_t* symbols, size_t num_symbols) {
  const int precision = tables.precision;
  const uint32_t mask = (1u << precision) - 1, lane_mask = num_lanes - 1;
  for (size_t i = 0; i < num_symbols; ++i, lane = (lane + 1) & lane_mask) {
    const TableParams& table = tables.params[indexes[i]];
    uint32_t state = states[lane];
    const uint32_t slot = state & mask;
    const uint32_t found = tables.lut[lut_index(slot, table)];
    const uint32_t index = (found & 0xffff) + (slot >= found >> 16);
    const uint32_t entry = tables.entries[index];
    state = entry_frequency(entry) * (state >> precision) + slot - entry_start(entry);
    if (!renormalise(state, reader)) return Status::truncated;
    symbols[i] = static_cast<int32_t>(static_cast<uint32_t>(table.value_base) + index);
    if (entry & kEscapeBit) {
      const Status status = decode_escape(state, reader, table, symbols[i]);
      if (status != Status::ok) return status;
    }
    states[lane] = state;
  }
  return Status::ok;
}

template <class Symbol, class Index>
size_t encode_scalar(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                     const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  const int precision = tables.precision;
  for (; to > from && writer.room() >= kMaxWordsPerSymbol; --to) {
    const size_t i = to - 1;
    const TableParams& table = tables.params[indexes[i]];
    uint32_t& state = states[i & (num_lanes - 1)];
    uint32_t slot = static_cast<uint32_t>(static_cast<int32_t>(symbols[i])) - static_cast<uint32_t>(table.offset);
    if (slot >= table.num_entries - 1) {
      slot = table.num_entries - 1;
      encode_escape(state, writer, table, symbols[i]);
    }
    const uint32_t entry = tables.entries[table.first_entry + slot];
    const uint32_t frequency = entry_frequency(entry);
    if (state >= frequency << (32 - precision)) emit(state, writer);
    state = (state / frequency << precision) + state % frequency + entry_start(entry);
  }
  return to;
}

template Status decode_scalar(const TableView&, uint32_t*, uint32_t, uint32_t, Reader&, const uint8_t*, int32_t*,
                              size_t);
template Status decode_scalar(const TableView&, uint32_t*, uint32_t, uint32_t, Reader&, const uint16_t*, int32_t*,
                              size_t);
template size_t encode_scalar(const TableView&, uint32_t*, uint32_t, Writer&, const int16_t*, const uint8_t*, size_t,
                              size_t);
template size_t encode_scalar(const TableView&, uint32_t*, uint32_t, Writer&, const int16_t*, const uint16_t*, size_t,
                              size_t);
template size_t encode_scalar(const TableView&, uint32_t*, uint32_t, Writer&, const int32_t*, const uint8_t*, size_t,
                              size_t);
template size_t encode_scalar(const TableView&, uint32_t*, uint32_t, Writer&, const int32_t*, const uint16_t*, size_t,
                              size_t);

}  // namespace basic
