// What the files that know Python share: arrays as arguments, refused by name.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

namespace py = pybind11;

inline std::string describe(const py::array& array) {
  std::string text = py::str(py::object(array.dtype())).cast<std::string>() + " of shape (";
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) text += std::to_string(array.shape(axis)) + ",";
  return text + ")" + (array.flags() & py::array::c_style ? "" : ", not contiguous");
}

[[noreturn]] inline void refuse(const char* name, const std::string& expected, const py::array& got) {
  const std::string message = std::string(name) + ": expected " + expected + ", got " + describe(got);
  throw py::type_error(message + "; use numpy.ascontiguousarray(" + name + ", dtype=...)");
}

// A contiguous array of exactly this type, or an error that names the argument.
template <class T>
const T* data_of(const py::array& array, const char* name, const char* type) {
  if (!(array.flags() & py::array::c_style) || !py::isinstance<py::array_t<T>>(array))
    refuse(name, std::string("a contiguous ") + type + " array", array);
  return static_cast<const T*>(array.data());
}

template <class T>
bool is(const py::array& array) {
  return py::isinstance<py::array_t<T>>(array);
}

inline size_t size_of(const py::array& array) { return static_cast<size_t>(array.size()); }

// The layers and loops of integer networks, see bindings_integer.cpp.
void bind_integers(py::module_& module);
