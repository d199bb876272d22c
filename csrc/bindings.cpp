// The Python face: checks dtype, shape and range, releases the GIL. Only this file and its part for integer networks,
// bindings_integer.cpp, know Python.
#include "bindings.h"

#include <algorithm>
#include <vector>

#include "arrow.h"
#include "blocks.h"
#include "cdf.h"
#include "crc32c.h"
#include "dispatch.h"
#include "latents.h"
#include "pixels.h"
#include "stream.h"

using basic::Tables;

namespace {

template <class Index>
void check_indexes(const Index* indexes, size_t num_indexes, const Tables& tables) {
  Index largest = 0;
  for (size_t i = 0; i < num_indexes; ++i) largest = std::max(largest, indexes[i]);
  if (num_indexes && largest >= tables.view().num_tables)
    throw py::index_error("indexes: expected values below " + std::to_string(tables.view().num_tables) +
                          " (the number of tables), got " + std::to_string(largest));
}

// Call `function` with the indexes as the type they have; they are checked without the GIL.
template <class Function>
auto with_indexes(const py::array& indexes, const Tables& tables, Function function) {
  const auto call = [&](auto* data) {
    const size_t size = size_of(indexes);
    {
      py::gil_scoped_release release;
      check_indexes(data, size, tables);
    }
    return function(data);
  };
  if (is<uint8_t>(indexes)) return call(data_of<uint8_t>(indexes, "indexes", "uint8 or uint16"));
  return call(data_of<uint16_t>(indexes, "indexes", "uint8 or uint16"));
}

template <class Function>
auto with_symbols(const py::array& symbols, Function function) {
  if (is<int16_t>(symbols)) return function(data_of<int16_t>(symbols, "symbols", "int16 or int32"));
  return function(data_of<int32_t>(symbols, "symbols", "int16 or int32"));
}

std::vector<py::ssize_t> shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

void check_same_shape(const py::array& first, const py::array& second, const char* names) {
  if (shape_of(first) != shape_of(second))
    throw py::value_error(std::string(names) + ": expected the same shape, got " + describe(first) + " and " +
                          describe(second));
}

Tables make_tables(const py::array& frequencies, const py::array& lengths, const py::array& offsets, int precision) {
  const auto* frequency_data = data_of<uint16_t>(frequencies, "frequencies", "uint16");
  const auto* length_data = data_of<int32_t>(lengths, "lengths", "int32");
  const auto* offset_data = data_of<int32_t>(offsets, "offsets", "int32");
  if (lengths.size() != offsets.size())
    throw py::value_error("lengths and offsets: expected the same size, got " + std::to_string(lengths.size()) +
                          " and " + std::to_string(offsets.size()));
  return Tables(frequency_data, size_of(frequencies), length_data, offset_data, size_of(lengths), precision);
}

py::bytes encode(const py::array& symbols, const py::array& indexes, const Tables& tables, int num_lanes, py::ssize_t max_overhead) {
  if (num_lanes < 0 || num_lanes > basic::kMaxLanes || (num_lanes & (num_lanes - 1)))
    throw py::value_error("num_lanes: expected 1, 2, 4, 8, 16, 32, or 0 for what suits the size, got " +
                          std::to_string(num_lanes));
  if (max_overhead != 0 && max_overhead < static_cast<py::ssize_t>(basic::kMinOverhead))
    throw py::value_error("max_overhead: expected at least " + std::to_string(basic::kMinOverhead) +
                          " bytes, or 0 for no limit, got " + std::to_string(max_overhead));
  return with_symbols(symbols, [&](auto* symbol_data) {
    check_same_shape(symbols, indexes, "symbols and indexes");
    return with_indexes(indexes, tables, [&](auto* index_data) {
      const size_t size = size_of(symbols);
      basic::EncodedStream stream;
      {
        py::gil_scoped_release release;
        stream = basic::encode_stream(tables, symbol_data, index_data, size, static_cast<uint32_t>(num_lanes),
                                      static_cast<size_t>(max_overhead));
      }
      py::bytes bytes(nullptr, stream.num_bytes());
      auto* target = reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
      py::gil_scoped_release release;  // nobody else knows these bytes yet, and their pages are fresh
      stream.copy_to(target);
      return bytes;
    });
  });
}

double bits(const py::array& symbols, const py::array& indexes, const Tables& tables) {
  return with_symbols(symbols, [&](auto* symbol_data) {
    check_same_shape(symbols, indexes, "symbols and indexes");
    return with_indexes(indexes, tables, [&](auto* index_data) {
      py::gil_scoped_release release;
      return basic::count_bits(tables, symbol_data, index_data, size_of(symbols));
    });
  });
}

// Where the elements of a float32 array (n, h, w) lie, whatever its strides.
basic::Places places_of(const py::array& y, const char* name) {
  if (y.ndim() != 3 || !is<float>(y)) refuse(name, "a float32 array (n, h, w)", y);
  const auto size = [&](int axis) { return static_cast<size_t>(y.shape(axis)); };
  const auto step = [&](int axis) { return y.strides(axis) / y.itemsize(); };
  for (int axis = 0; axis < 3; ++axis)
    if (y.strides(axis) % y.itemsize()) refuse(name, "a float32 array (n, h, w) of whole steps", y);
  return {size(0), size(1), size(2), step(0), step(1), step(2)};
}

// A contiguous float32 array of the shape of `like`, or null for None.
float* optional_y_hat(py::object& y_hat, const py::array& like) {
  if (y_hat.is_none()) return nullptr;
  if (!py::isinstance<py::array>(y_hat)) throw py::type_error("y_hat: expected a float32 array or None");
  auto array = py::reinterpret_borrow<py::array>(y_hat);
  data_of<float>(array, "y_hat", "float32");
  check_same_shape(like, array, "means and y_hat");
  return static_cast<float*>(array.mutable_data());
}

uint32_t checked_silent(int num_silent) {
  if (num_silent < 0 || num_silent > static_cast<int>(basic::kMaxSilent))
    throw py::value_error("num_silent: expected 0 to " + std::to_string(basic::kMaxSilent) + ", got " +
                          std::to_string(num_silent));
  return static_cast<uint32_t>(num_silent);
}

// Contiguous, with room for as many elements as `like` has.
template <class T>
T* room_of(py::array& array, const py::array& like, const char* name, const char* type) {
  data_of<T>(array, name, type);
  if (array.size() < like.size())
    throw py::value_error(std::string(name) + ": expected room for " + std::to_string(like.size()) + ", got " +
                          describe(array));
  return static_cast<T*>(array.mutable_data());  // refuses a read-only array
}

size_t quantise(const py::array& y, const py::array& means, const py::array& indexes, py::array symbols,
                py::array coded, py::object y_hat, int num_silent) {
  const basic::Places places = places_of(y, "y");
  const int16_t* mean_data = data_of<int16_t>(means, "means", "int16");
  const uint8_t* index_data = data_of<uint8_t>(indexes, "indexes", "uint8");
  check_same_shape(y, means, "y and means");
  check_same_shape(y, indexes, "y and indexes");
  int32_t* symbol_data = room_of<int32_t>(symbols, y, "symbols", "int32");
  uint8_t* coded_data = room_of<uint8_t>(coded, y, "coded", "uint8");
  float* y_hat_data = optional_y_hat(y_hat, means);
  const auto* y_data = static_cast<const float*>(y.data());
  const uint32_t silent = checked_silent(num_silent);
  const auto found = [&] {
    py::gil_scoped_release release;
    return basic::quantise(y_data, places, mean_data, index_data, silent, symbol_data, coded_data, y_hat_data);
  }();
  if (!found.in_range) throw py::value_error("y: expected numbers within 2^20 of the means, got larger ones or NaN");
  return found.size;
}

void floors(const py::array& source, py::array target) {
  const float* values = data_of<float>(source, "source", "float32");
  check_same_shape(source, target, "source and target");
  const auto fill = [&](auto* numbers) {
    py::gil_scoped_release release;
    basic::floors(values, numbers, size_of(source));
  };
  void* numbers = target.mutable_data();  // refuses a read-only array
  if (is<uint8_t>(target)) {
    data_of<uint8_t>(target, "target", "int16 or uint8");
    fill(static_cast<uint8_t*>(numbers));
  } else {
    data_of<int16_t>(target, "target", "int16 or uint8");
    fill(static_cast<int16_t*>(numbers));
  }
}

// Shape and distances of two images (planes, height, width) of one shape, refused where rows are not contiguous.
template <class From, class To>
basic::Planes planes_of(const py::array& from, const py::array& to, const char* from_type, const char* to_type) {
  const auto check = [](const py::array& array, bool is_type, bool any_rows, const char* name, const char* type) {
    const bool any = array.ndim() == 3 && array.size() > 0;  // without, strides mean nothing
    const bool rows = any ? any_rows || array.shape(2) == 1 || array.strides(2) == array.itemsize() : array.ndim() == 3;
    if (!is_type || !rows)
      refuse(name, std::string("a ") + type + " array (planes, height, width)" +
             (any_rows ? "" : " with contiguous rows"), array);
  };
  check(from, is<From>(from), sizeof(From) == 1, "source", from_type);
  check(to, is<To>(to), false, "target", to_type);
  check_same_shape(from, to, "source and target");
  const auto size = [&](int axis) { return static_cast<size_t>(from.shape(axis)); };
  const auto step = [](const py::array& array, int axis) { return array.strides(axis) / array.itemsize(); };
  return {size(0), size(1), size(2), step(from, 0), step(from, 1), step(to, 0), step(to, 1),
          step(from, 2)};
}

// The bytes behind a capsule "arrow_array" as Pillow makes them: a fixed-size list of bytes, one item a pixel.
py::array_t<uint8_t> arrow_bytes(py::capsule capsule, size_t size) {
  if (std::string(capsule.name() ? capsule.name() : "") != "arrow_array")
    throw py::type_error("capsule: expected one named arrow_array");
  const uint8_t* bytes = basic::arrow_bytes(capsule.get_pointer<const basic::ArrowArray>(), size);
  if (!bytes) throw py::value_error("capsule: expected a list of " + std::to_string(size) + " bytes");
  py::array_t<uint8_t> array(static_cast<py::ssize_t>(size), bytes, capsule);
  array.attr("flags").attr("writeable") = false;
  return array;
}

// What an exported array holds: it goes with the last who reads the bytes.
struct Lent {
  PyObject* owner;
  const void* buffers[2];
};

template <class T>
py::capsule arrow_capsule(T value, const char* name) {
  return py::capsule(new T(value), name, [](PyObject* capsule) {
    auto* held = static_cast<T*>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
    if (held->release) held->release(held);
    delete held;
  });
}

// Bytes lent to whoever reads Arrow arrays: the capsules "arrow_schema" and "arrow_array" of a flat array of uint8.
py::tuple arrow_capsules(const py::array& bytes) {
  const auto* data = data_of<uint8_t>(bytes, "bytes", "uint8");
  basic::ArrowSchema schema{};
  schema.format = "C";
  schema.name = "";
  schema.release = [](basic::ArrowSchema* self) { self->release = nullptr; };
  py::capsule about = arrow_capsule(schema, "arrow_schema");
  auto* lent = new Lent{bytes.inc_ref().ptr(), {nullptr, data}};
  basic::ArrowArray array{};
  array.length = bytes.size();
  array.num_buffers = 2;
  array.buffers = lent->buffers;
  array.private_data = lent;
  array.release = [](basic::ArrowArray* self) {
    const py::gil_scoped_acquire with_gil;
    auto* held = static_cast<Lent*>(self->private_data);
    Py_DECREF(held->owner);
    delete held;
    self->release = nullptr;
  };
  return py::make_tuple(about, arrow_capsule(array, "arrow_array"));
}

void blocks_to_bytes(const py::array& source, py::array target, const py::object& bias) {
  const auto floats = static_cast<py::ssize_t>(basic::kBlockFloats), bytes = floats * py::ssize_t{sizeof(float)};
  if (source.ndim() != 3 || !is<float>(source) || source.shape(2) != floats ||
      (source.size() && (source.strides(2) != sizeof(float) || source.strides(0) % bytes ||
                         (source.shape(1) > 1 && source.strides(1) != bytes))))
    refuse("source", "a float32 array (rows, columns, 192) with contiguous rows", source);
  const auto planes = target.ndim() == 3 ? target.shape(0) : 0;
  if (!is<uint8_t>(target) || (planes != 1 && planes != 3 && planes != 4))
    refuse("target", "a uint8 array (1, 3 or 4 planes, height, width)", target);
  const auto side = static_cast<py::ssize_t>(basic::kBlockSide);
  if ((target.shape(1) + side - 1) / side != source.shape(0) || (target.shape(2) + side - 1) / side != source.shape(1))
    throw py::value_error("source and target: expected a block for 8x8 pixels, got " + describe(source) + " and " +
                          describe(target));
  const auto size = [&](int axis) { return static_cast<size_t>(target.shape(axis)); };
  const basic::PixelPlaces places{size(0), size(1), size(2), target.strides(0), target.strides(1), target.strides(2)};
  const float* added = nullptr;
  if (!bias.is_none()) {
    if (!py::isinstance<py::array>(bias)) throw py::type_error("bias: expected a float32 array (192,) or None");
    const auto array = py::reinterpret_borrow<py::array>(bias);
    if (!is<float>(array) || array.ndim() != 1 || array.shape(0) != floats || array.strides(0) != sizeof(float))
      refuse("bias", "a contiguous float32 array (192,)", array);
    added = static_cast<const float*>(array.data());
  }
  const auto* from = static_cast<const float*>(source.data());
  auto* to = static_cast<uint8_t*>(target.mutable_data());  // refuses a read-only array
  const ptrdiff_t block_row = source.strides(0) / py::ssize_t{sizeof(float)};
  bool all_numbers = false;
  {
    py::gil_scoped_release release;
    all_numbers = basic::blocks_to_bytes(from, block_row, added, to, places);
  }
  if (!all_numbers) throw py::value_error("source: expected numbers, got NaN");
}

void to_floats(const py::array& source, py::array target) {
  const basic::Planes planes = planes_of<uint8_t, float>(source, target, "uint8", "float32");
  const auto* from = static_cast<const uint8_t*>(source.data());
  auto* to = static_cast<float*>(target.mutable_data());
  py::gil_scoped_release release;
  basic::to_floats(from, to, planes);
}

void to_bytes(const py::array& source, py::array target) {
  const basic::Planes planes = planes_of<float, uint8_t>(source, target, "float32", "uint8");
  const auto* from = static_cast<const float*>(source.data());
  auto* to = static_cast<uint8_t*>(target.mutable_data());
  bool all_numbers = false;
  {
    py::gil_scoped_release release;
    all_numbers = basic::to_bytes(from, to, planes);
  }
  if (!all_numbers) throw py::value_error("source: expected numbers, got NaN");
}

// A contiguous int32 array of the shape of `indexes`, for the results.
py::array symbols_of(const py::object& out, const py::array& indexes) {
  if (!py::isinstance<py::array>(out)) throw py::type_error("out: expected an int32 array or None");
  auto array = py::reinterpret_borrow<py::array>(out);
  data_of<int32_t>(array, "out", "int32");
  check_same_shape(indexes, array, "indexes and out");
  return array;
}

// Keeps the bytes and the tables alive, and refuses a second thread instead of mixing two.
class Decoder {
 public:
  Decoder(py::buffer data, py::object tables)
      : buffer_(data.request()), tables_(std::move(tables)), decoder_(tables_.cast<const Tables&>(), bytes(), size()) {}

  py::array decode(const py::array& indexes, py::object out) {
    return with_indexes(indexes, tables_.cast<const Tables&>(), [&](auto* index_data) {
      py::array symbols = out.is_none() ? py::array_t<int32_t>(shape_of(indexes)) : symbols_of(out, indexes);
      auto* symbol_data = static_cast<int32_t*>(symbols.mutable_data());  // refuses a read-only array
      const size_t size = size_of(indexes);
      const Use use(busy_);
      py::gil_scoped_release release;
      decoder_.decode(index_data, symbol_data, size);
      return symbols;
    });
  }

  void decode_latents(const py::array& indexes, const py::array& means, py::array y, py::object y_hat, int num_silent) {
    const int16_t* mean_data = data_of<int16_t>(means, "means", "int16");
    const basic::Places places = places_of(y, "y");
    check_same_shape(indexes, means, "indexes and means");
    check_same_shape(indexes, y, "indexes and y");
    float* y_data = static_cast<float*>(y.mutable_data());  // refuses a read-only array
    float* y_hat_data = optional_y_hat(y_hat, means);
    const uint32_t silent = checked_silent(num_silent);
    with_indexes(indexes, tables_.cast<const Tables&>(), [&](auto* index_data) {
      const Use use(busy_);
      py::gil_scoped_release release;
      decoder_.decode_latents(index_data, silent, mean_data, y_hat_data, y_data, places);
    });
  }

  void finish() {
    const Use use(busy_);
    decoder_.finish();
  }

  uint64_t position() const { return decoder_.position(); }

 private:
  struct Use {  // constructed and destroyed with the GIL held
    explicit Use(bool& flag) : busy(flag) {
      if (busy) throw std::runtime_error("Decoder: in use by another thread; give each thread its own");
      busy = true;
    }
    ~Use() { busy = false; }
    bool& busy;
  };

  const uint8_t* bytes() const {
    if (!PyBuffer_IsContiguous(buffer_.view(), 'C')) throw py::type_error("data: expected contiguous bytes");
    return static_cast<const uint8_t*>(buffer_.ptr);
  }
  size_t size() const { return static_cast<size_t>(buffer_.size * buffer_.itemsize); }

  py::buffer_info buffer_;
  py::object tables_;
  basic::StreamDecoder decoder_;
  bool busy_ = false;
};

uint32_t crc32c(py::buffer data, uint32_t value) {
  const py::buffer_info info = data.request();
  if (!PyBuffer_IsContiguous(info.view(), 'C')) throw py::type_error("data: expected contiguous bytes");
  py::gil_scoped_release release;
  return basic::crc32c(static_cast<const uint8_t*>(info.ptr), static_cast<size_t>(info.size * info.itemsize), value);
}

// Callers see basic.runtime.errors.BitstreamError, found when it is first needed.
void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const basic::BitstreamError& error) {
    py::set_error(py::module_::import("basic.runtime.errors").attr("BitstreamError"), error.what());
  }
}

}  // namespace

PYBIND11_MODULE(_ans, module) {
  module.doc() = "rANS coder, see docs/coder.md";
  py::register_exception_translator(translate);
  py::class_<Tables>(module, "Tables")
      .def(py::init(&make_tables), py::arg("frequencies"), py::arg("lengths"), py::arg("offsets"), py::arg("precision"))
      .def_property_readonly("num_tables", [](const Tables& tables) { return tables.view().num_tables; })
      .def_property_readonly("precision", [](const Tables& tables) { return tables.view().precision; })
      .def_property_readonly("num_bytes", &Tables::num_bytes);
  py::class_<Decoder>(module, "Decoder")
      .def(py::init<py::buffer, py::object>(), py::arg("data"), py::arg("tables"))
      .def("decode", &Decoder::decode, py::arg("indexes"), py::arg("out") = py::none())
      .def("decode_latents", &Decoder::decode_latents, py::arg("indexes"), py::arg("means"), py::arg("y"),
           py::arg("y_hat") = py::none(), py::arg("num_silent") = 0)
      .def("finish", &Decoder::finish)
      .def_property_readonly("position", &Decoder::position);
  module.def("encode", &encode, py::arg("symbols"), py::arg("indexes"), py::arg("tables"), py::arg("num_lanes") = 0,
             py::arg("max_overhead") = 0);
  module.def("quantise", &quantise, py::arg("y"), py::arg("means"), py::arg("indexes"), py::arg("symbols"),
             py::arg("coded"), py::arg("y_hat") = py::none(), py::arg("num_silent") = 0);
  module.def("floors", &floors, py::arg("source"), py::arg("target"));
  module.def("arrow_bytes", &arrow_bytes, py::arg("capsule"), py::arg("size"));
  module.def("arrow_capsules", &arrow_capsules, py::arg("bytes"));
  module.def("blocks_to_bytes", &blocks_to_bytes, py::arg("source"), py::arg("target"), py::arg("bias") = py::none());
  module.def("to_floats", &to_floats, py::arg("source"), py::arg("target"));
  module.def("to_bytes", &to_bytes, py::arg("source"), py::arg("target"));
  module.def("bits", &bits, py::arg("symbols"), py::arg("indexes"), py::arg("tables"));
  module.def("crc32c", &crc32c, py::arg("data"), py::arg("value") = 0);
  module.def("simd", &basic::simd_name);
  bind_integers(module);
}
