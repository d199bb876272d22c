// Any bytes as a stream of latents: the symbols of `decode` where they are not silent and the means, wherever they go;
// nothing beside them.
#include "fuzz_common.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const basic::Tables tables = falling_tables(64);
  Input input(bytes, size);
  const Shape shape(input);
  const uint32_t kind = input.take(1), num_silent = kind >> 1;
  const bool wants_y_hat = kind & 1;
  const uint32_t step = input.take(1), first = input.take(1);
  std::vector<uint16_t> indexes(shape.count());
  std::vector<int16_t> means(shape.count());
  for (size_t i = 0; i < indexes.size(); ++i) {
    indexes[i] = static_cast<uint16_t>((first + i * step / 16) % 64);
    means[i] = static_cast<int16_t>(static_cast<uint32_t>(i) * 40503u);
  }
  std::vector<int32_t> symbols, coded_symbols;
  std::vector<uint16_t> coded;
  for (const uint16_t index : indexes)
    if (index >= num_silent) coded.push_back(index);
  bool expected = decodes(tables, input.rest(), input.rest_size(), coded, coded_symbols);
  for (const int32_t symbol : coded_symbols) expected &= symbol >= -basic::kMaxSymbol && symbol <= basic::kMaxSymbol;
  size_t num_coded = 0;
  for (const uint16_t index : indexes) symbols.push_back(index >= num_silent ? coded_symbols[num_coded++] : 0);
  const bool as_bytes = first & 1;
  const std::vector<uint8_t> bytes_of_indexes(indexes.begin(), indexes.end());

  const std::vector<uint8_t> stream(input.rest(), input.rest() + input.rest_size());
  Strided<float> y(shape.size, shape.steps, 0.0625f);  // no sum of a symbol and eighths
  std::vector<float> y_hat(wants_y_hat ? shape.count() : 0);
  const basic::Places places = {shape.size[0], shape.size[1], shape.size[2], y.strides[0], y.strides[1], y.strides[2]};
  bool found = true;
  try {
    basic::StreamDecoder decoder(tables, stream.data(), stream.size());
    float* sums = wants_y_hat ? y_hat.data() : nullptr;
    if (as_bytes) {
      decoder.decode_latents(bytes_of_indexes.data(), num_silent, means.data(), sums, y.origin, places);
    } else {
      decoder.decode_latents(indexes.data(), num_silent, means.data(), sums, y.origin, places);
    }
    decoder.finish();
  } catch (const basic::BitstreamError&) {
    found = false;
  }
  require(found == expected, "latents are refused exactly where their symbols are");
  if (!found) return 0;
  size_t i = 0;
  for (size_t p = 0; p < shape.size[0]; ++p)
    for (size_t r = 0; r < shape.size[1]; ++r)
      for (size_t k = 0; k < shape.size[2]; ++k, ++i) {
        const float sum = static_cast<float>(symbols[i]) + static_cast<float>(means[i]) / 8;
        require(y.at(p, r, k) == sum, "symbol + mean / 8");
        if (wants_y_hat) require(y_hat[i] == sum, "the same in order");
        y.at(p, r, k) = 0.0625f;
      }
  for (const float value : y.all) require(value == 0.0625f, "nothing is written beside the places");
  return 0;
}
