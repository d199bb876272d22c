// The coder without Python, for processors that only an emulator has here. Reads the tables and symbols from stdin,
// writes the stream to stdout; fails where it does not decode to what went in. All numbers are int32 but frequencies.
#include <cstdio>
#include <vector>

#include "../../csrc/dispatch.h"
#include "../../csrc/stream.h"

template <class T>
static std::vector<T> read(size_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), count, stdin) != count) throw std::runtime_error("the input is too short");
  return values;
}

template <class T>
static std::vector<T> read_as(size_t count) {
  const auto values = read<int32_t>(count);
  return std::vector<T>(values.begin(), values.end());
}

template <class Symbol, class Index>
static basic::EncodedStream code(const basic::Tables& tables, size_t num_symbols, uint32_t num_lanes) {
  const auto symbols = read_as<Symbol>(num_symbols);
  const auto indexes = read_as<Index>(num_symbols);
  basic::EncodedStream stream = basic::encode_stream(tables, symbols.data(), indexes.data(), num_symbols, num_lanes);
  std::vector<uint8_t> bytes(stream.num_bytes());
  stream.copy_to(bytes.data());
  std::vector<int32_t> decoded(num_symbols);
  basic::StreamDecoder decoder(tables, bytes.data(), bytes.size());
  const size_t part = num_symbols / 3;
  decoder.decode(indexes.data(), decoded.data(), part);
  decoder.decode(indexes.data() + part, decoded.data() + part, num_symbols - part);
  decoder.finish();
  if (decoded != std::vector<int32_t>(symbols.begin(), symbols.end())) throw std::runtime_error("decoded others");
  return stream;
}

int main() try {
  const auto head = read<int32_t>(7);
  const auto frequencies = read<uint16_t>(static_cast<size_t>(head[0]));
  const size_t num_tables = static_cast<size_t>(head[1]), num_symbols = static_cast<size_t>(head[3]);
  const auto lengths = read<int32_t>(num_tables), offsets = read<int32_t>(num_tables);
  const basic::Tables tables(frequencies.data(), frequencies.size(), lengths.data(), offsets.data(), num_tables, head[2]);
  const auto num_lanes = static_cast<uint32_t>(head[4]);
  const auto stream = head[5] == 2 ? (head[6] == 1 ? code<int16_t, uint8_t>(tables, num_symbols, num_lanes)
                                                   : code<int16_t, uint16_t>(tables, num_symbols, num_lanes))
                                   : (head[6] == 1 ? code<int32_t, uint8_t>(tables, num_symbols, num_lanes)
                                                   : code<int32_t, uint16_t>(tables, num_symbols, num_lanes));
  std::vector<uint8_t> bytes(stream.num_bytes());
  stream.copy_to(bytes.data());
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  std::fprintf(stderr, "%s", basic::simd_name());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "cross: %s\n", error.what());
  return 1;
}
