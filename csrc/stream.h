// A whole stream: header, states, words, tail. Knows lanes and their number, not how a symbol is coded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cdf.h"
#include "latents.h"
#include "rans.h"

namespace basic {

// Damage in the input of a decoder.
struct BitstreamError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Words, growing towards the front.
class Words {
 public:
  Words() = default;
  explicit Words(size_t num_words);  // as many fit before it grows
  Words(Words&& other) noexcept { swap(other); }
  Words& operator=(Words&& other) noexcept { return swap(other), *this; }
  ~Words();

  Writer& writer() { return writer_; }
  const uint16_t* data() const { return writer_.next; }
  size_t size() const { return static_cast<size_t>(memory_.get() + capacity_ - writer_.next); }
  void grow();
  uint16_t pop() { return *writer_.next++; }

 private:
  void swap(Words& other) noexcept;

  std::unique_ptr<uint16_t[]> memory_;  // not zeroed: pages that are never written cost nothing
  size_t capacity_ = 0;
  Writer writer_ = {nullptr, nullptr};
};

// A finished stream: a few bytes of header and the words.
struct EncodedStream {
  std::vector<uint8_t> header;
  Words words;

  size_t num_bytes() const { return header.size() + 2 * words.size(); }
  void copy_to(uint8_t* bytes) const;
};

// Indexes must be below tables.view().num_tables: the caller checks. num_lanes: a power of two up to 32, or 0 for what
// suits the size; fewer where there are too few words for their start values. Fewer, too, where header, states and
// termination would take more than max_overhead bytes; 0 or at least kMinOverhead.
constexpr size_t kMinOverhead = 5;  // of one lane
template <class Symbol, class Index>
EncodedStream encode_stream(const Tables& tables, const Symbol* symbols, const Index* indexes, size_t num_symbols,
                            uint32_t num_lanes, size_t max_overhead = 0);

// Reads one stream in any number of calls. The bytes and the tables must outlive it. After an error it stays failed.
class StreamDecoder {
 public:
  StreamDecoder(const Tables& tables, const uint8_t* bytes, size_t num_bytes);

  template <class Index>
  void decode(const Index* indexes, int32_t* symbols, size_t num_symbols);
  // Symbols + means / 8, to y_hat one after the other (unless it is null) and to y as `places` says; symbols beyond
  // kMaxSymbol are damage. As many as there are places; those with indexes below num_silent are 0 and not in the stream.
  template <class Index>
  void decode_latents(const Index* indexes, uint32_t num_silent, const int16_t* means, float* y_hat, float* y,
                      const Places& places);
  void finish();  // throws unless the stream ends exactly here
  uint64_t position() const { return position_; }

 private:
  void enter_tail();
  void check(Status status);

  TableView tables_;
  Reader words_;
  uint32_t states_[kMaxLanes];
  uint32_t num_lanes_ = 1;
  uint64_t position_ = 0, tail_position_ = 0;
  bool in_tail_ = false, failed_ = false;
  std::vector<uint8_t> tail_words_;
};

}  // namespace basic
