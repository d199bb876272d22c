// Quantised CDFs: checked once, then laid out for the coding loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rans.h"

namespace basic {

class Tables {
 public:
  // Table t has lengths[t] frequencies, one after the other, the last one for the escape; its first symbol is
  // offsets[t]. Throws std::invalid_argument that names the table and the fault.
  Tables(const uint16_t* frequencies, size_t num_frequencies, const int32_t* lengths, const int32_t* offsets,
         size_t num_tables, int precision);

  TableView view() const;
  size_t num_bytes() const;

 private:
  void add_table(const uint16_t* frequencies, size_t length, int32_t offset);
  void add_lut(TableParams& table, const std::vector<uint32_t>& starts);
  void fill_columns();

  int precision_;
  std::vector<uint32_t> entries_;
  std::vector<uint64_t> lut_;
  std::vector<TableParams> params_;
  std::vector<TableRow> rows_;
  std::vector<uint32_t> columns_;  // four columns of column_size_
  size_t column_size_ = 0;
};

// What the symbols cost under the tables, in bits; a stream adds its header and states.
template <class Symbol, class Index>
double count_bits(const Tables& tables, const Symbol* symbols, const Index* indexes, size_t num_symbols);

}  // namespace basic
