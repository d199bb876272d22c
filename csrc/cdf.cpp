// Building the look-up of a table: any valid frequencies work, peaked ones (one mode, rare symbols at the ends) stay small.
#include "cdf.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace basic {
namespace {

constexpr size_t kMaxEntries = 1u << 16;     // an entry index is 16 bits of a look-up
constexpr size_t kMaxLutEntries = 1u << 23;  // 64 MiB: what hostile tables may cost

// Slots [begin, end) that buckets of 2^shift slots may cover because none of them holds two inner boundaries: the
// longest such run.
struct Run {
  uint32_t begin = 0, end = 0;
};

Run longest_run(const std::vector<uint32_t>& starts, uint32_t num_slots, int shift) {
  const uint32_t num_buckets = num_slots >> shift, inner = (1u << shift) - 1;
  Run best;
  size_t next = 1;  // starts[0] is 0; the last element is num_slots
  for (uint32_t bucket = 0, begin = 0; bucket < num_buckets; ++bucket) {
    int num_boundaries = 0;
    for (; next < starts.size() && starts[next] < (bucket + 1) << shift; ++next) num_boundaries += (starts[next] & inner) != 0;
    if (num_boundaries > 1) {
      begin = bucket + 1;
    } else if (((bucket + 1 - begin) << shift) > best.end - best.begin) {
      best = {begin << shift, (bucket + 1) << shift};
    }
  }
  return best;
}

std::string where(size_t table) { return "table " + std::to_string(table) + ": "; }

}  // namespace

Tables::Tables(const uint16_t* frequencies, size_t num_frequencies, const int32_t* lengths, const int32_t* offsets,
               size_t num_tables, int precision)
    : precision_(precision) {
  if (precision < kMinPrecision || precision > kMaxPrecision)
    throw std::invalid_argument("precision must be 11..15, got " + std::to_string(precision));
  if (num_tables == 0 || num_tables > kMaxEntries / 2)
    throw std::invalid_argument("expected 1..32768 tables, got " + std::to_string(num_tables));
  if (num_frequencies > kMaxEntries)
    throw std::invalid_argument("expected at most 65536 frequencies in all, got " + std::to_string(num_frequencies));
  size_t first = 0;
  for (size_t t = 0; t < num_tables; ++t) {
    if (lengths[t] < 2 || static_cast<size_t>(lengths[t]) > num_frequencies - first)
      throw std::invalid_argument(where(t) + "length must be 2.." + std::to_string(num_frequencies - first) +
                                  " (a symbol, the escape, and within the frequencies), got " +
                                  std::to_string(lengths[t]));
    const size_t length = static_cast<size_t>(lengths[t]);
    uint64_t total = 0;
    for (size_t k = first; k < first + length; ++k) {
      if (frequencies[k] == 0) throw std::invalid_argument(where(t) + "frequency " + std::to_string(k - first) + " is 0");
      total += frequencies[k];
    }
    if (total != 1u << precision)
      throw std::invalid_argument(where(t) + "frequencies must sum to " + std::to_string(1u << precision) + ", got " +
                                  std::to_string(total));
    if (static_cast<int64_t>(offsets[t]) + lengths[t] - 2 > INT32_MAX)
      throw std::invalid_argument(where(t) + "offset " + std::to_string(offsets[t]) + " puts symbols beyond int32");
    add_table(frequencies + first, length, offsets[t]);
    first += length;
  }
  if (first != num_frequencies)
    throw std::invalid_argument("lengths sum to " + std::to_string(first) + " but there are " +
                                std::to_string(num_frequencies) + " frequencies");
  fill_columns();
}

void Tables::add_table(const uint16_t* frequencies, size_t length, int32_t offset) {
  TableParams table{};
  table.first_entry = static_cast<uint32_t>(entries_.size());
  table.num_entries = static_cast<uint32_t>(length);
  table.offset = offset;
  table.value_base = static_cast<int32_t>(static_cast<uint32_t>(offset) - table.first_entry);
  std::vector<uint32_t> starts(1, 0);
  for (size_t k = 0; k < length; ++k) {
    const uint32_t escape = k + 1 == length ? kEscapeBit : 0;
    entries_.push_back(starts.back() | static_cast<uint32_t>(frequencies[k]) << 15 | escape);
    starts.push_back(starts.back() + frequencies[k]);
  }
  add_lut(table, starts);
  params_.push_back(table);
}

void Tables::add_lut(TableParams& table, const std::vector<uint32_t>& starts) {
  const uint32_t num_slots = 1u << precision_;
  int shift = 0;
  Run run;
  for (int s = 1; s <= precision_; ++s) {  // the shift that leaves the fewest look-up entries
    const Run candidate = longest_run(starts, num_slots, s);
    const uint32_t saved = (candidate.end - candidate.begin) - ((candidate.end - candidate.begin) >> s);
    if (saved > (run.end - run.begin) - ((run.end - run.begin) >> shift)) run = candidate, shift = s;
  }
  const uint32_t low_fold = run.begin - (run.begin >> shift);
  const uint32_t high_fold = (run.end - run.begin) - ((run.end - run.begin) >> shift);
  const size_t base = lut_.size(), size = num_slots - high_fold;
  if (base + size > kMaxLutEntries) throw std::invalid_argument("tables too large: their look-up would pass 64 MiB");
  table.lut_base_shift = static_cast<uint32_t>(base) << 4 | static_cast<uint32_t>(shift);
  table.folds = low_fold | high_fold << 16;
  lut_.resize(base + size);
  size_t k = 0;
  for (uint32_t slot = 0; slot < num_slots;) {
    while (starts[k + 1] <= slot) ++k;
    const uint32_t* entry = &entries_[table.first_entry + k];
    const bool is_last = k + 1 == table.num_entries, next_is_last = k + 2 == table.num_entries;
    uint64_t packed = (*entry & ~kEscapeBit) | static_cast<uint64_t>(table.first_entry + k) << kFoundIndex;
    if (is_last) packed |= uint64_t{1} << kFoundEscape;
    if (next_is_last) packed |= uint64_t{1} << (kFoundEscape + 1);
    if (!is_last) packed |= static_cast<uint64_t>(entry_frequency(entry[1])) << kFoundNext;
    lut_[lut_index(slot, table)] = packed;
    slot += slot >= run.begin && slot < run.end ? 1u << shift : 1;
  }
}

void Tables::fill_columns() {
  column_size_ = std::max<size_t>(params_.size(), kMinColumn);
  columns_.resize(4 * column_size_);
  for (size_t t = 0; t < params_.size(); ++t) {
    const TableParams& table = params_[t];
    const TableRow row = {table.lut_base_shift, table.folds, static_cast<uint32_t>(table.value_base),
                          table.first_entry | (table.num_entries - 1) << 16};
    rows_.push_back(row);
    columns_[t] = row.lut_base_shift;
    columns_[column_size_ + t] = row.folds;
    columns_[2 * column_size_ + t] = row.value_base;
    columns_[3 * column_size_ + t] = row.symbol_entries;
  }
}

TableView Tables::view() const {
  const uint32_t* column = columns_.data();
  const TableColumns columns = {column, column + column_size_, column + 2 * column_size_, column + 3 * column_size_};
  return {entries_.data(), lut_.data(), params_.data(), rows_.data(), columns, static_cast<uint32_t>(params_.size()), precision_};
}

size_t Tables::num_bytes() const {
  return 4 * (entries_.size() + columns_.size()) + 8 * lut_.size() +
         (sizeof(TableParams) + sizeof(TableRow)) * params_.size();
}

template <class Symbol, class Index>
double count_bits(const Tables& tables, const Symbol* symbols, const Index* indexes, size_t num_symbols) {
  const TableView view = tables.view();
  double total = static_cast<double>(num_symbols) * view.precision;
  for (size_t i = 0; i < num_symbols; ++i) {
    const TableParams& table = view.params[indexes[i]];
    const uint32_t slot = static_cast<uint32_t>(static_cast<int32_t>(symbols[i])) - static_cast<uint32_t>(table.offset);
    if (slot >= table.num_entries - 1) total += escape_bits(table, symbols[i]);
    const uint32_t entry = table.first_entry + std::min(slot, table.num_entries - 1);
    total -= std::log2(static_cast<double>(entry_frequency(view.entries[entry])));
  }
  return total;
}

template double count_bits(const Tables&, const int16_t*, const uint8_t*, size_t);
template double count_bits(const Tables&, const int16_t*, const uint16_t*, size_t);
template double count_bits(const Tables&, const int32_t*, const uint8_t*, size_t);
template double count_bits(const Tables&, const int32_t*, const uint16_t*, size_t);

}  // namespace basic
