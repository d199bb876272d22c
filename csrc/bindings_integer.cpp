// The Python face of the integer networks (integer.h).
#include <vector>

#include "bindings.h"
#include "integer.h"

namespace {

// The loops of that name, the best for an empty one.
const basic::IntegerKernels& kernels_named(const std::string& name) {
  const auto found = basic::integer_kernels();
  if (name.empty()) return *found.back();
  std::string names;
  for (const auto* kernels : found) {
    if (name == kernels->name) return *kernels;
    names += (names.empty() ? "" : ", ") + std::string(kernels->name);
  }
  throw py::value_error("kernels: expected one of " + names + ", got " + name);
}

// Weights of a layer with `axes` axes, the first of them outputs, and a bias and a shift for each.
void check_layer(const py::array& weight, const py::array& bias, const py::array& shift, py::ssize_t axes, int limit) {
  if (weight.ndim() != axes || !weight.shape(0) || !weight.shape(1))
    refuse("weight", "an array of " + std::to_string(axes) + " axes", weight);
  if (bias.ndim() != 1 || bias.shape(0) != weight.shape(0)) refuse("bias", "one number an output channel", bias);
  if (shift.ndim() != 1 || shift.shape(0) != weight.shape(0)) refuse("shift", "one number an output channel", shift);
  if (limit < 0 || limit > 255)
    throw py::value_error("limit: expected 0 to 255, got " + std::to_string(limit));
}

basic::Pointwise make_pointwise(const py::array& weight, const py::array& bias, const py::array& shift, int limit,
                                bool rounds, const std::string& kernels) {
  check_layer(weight, bias, shift, 2, limit);
  return basic::Pointwise(kernels_named(kernels), data_of<int16_t>(weight, "weight", "int16"),
                          data_of<int32_t>(bias, "bias", "int32"), data_of<uint8_t>(shift, "shift", "uint8"),
                          static_cast<size_t>(weight.shape(0)), static_cast<size_t>(weight.shape(1)), limit, rounds);
}

basic::Depthwise make_depthwise(const py::array& weight, const py::array& bias, const py::array& shift, int limit,
                                const std::string& kernels) {
  check_layer(weight, bias, shift, 3, limit);
  if (weight.shape(1) != 3 || weight.shape(2) != 3) refuse("weight", "an array (channels, 3, 3)", weight);
  return basic::Depthwise(kernels_named(kernels), data_of<int16_t>(weight, "weight", "int16"),
                          data_of<int32_t>(bias, "bias", "int32"), data_of<uint8_t>(shift, "shift", "uint8"),
                          static_cast<size_t>(weight.shape(0)), limit);
}

// Layers that follow each other: as many channels, made for the same loops, for inputs up to `limit`, and rounding or not.
template <class Layer>
void check_chain(const char* name, const basic::IntegerKernels& kernels, const Layer& layer, size_t expected,
                 size_t found, int32_t limit = 255, bool rounds = true) {
  const std::string start = std::string(name) + ": expected ";
  if (&layer.kernels() != &kernels)
    throw py::value_error(start + "a layer made for " + kernels.name + ", as the others, got one for " +
                          layer.kernels().name);
  if (expected != found)
    throw py::value_error(start + std::to_string(expected) + " channels, got " + std::to_string(found));
  if (layer.limit() < limit)
    throw py::value_error(start + "a layer for inputs up to " + std::to_string(limit) + ", got one for " +
                          std::to_string(layer.limit()));
  if (layer.rounds() != rounds)
    throw py::value_error(start + (rounds ? "a layer that rounds, got one that does not"
                                          : "a layer that does not round, got one that does"));
}

// A float32 array (B, num_channels, h, w).
basic::Grid grid_of(const py::array& array, const char* name, size_t num_channels) {
  if (array.ndim() != 4 || static_cast<size_t>(array.shape(1)) != num_channels)
    refuse(name, "an array (B, " + std::to_string(num_channels) + ", h, w)", array);
  return {static_cast<size_t>(array.shape(0)), static_cast<size_t>(array.shape(2)), static_cast<size_t>(array.shape(3))};
}

size_t checked_threads(int num_threads) {
  if (num_threads < 1 || num_threads > 1024)
    throw py::value_error("num_threads: expected 1 to 1024, got " + std::to_string(num_threads));
  return static_cast<size_t>(num_threads);
}

template <class T>
py::array_t<T> planes_like(const basic::Grid& grid, size_t num_channels, size_t scale = 1) {
  return py::array_t<T>({grid.batch, num_channels, scale * grid.height, scale * grid.width});
}

py::array run_hyper(const basic::Pointwise& spread, const basic::Depthwise& spatial, const basic::Pointwise& up,
                    const py::array& z_hat, int num_threads) {
  check_chain("spread", spread.kernels(), spread, spread.num_inputs(), spread.num_inputs(), 127);
  check_chain("spatial", spread.kernels(), spatial, spread.view().num_outputs, spatial.num_channels());
  check_chain("up", spread.kernels(), up, spatial.num_channels(), up.num_inputs());
  if (up.view().num_outputs % 4)
    throw py::value_error("up: expected four channels for each of the state, got " +
                          std::to_string(up.view().num_outputs) + " in all");
  const float* from = data_of<float>(z_hat, "z_hat", "float32");
  const basic::Grid grid = grid_of(z_hat, "z_hat", spread.num_inputs());
  const size_t threads = checked_threads(num_threads);
  auto state = planes_like<float>(grid, up.view().num_outputs / 4, 2);
  float* to = state.mutable_data();
  {
    py::gil_scoped_release release;
    basic::run_hyper({&spread, &spatial, &up}, grid, from, to, threads);
  }
  return state;
}

// Read and write of the group before, or neither.
py::tuple run_context(const basic::Depthwise* read, const basic::Pointwise* write, const basic::Pointwise& first,
                      const basic::Depthwise& spatial, const basic::Pointwise& second, const basic::Pointwise& mean,
                      const basic::Pointwise& scale, const py::array& state, const py::object& y_hat, bool keeps_state,
                      int num_threads) {
  const basic::IntegerKernels& kernels = first.kernels();
  check_chain("first", kernels, first, first.num_inputs(), first.num_inputs(), 127);
  check_chain("spatial", kernels, spatial, first.view().num_outputs, spatial.num_channels());
  check_chain("second", kernels, second, spatial.num_channels(), second.num_inputs());
  check_chain("mean", kernels, mean, second.view().num_outputs, mean.num_inputs());
  check_chain("scale", kernels, scale, second.view().num_outputs, scale.num_inputs());
  check_chain("scale", kernels, scale, mean.view().num_outputs, scale.view().num_outputs);
  if (!read != y_hat.is_none())
    throw py::value_error(read ? "y_hat: expected that of the group before, got none"
                               : "y_hat: expected none for the first group, got one");
  if (!read != !write || (keeps_state && !read))
    throw py::value_error("read and write: expected both, or neither where no state is kept, got one");
  const float* from = data_of<float>(state, "state", "float32");
  const basic::Grid grid = grid_of(state, "state", first.num_inputs());
  const float* latents = nullptr;
  if (read) {
    check_chain("read", kernels, *read, read->num_channels(), read->num_channels(), 127);
    check_chain("write", kernels, *write, read->num_channels(), write->num_inputs(), 127, false);
    check_chain("write", kernels, *write, first.num_inputs(), write->view().num_outputs, 127, false);
    if (!py::isinstance<py::array>(y_hat)) throw py::type_error("y_hat: expected a float32 array or None");
    const auto array = py::reinterpret_borrow<py::array>(y_hat);
    latents = data_of<float>(array, "y_hat", "float32");
    const basic::Grid of_latents = grid_of(array, "y_hat", read->num_channels());
    if (of_latents.batch != grid.batch || of_latents.height != grid.height || of_latents.width != grid.width)
      throw py::value_error("state and y_hat: expected the same size, got " + describe(state) + " and " +
                            describe(array));
  }
  const size_t threads = checked_threads(num_threads), num_outputs = mean.view().num_outputs;
  auto means = planes_like<int16_t>(grid, num_outputs);
  auto indexes = planes_like<uint8_t>(grid, num_outputs);
  py::object after = py::none();
  float* state_out = nullptr;
  if (keeps_state) {
    auto kept = planes_like<float>(grid, first.num_inputs());
    state_out = kept.mutable_data();
    after = kept;
  }
  int16_t* to_means = means.mutable_data();
  uint8_t* to_indexes = indexes.mutable_data();
  {
    py::gil_scoped_release release;
    basic::run_context({read, write, &first, &spatial, &second, &mean, &scale}, grid, from, latents, to_means,
                       to_indexes, state_out, threads);
  }
  return py::make_tuple(means, indexes, after);
}

}  // namespace

void bind_integers(py::module_& module) {
  py::class_<basic::Pointwise>(module, "Pointwise")
      .def(py::init(&make_pointwise), py::arg("weight"), py::arg("bias"), py::arg("shift"), py::arg("limit"),
           py::arg("rounds") = true, py::arg("kernels") = "");
  py::class_<basic::Depthwise>(module, "Depthwise")
      .def(py::init(&make_depthwise), py::arg("weight"), py::arg("bias"), py::arg("shift"), py::arg("limit"),
           py::arg("kernels") = "");
  module.def("run_hyper", &run_hyper, py::arg("spread"), py::arg("spatial"), py::arg("up"), py::arg("z_hat"),
             py::arg("num_threads") = 1);
  module.def("run_context", &run_context, py::arg("read").none(true), py::arg("write").none(true), py::arg("first"),
             py::arg("spatial"), py::arg("second"), py::arg("mean"), py::arg("scale"), py::arg("state"),
             py::arg("y_hat") = py::none(), py::arg("keeps_state") = false, py::arg("num_threads") = 1);
  module.def("integer_kernels", [] {
    std::vector<std::string> names;
    for (const auto* kernels : basic::integer_kernels()) names.emplace_back(kernels->name);
    return names;
  });
}
