// The portable coding loops. Other files may be faster; they must give these bytes.
#include "rans.h"

namespace basic {
namespace {

// A shift and a mask instead of a branch that nothing could predict. A word must be there.
inline void renormalise_from_word(uint32_t& state, const uint8_t*& next) {
  const uint32_t word = static_cast<uint32_t>(next[0]) | static_cast<uint32_t>(next[1]) << 8;
  const uint32_t is_low = state < kStateLow;
  state = state << (16 * is_low) | (word & (0 - is_low));
  next += 2 * is_low;
}

inline bool renormalise(uint32_t& state, Reader& reader) {
  if (state >= kStateLow) return true;
  if (reader.end - reader.next < 2) return false;
  state = state << 16 | static_cast<uint32_t>(reader.next[0]) | static_cast<uint32_t>(reader.next[1]) << 8;
  reader.next += 2;
  return true;
}

// Write a word where the state needs it, again without a branch. There must be room.
inline void emit_if(uint32_t is_full, uint32_t& state, uint16_t*& next) {
  next[-1] = static_cast<uint16_t>(state);
  next -= is_full;
  state >>= 16 * is_full;
}

inline void emit(uint32_t& state, Writer& writer) {
  *--writer.next = static_cast<uint16_t>(state);
  state >>= 16;
}

// The upper 64 bits of a product whose value is below 2^96.
inline uint32_t high_half(uint64_t a, uint32_t b) {
  const uint64_t low = (a & UINT32_MAX) * b;
  return static_cast<uint32_t>(((a >> 32) * b + (low >> 32)) >> 32);
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

// One lane is one long chain of dependent steps, and a long tail is mostly one symbol over and over. So the loops below
// remember the last symbol's numbers: guessing them again, by a branch that is predicted well, spares the way through
// the tables (decoding) or the division (encoding) inside that chain.
template <class Index>
Status decode_lane(const TableView& tables, uint32_t& lane, Reader& reader, const Index* indexes, int32_t* symbols,
                   size_t num_symbols) {
  const int precision = tables.precision;
  const uint32_t mask = (1u << precision) - 1;
  uint32_t state = lane, last_index = UINT32_MAX, start = 0, frequency = 0;
  int32_t last_symbol = 0;
  for (size_t i = 0; i < num_symbols; ++i) {
    const uint32_t slot = state & mask;
    bool escape = false;
    if (indexes[i] != last_index || slot - start >= frequency) {
      const TableParams& table = tables.params[indexes[i]];
      const Found found = find(tables.lut[lut_index(slot, table)], slot);
      last_index = indexes[i], start = slot - found.rest, frequency = found.frequency, escape = found.escape;
      last_symbol = static_cast<int32_t>(static_cast<uint32_t>(table.value_base) + found.index);
    }
    state = frequency * (state >> precision) + slot - start;
    if (!renormalise(state, reader)) return Status::truncated;
    symbols[i] = last_symbol;
    if (__builtin_expect(escape, 0)) {
      const Status status = decode_escape(state, reader, tables.params[indexes[i]], symbols[i]);
      if (status != Status::ok) return status;
      last_index = UINT32_MAX;
    }
  }
  lane = state;
  return Status::ok;
}

template <class Symbol, class Index>
size_t encode_lane(const TableView& tables, uint32_t& lane, Writer& writer, const Symbol* symbols,
                   const Index* indexes, size_t from, size_t to) {
  const int precision = tables.precision;
  uint32_t state = lane, frequency = 0;
  uint64_t reciprocal = 0;  // 2^64 / frequency, rounded up: exact for states of 32 bits
  for (; to > from && writer.room() >= kMaxWordsPerSymbol; --to) {
    const TableParams& table = tables.params[indexes[to - 1]];
    const Symbol symbol = symbols[to - 1];
    uint32_t slot = static_cast<uint32_t>(static_cast<int32_t>(symbol)) - static_cast<uint32_t>(table.offset);
    if (__builtin_expect(slot >= table.num_entries - 1, 0)) {
      slot = table.num_entries - 1;
      encode_escape(state, writer, table, symbol);
    }
    const uint32_t entry = tables.entries[table.first_entry + slot];
    if (entry_frequency(entry) != frequency) {
      frequency = entry_frequency(entry);
      reciprocal = UINT64_MAX / frequency + 1;
    }
    if (state >= frequency << (32 - precision)) emit(state, writer);
    const uint32_t quotient = frequency == 1 ? state : high_half(reciprocal, state);
    state += quotient * ((1u << precision) - frequency) + entry_start(entry);
  }
  lane = state;
  return to;
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
  if (num_lanes == 1) return decode_lane(tables, states[0], reader, indexes, symbols, num_symbols);
  const int precision = tables.precision;
  const uint32_t mask = (1u << precision) - 1, lane_mask = num_lanes - 1;
  const uint8_t* next = reader.next;  // in a register; reader.next is it whenever this loop leaves or decodes an escape
  for (size_t i = 0; i < num_symbols; ++i, lane = (lane + 1) & lane_mask) {
    const TableParams& table = tables.params[indexes[i]];
    uint32_t state = states[lane];
    const uint32_t slot = state & mask;
    const Found found = find(tables.lut[lut_index(slot, table)], slot);
    state = found.frequency * (state >> precision) + found.rest;
    if (__builtin_expect(reader.end - next >= 2, 1)) {
      renormalise_from_word(state, next);
    } else if (state < kStateLow) {
      return Status::truncated;
    }
    symbols[i] = static_cast<int32_t>(static_cast<uint32_t>(table.value_base) + found.index);
    if (__builtin_expect(found.escape, 0)) {
      reader.next = next;
      const Status status = decode_escape(state, reader, table, symbols[i]);
      if (status != Status::ok) return status;
      next = reader.next;
    }
    states[lane] = state;
  }
  reader.next = next;
  return Status::ok;
}

template <class Symbol, class Index>
size_t encode_scalar(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                     const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  if (num_lanes == 1) return encode_lane(tables, states[0], writer, symbols, indexes, from, to);
  const int precision = tables.precision;
  uint16_t* next = writer.next;
  for (; to > from && next - writer.begin >= kMaxWordsPerSymbol; --to) {
    const size_t i = to - 1;
    const TableParams& table = tables.params[indexes[i]];
    uint32_t state = states[i & (num_lanes - 1)];
    uint32_t slot = static_cast<uint32_t>(static_cast<int32_t>(symbols[i])) - static_cast<uint32_t>(table.offset);
    if (__builtin_expect(slot >= table.num_entries - 1, 0)) {
      slot = table.num_entries - 1;
      writer.next = next;
      encode_escape(state, writer, table, symbols[i]);
      next = writer.next;
    }
    const uint32_t entry = tables.entries[table.first_entry + slot];
    const uint32_t frequency = entry_frequency(entry);
    emit_if(state >= frequency << (32 - precision), state, next);
    states[i & (num_lanes - 1)] = (state / frequency << precision) + state % frequency + entry_start(entry);
  }
  writer.next = next;
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
