#include "stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "dispatch.h"

namespace basic {
namespace {

// A lane costs three to five bits. Few lanes for few bytes: states and termination take less than 0.3 % from 1334 bytes on.
constexpr struct { size_t num_bytes; uint32_t num_lanes; } kLanesFor[] = {
    {1 << 18, 32}, {4608, 16}, {3072, 8}, {2048, 4}, {1536, 2}, {0, 1}};
constexpr size_t kOverheadOf32 = 20;  // bytes; not worth a try where fewer are allowed

uint32_t lanes_for(size_t num_bytes) {
  for (const auto& row : kLanesFor)
    if (num_bytes >= row.num_bytes) return row.num_lanes;
  return 1;
}

// About the size of the stream, from a sample of the symbols: every k-th of at most 512.
template <class Symbol, class Index>
size_t guess_bytes(const TableView& tables, const Symbol* symbols, const Index* indexes, size_t num_symbols) {
  const size_t step = num_symbols / 512 + 1;
  double num_bits = 0, product = 1;
  size_t num_samples = 0;
  for (size_t i = step / 2; i < num_symbols; i += step) {
    const TableParams& table = tables.params[indexes[i]];
    const uint32_t slot = static_cast<uint32_t>(static_cast<int32_t>(symbols[i])) - static_cast<uint32_t>(table.offset);
    if (slot >= table.num_entries - 1) num_bits += escape_bits(table, symbols[i]);
    product *= entry_frequency(tables.entries[table.first_entry + std::min(slot, table.num_entries - 1)]);
    if (++num_samples % 32 == 0) num_bits -= std::log2(product), product = 1;  // 2^(15 * 32) is far from infinity
  }
  if (num_samples == 0) return 0;
  num_bits += static_cast<double>(num_samples) * tables.precision - std::log2(product);
  return static_cast<size_t>(num_bits / 8 * (static_cast<double>(num_symbols) / static_cast<double>(num_samples)));
}

int log2_floor(uint32_t value) {
  int log = 0;
  while (value >>= 1) ++log;
  return log;
}

// log2 in 256ths, rounded down: by squaring, so that every machine finds the same. value > 0.
int64_t log2_256ths(uint32_t value) {
  const int whole = log2_floor(value);
  uint64_t mantissa = static_cast<uint64_t>(value) << (31 - whole);  // 2^31 to 2^32
  int64_t log = whole;
  for (int bit = 0; bit < 8; ++bit) {
    mantissa = mantissa * mantissa >> 31;
    log = 2 * log + static_cast<int64_t>(mantissa >> 32);
    mantissa >>= mantissa >> 32;
  }
  return log;
}

// What a stream takes beyond its symbols, in 256ths of a bit: at most, and less than a bit too much.
int64_t overhead_256ths(size_t num_header_bytes, const uint32_t* first_states, const uint32_t* states, uint32_t num_lanes,
                        uint32_t lane_0) {
  int64_t overhead = 256 * 8 * static_cast<int64_t>(num_header_bytes) - (log2_256ths(lane_0) - 256 * 16);
  for (uint32_t lane = 1; lane < num_lanes; ++lane) {
    overhead += log2_256ths(first_states[lane]) + 1 - 256 * 16;  // 16 bits put into a state of more
    overhead += 256 * (4 + log2_floor(states[lane])) - log2_256ths(states[lane]);
  }
  return overhead;
}

// Memory of a thread's last stream. Fresh pages cost a short stream more than its symbols do, and two threads that ask
// the system for some at once wait for each other.
constexpr size_t kMaxSpareWords = 1u << 20;
struct Spare {
  std::unique_ptr<uint16_t[]> memory;
  size_t capacity = 0;
};
thread_local Spare spare;

template <class Symbol, class Index>
void encode_range(const TableView& tables, uint32_t* states, uint32_t num_lanes, Words& words,
                  const Symbol* symbols, const Index* indexes, size_t from, size_t to) {
  while ((to = encode_symbols(tables, states, num_lanes, words.writer(), symbols, indexes, from, to)) > from)
    words.grow();
}

// Encode the last symbols in lane 0 until their words fill the start values of the other lanes; returns the first
// symbol of the tail, or SIZE_MAX where there are not enough words in all.
template <class Symbol, class Index>
size_t encode_tail(const TableView& tables, uint32_t* states, uint32_t num_lanes, Words& words,
                   const Symbol* symbols, const Index* indexes, size_t num_symbols) {
  size_t position = num_symbols;
  while (words.size() < num_lanes - 1) {
    if (position == 0) return SIZE_MAX;
    const size_t from = (position - 1) / kTailUnit * kTailUnit;
    encode_range(tables, states, 1, words, symbols, indexes, from, position);
    position = from;
  }
  for (uint32_t lane = 1; lane < num_lanes; ++lane) states[lane] = kStateLow | words.pop();
  return position;
}

void put_state(uint32_t state, uint32_t& lane_0, Writer& writer) {
  const uint32_t high = state >> 16;
  const int exponent = log2_floor(high);
  put_bits(lane_0, 16, state & 0xffff, writer);
  put_bits(lane_0, exponent, high - (1u << exponent), writer);
  put_bits(lane_0, 4, static_cast<uint32_t>(exponent), writer);
}

bool get_state(uint32_t& state, uint32_t& lane_0, Reader& reader) {
  uint32_t exponent = 0, high = 0, low = 0;
  if (!get_bits(lane_0, 4, reader, exponent) || !get_bits(lane_0, static_cast<int>(exponent), reader, high) ||
      !get_bits(lane_0, 16, reader, low))
    return false;
  state = (1u << exponent | high) << 16 | low;
  return true;
}

// Header: 8 * the first symbol of the tail in units of 256 + log2 of the number of lanes, seven bits a byte, low bits
// first, the top bit set on all but the last byte; then the state of lane 0 in four bytes.
std::vector<uint8_t> make_header(uint32_t num_lanes, size_t tail_position, uint32_t lane_0) {
  std::vector<uint8_t> header;
  uint64_t value = static_cast<uint64_t>(tail_position) / kTailUnit << 3 | static_cast<uint64_t>(log2_floor(num_lanes));
  for (; value > 127; value >>= 7) header.push_back(static_cast<uint8_t>(value | 128));
  header.push_back(static_cast<uint8_t>(value));
  for (int shift = 0; shift < 32; shift += 8) header.push_back(static_cast<uint8_t>(lane_0 >> shift));
  return header;
}

// Encode with this many lanes; false where there are too few words for their start values, or where header, states and
// termination take more than max_overhead bytes (unless it is 0).
template <class Symbol, class Index>
bool encode_lanes(const Tables& tables, uint32_t num_lanes, size_t max_overhead, const Symbol* symbols,
                  const Index* indexes, size_t num_symbols, EncodedStream& stream) {
  const TableView view = tables.view();
  uint32_t states[kMaxLanes], first_states[kMaxLanes];
  std::fill(states, states + kMaxLanes, kStateLow);
  Words words(num_symbols / 4 + 64 * kMaxWordsPerSymbol);
  size_t tail = 0;
  if (num_lanes > 1) {
    tail = encode_tail(view, states, num_lanes, words, symbols, indexes, num_symbols);
    if (tail == SIZE_MAX) return false;
  }
  std::copy(states, states + kMaxLanes, first_states);
  encode_range(view, states, num_lanes, words, symbols, indexes, 0, num_lanes > 1 ? tail : num_symbols);
  if (words.writer().room() < 3 * kMaxLanes) words.grow();
  uint32_t lane_0 = states[0];
  for (uint32_t lane = num_lanes - 1; lane > 0; --lane) put_state(states[lane], lane_0, words.writer());
  stream.header = make_header(num_lanes, tail, lane_0);
  if (max_overhead && overhead_256ths(stream.header.size(), first_states, states, num_lanes, lane_0) >
                          static_cast<int64_t>(256 * 8 * max_overhead))
    return false;
  stream.words = std::move(words);
  return true;
}

}  // namespace

Words::Words(size_t num_words) {
  if (spare.capacity >= num_words) {
    memory_ = std::move(spare.memory), capacity_ = std::exchange(spare.capacity, 0);
  } else {
    memory_.reset(new uint16_t[num_words]), capacity_ = num_words;
  }
  writer_ = {memory_.get() + capacity_, memory_.get()};
}

Words::~Words() {
  if (capacity_ > spare.capacity && capacity_ <= kMaxSpareWords) spare = {std::move(memory_), capacity_};
}

void Words::grow() {
  const size_t used = size(), capacity = 2 * capacity_;
  std::unique_ptr<uint16_t[]> larger(new uint16_t[capacity]);
  std::copy(writer_.next, writer_.next + used, larger.get() + capacity - used);
  memory_.swap(larger), capacity_ = capacity;
  writer_ = {memory_.get() + capacity - used, memory_.get()};
}

void Words::swap(Words& other) noexcept {
  memory_.swap(other.memory_), std::swap(capacity_, other.capacity_), std::swap(writer_, other.writer_);
}

void EncodedStream::copy_to(uint8_t* bytes) const {
  std::copy(header.begin(), header.end(), bytes);
  bytes += header.size();
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (words.size() > 0) std::memcpy(bytes, words.data(), 2 * words.size());
#else
  for (size_t k = 0; k < words.size(); ++k) {
    bytes[2 * k] = static_cast<uint8_t>(words.data()[k]);
    bytes[2 * k + 1] = static_cast<uint8_t>(words.data()[k] >> 8);
  }
#endif
}

// The size decides the number of lanes and is known afterwards: guess, and encode again where that was wrong.
template <class Symbol, class Index>
EncodedStream encode_stream(const Tables& tables, const Symbol* symbols, const Index* indexes, size_t num_symbols,
                            uint32_t num_lanes, size_t max_overhead) {
  EncodedStream stream;
  const auto encode_at_most = [&](uint32_t lanes) {
    while (!encode_lanes(tables, lanes, max_overhead, symbols, indexes, num_symbols, stream)) lanes /= 2;
    return lanes;
  };
  if (num_lanes) {
    encode_at_most(num_lanes);
    return stream;
  }
  const uint32_t most = max_overhead && max_overhead < kOverheadOf32 ? 16 : kMaxLanes;
  const uint32_t guess = std::min(most, lanes_for(guess_bytes(tables.view(), symbols, indexes, num_symbols)));
  const uint32_t found = encode_at_most(guess);
  const uint32_t wanted = std::min(most, lanes_for(stream.num_bytes()));
  if (wanted < found || wanted > guess) encode_at_most(wanted);
  return stream;
}

StreamDecoder::StreamDecoder(const Tables& tables, const uint8_t* bytes, size_t num_bytes)
    : tables_(tables.view()), words_{bytes, bytes + num_bytes} {
  const auto next = [this]() -> uint32_t {
    if (words_.next == words_.end) throw BitstreamError("coder: the stream ends inside its header");
    return *words_.next++;
  };
  uint64_t value = 0;
  uint32_t byte = 128;
  for (int shift = 0; byte & 128; shift += 7) {
    if (shift > 35) throw BitstreamError("coder: the first field takes more than 6 bytes");
    byte = next();
    value |= static_cast<uint64_t>(byte & 127) << shift;
    if (shift > 0 && byte == 0) throw BitstreamError("coder: the first field ends in a zero byte");
  }
  if ((value & 7) > 5)
    throw BitstreamError("coder: log2 of the number of lanes must be 0..5, got " + std::to_string(value & 7));
  num_lanes_ = 1u << (value & 7);
  tail_position_ = (value >> 3) * kTailUnit;
  in_tail_ = num_lanes_ == 1;
  if (in_tail_ && tail_position_) throw BitstreamError("coder: a tail, but only one lane");
  std::fill(states_, states_ + kMaxLanes, kStateLow);
  states_[0] = next();
  for (int shift = 8; shift < 32; shift += 8) states_[0] |= next() << shift;
  if (states_[0] < kStateLow) throw BitstreamError("coder: the state of lane 0 is below 65536");
  if ((words_.end - words_.next) % 2) throw BitstreamError("coder: the words end in half a word");
  for (uint32_t lane = 1; lane < num_lanes_; ++lane)
    if (!get_state(states_[lane], states_[0], words_)) check(Status::truncated);
}

void StreamDecoder::check(Status status) {
  if (status == Status::ok) return;
  failed_ = true;
  const std::string at = "coder: near symbol " + std::to_string(position_) + ": ";
  if (status == Status::truncated) throw BitstreamError(at + "the stream ends too early");
  throw BitstreamError(at + "an escape that no encoder writes");
}

// Lanes 1.. end here: their states are the next words. Those left in the stream follow.
void StreamDecoder::enter_tail() {
  for (uint32_t lane = 1; lane < num_lanes_; ++lane) {
    if (states_[lane] >> 16 != 1) {
      failed_ = true;
      throw BitstreamError("coder: lane " + std::to_string(lane) + " ends in a wrong state");
    }
    tail_words_.push_back(static_cast<uint8_t>(states_[lane]));
    tail_words_.push_back(static_cast<uint8_t>(states_[lane] >> 8));
  }
  tail_words_.insert(tail_words_.end(), words_.next, words_.end);
  words_ = {tail_words_.data(), tail_words_.data() + tail_words_.size()};
  in_tail_ = true;
}

template <class Index>
void StreamDecoder::decode(const Index* indexes, int32_t* symbols, size_t num_symbols) {
  if (failed_) throw BitstreamError("coder: an earlier call on this stream failed");
  while (num_symbols > 0) {
    if (!in_tail_ && position_ == tail_position_) enter_tail();
    size_t num_now = num_symbols;
    if (!in_tail_) num_now = static_cast<size_t>(std::min<uint64_t>(num_symbols, tail_position_ - position_));
    const uint32_t num_lanes = in_tail_ ? 1 : num_lanes_;
    check(decode_symbols(tables_, states_, static_cast<uint32_t>(position_ % num_lanes), num_lanes, words_, indexes,
                         symbols, num_now));
    position_ += num_now;
    indexes += num_now, symbols += num_now, num_symbols -= num_now;
  }
}

template <class Index>
void StreamDecoder::decode_latents(const Index* indexes, uint32_t num_silent, const int16_t* means, float* y_hat,
                                   float* y, const Places& places) {
  constexpr size_t kAtOnce = 4096, kPiece = 512;  // symbols that stay in the cache, and places looked at at once
  int32_t symbols[kAtOnce + kSpare];
  Index coded[kAtOnce];
  const size_t size = places.size();
  for (size_t from = 0, to = 0; from < size; from = to) {
    size_t num_coded = 0;
    for (; to < size && num_coded + kPiece <= kAtOnce;) {
      const size_t count = std::min(kPiece, size - to);
      num_coded += without_silent(indexes + to, count, num_silent, coded + num_coded);
      to += count;
    }
    decode(coded, symbols, num_coded);
    std::fill(symbols + num_coded, symbols + num_coded + kSpare, 0);
    if (!add_means(symbols, indexes + from, num_silent, means + from, y_hat ? y_hat + from : nullptr, y, places, from,
                   to - from)) {
      failed_ = true;
      throw BitstreamError("coder: before symbol " + std::to_string(position_) + ": a latent beyond 2^20");
    }
  }
}

void StreamDecoder::finish() {
  if (failed_) throw BitstreamError("coder: an earlier call on this stream failed");
  if (!in_tail_ && position_ == tail_position_) enter_tail();
  const std::string after = "coder: after " + std::to_string(position_) + " symbols ";
  failed_ = true;
  if (!in_tail_) throw BitstreamError(after + "the stream holds more");
  if (words_.next != words_.end) throw BitstreamError(after + std::to_string(words_.num_left()) + " words are left over");
  if (states_[0] != kStateLow) throw BitstreamError(after + "lane 0 ends in a wrong state");
}

#define BASIC_INSTANTIATE_STREAM(Symbol, Index) \
  template EncodedStream encode_stream(const Tables&, const Symbol*, const Index*, size_t, uint32_t, size_t);
BASIC_INSTANTIATE_STREAM(int16_t, uint8_t)
BASIC_INSTANTIATE_STREAM(int16_t, uint16_t)
BASIC_INSTANTIATE_STREAM(int32_t, uint8_t)
BASIC_INSTANTIATE_STREAM(int32_t, uint16_t)
template void StreamDecoder::decode_latents(const uint8_t*, uint32_t, const int16_t*, float*, float*, const Places&);
template void StreamDecoder::decode_latents(const uint16_t*, uint32_t, const int16_t*, float*, float*, const Places&);
template void StreamDecoder::decode(const uint8_t*, int32_t*, size_t);
template void StreamDecoder::decode(const uint16_t*, int32_t*, size_t);

}  // namespace basic
