// Interleaved rANS with one table index per symbol. docs/coder.md specifies the bytes; this is what it takes.
//
// Read first, or lose an hour:
// 1. Encoding runs backwards: the last symbol is encoded first, and words are written from the end of a buffer to its
//    front, so that the decoder reads everything forwards.
// 2. Symbol i belongs to lane i mod num_lanes whatever chunks the caller cuts, and each symbol reads at most one word
//    right after it: so the word order does not depend on how many lanes a processor takes at once.
// 3. The last symbols (the tail) are all in lane 0. Their words are carried by the start values of the other lanes.
// 4. Files compiled for one processor include this: nothing here may have external linkage (the linker would keep one
//    copy of an inline function, perhaps the one with AVX-512), nor use the standard library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace basic {

constexpr uint32_t kStateLow = 1u << 16;  // states are in [2^16, 2^32) between symbols
// Below 11 a quotient state / frequency passes 2^21, where vector code in float32 can miss it by more than one; above
// 15 the entries below do not fit 32 bits and the states are too coarse.
constexpr int kMinPrecision = 11, kMaxPrecision = 15;
constexpr int kMaxLanes = 32;
constexpr uint32_t kTailUnit = 256;  // the tail begins at a multiple of this many symbols
constexpr int kMaxWordsPerSymbol = 4;  // escape symbol, its 4-bit head, two 16-bit fields

// Tables as the coding loops see them: plain pointers, so that no loop can instantiate anything of the library.
struct TableParams {
  uint32_t lut_base_shift;  // index of the table's first look-up entry << 4 | bucket shift
  uint32_t folds;           // low fold | high fold << 16, see lut_index
  uint32_t first_entry;     // index of the entry of symbol `offset`
  uint32_t num_entries;     // with the escape entry, which is last
  int32_t offset;
  int32_t value_base;       // offset - first_entry (mod 2^32): symbol = value_base + entry index
};

// What vector code needs of a table, in 16 bytes: one load a symbol.
struct alignas(16) TableRow {
  uint32_t lut_base_shift, folds, value_base;
  uint32_t symbol_entries;  // first entry | number of entries without the escape << 16
};

// The same, one array a field; readable for at least kMinColumn tables.
constexpr uint32_t kMinColumn = 64;

struct TableColumns {
  const uint32_t* lut_base_shift;
  const uint32_t* folds;
  const uint32_t* value_base;
  const uint32_t* symbol_entries;
};

// Entry: start | frequency << 15 | escape << 31. Both fit 15 bits: an escape takes at least one slot of each table.
struct TableView {
  const uint32_t* entries;
  const uint64_t* lut;  // see Found
  const TableParams* params;
  const TableRow* rows;
  TableColumns columns;
  uint32_t num_tables;
  int precision;
};

constexpr uint32_t kEscapeBit = 1u << 31;
static inline uint32_t entry_start(uint32_t entry) { return entry & 0x7fff; }
static inline uint32_t entry_frequency(uint32_t entry) { return (entry >> 15) & 0x7fff; }

// Near both ends of the slots, where rare symbols live, every slot has its own look-up entry; between them buckets of
// 2^shift slots share one. Three lines of slope 1, 2^-shift and 1, joined by min and max.
static inline uint32_t lut_index(uint32_t slot, const TableParams& table) {
  const uint32_t low_fold = table.folds & 0xffff, high_fold = table.folds >> 16;
  const uint32_t coarse = (slot >> (table.lut_base_shift & 15)) + low_fold;
  const uint32_t folded = slot < coarse ? slot : coarse;
  const uint32_t fine = slot - high_fold;  // may wrap below zero: compare as signed
  const uint32_t index = static_cast<int32_t>(fine) > static_cast<int32_t>(folded) ? fine : folded;
  return (table.lut_base_shift >> 4) + index;
}

// A look-up holds all that a slot can decode to: entry k up to its end, entry k + 1 from there on. From the low bits: start
// of k (15), frequency of k (15), whether k and k + 1 are escapes (1 and 1), k (16), frequency of k + 1 (15).
constexpr int kFoundEscape = 30, kFoundIndex = 32, kFoundNext = 48;

struct Found {
  uint32_t index, frequency, rest;  // entry; its frequency; slot - its start
  bool escape;
};

static inline Found find(uint64_t packed, uint32_t slot) {
  const uint32_t low = static_cast<uint32_t>(packed), frequency = entry_frequency(low);
  const uint32_t rest = slot - entry_start(low);
  const uint32_t is_next = rest >= frequency;
  const uint32_t next_frequency = static_cast<uint32_t>(packed >> kFoundNext);
  return {(static_cast<uint32_t>(packed >> kFoundIndex) & 0xffff) + is_next,
          is_next ? next_frequency : frequency, rest - (is_next ? frequency : 0), (low >> (kFoundEscape + is_next) & 1) != 0};
}

// Escape: how far outside the table, and on which side. Head of 4 bits: side | m << 1; m < 6 is the distance itself,
// m = 6 adds 8 bits, m = 7 is followed by all 32 bits.
constexpr uint32_t kNear = 6, kFar = kNear + 256;

struct Escape {
  uint32_t distance, side;  // side 1: below the table
};

static inline Escape escape_of(const TableParams& table, int32_t symbol) {
  const int64_t past = static_cast<int64_t>(symbol) - table.offset - (table.num_entries - 1);
  if (past >= 0) return {static_cast<uint32_t>(past), 0};
  return {static_cast<uint32_t>(static_cast<int64_t>(table.offset) - 1 - symbol), 1};
}

static inline int escape_bits(const TableParams& table, int32_t symbol) {
  const uint32_t distance = escape_of(table, symbol).distance;
  return distance < kNear ? 4 : distance < kFar ? 12 : 36;
}

// Words still to be read, two bytes each, little-endian.
struct Reader {
  const uint8_t* next;
  const uint8_t* end;
  size_t num_left() const { return static_cast<size_t>(end - next) / 2; }
};

// Room for words, filled from `next` down to `begin`.
struct Writer {
  uint16_t* next;  // the word written last
  uint16_t* begin;
  size_t room() const { return static_cast<size_t>(next - begin); }
};

enum class Status { ok, truncated, symbol_range };

// Decode num_symbols (the first in lane `lane`); lanes must be a power of two.
template <class Index>
Status decode_scalar(const TableView& tables, uint32_t* states, uint32_t lane, uint32_t num_lanes, Reader& reader,
                     const Index* indexes, int32_t* symbols, size_t num_symbols);

// Encode symbols [from, to) backwards, as far as the room lasts; returns the first symbol encoded (`from` when all are).
template <class Symbol, class Index>
size_t encode_scalar(const TableView& tables, uint32_t* states, uint32_t num_lanes, Writer& writer,
                     const Symbol* symbols, const Index* indexes, size_t from, size_t to);

// A number below 2^num_bits (0..16) in one lane, each value equally likely: for escapes and for the states themselves.
bool get_bits(uint32_t& state, int num_bits, Reader& reader, uint32_t& value);
void put_bits(uint32_t& state, int num_bits, uint32_t value, Writer& writer);

}  // namespace basic
