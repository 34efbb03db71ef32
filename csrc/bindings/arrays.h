// NumPy arrays at the border: dense views of what comes in, recycled memory for what goes out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "../ops/message.h"
#include "../ops/window.h"
#include "../runtime/memory.h"

namespace pybind11::detail {

// Sizes: tuples of ints. pybind11's own way, with two allocations an array, takes most of a small call's time.
template <std::size_t N>
struct type_caster<std::array<std::int64_t, N>> {
  using Sizes = std::array<std::int64_t, N>;
  PYBIND11_TYPE_CASTER(Sizes, const_name("tuple[") + const_name<N>() + const_name(" ints]"));

  bool load(handle from, bool convert) {
    if (!PyTuple_Check(from.ptr()) || PyTuple_GET_SIZE(from.ptr()) != N) return false;
    for (std::size_t i = 0; i < N; ++i) {
      make_caster<std::int64_t> size;
      if (!size.load(PyTuple_GET_ITEM(from.ptr(), i), convert)) return false;
      value[i] = size;
    }
    return true;
  }

  static handle cast(const Sizes& sizes, return_value_policy, handle) {
    tuple result(N);
    for (std::size_t i = 0; i < N; ++i) result[i] = sizes[i];
    return result.release();
  }
};

}  // namespace pybind11::detail

namespace convnet::bindings {

namespace py = pybind11;

enum class Dtype { f32, f64 };

// float32 or float64 (of either byte order); a TypeError otherwise.
inline Dtype dtype_of(const py::array& a, const char* name) {
  switch (a.dtype().num()) {
    case py::detail::npy_api::NPY_FLOAT_:
      return Dtype::f32;
    case py::detail::npy_api::NPY_DOUBLE_:
      return Dtype::f64;
    default:
      throw py::type_error(message(name, " must be float32 or float64, got ", std::string(py::str(a.dtype()))));
  }
}

// Texts of errors, made only when an error is.
struct ShapeText {
  const py::array& array;
};
inline ShapeText shape_text(const py::array& a) { return {a}; }
inline std::ostream& operator<<(std::ostream& out, const ShapeText& shape) {
  return out << std::string(py::str(py::tuple(shape.array.attr("shape"))));
}

struct SizesText {
  const std::vector<std::int64_t>& sizes;
};
inline std::ostream& operator<<(std::ostream& out, const SizesText& text) {
  return out << std::string(py::str(py::tuple(py::cast(text.sizes))));
}

template <class T>
using Dense = py::array_t<T, py::array::c_style>;

// The array itself where it is dense, aligned and in native byte order, else a copy. Only its layout may differ:
// another dtype is a TypeError.
template <class T>
Dense<T> dense_input(const py::array& a, const char* name) {
  if (a.dtype().num() != py::dtype::num_of<T>())
    throw py::type_error(message(name, " has dtype ", std::string(py::str(a.dtype())), ", expected ",
                                 std::string(py::str(py::dtype::of<T>()))));
  constexpr int dense = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  py::dtype native = py::dtype::of<T>();
  if ((a.flags() & dense) == dense && a.dtype().ptr() == native.ptr()) return py::reinterpret_borrow<Dense<T>>(a);
  PyObject* result = py::detail::npy_api::get().PyArray_FromAny_(a.ptr(), native.release().ptr(), 0, 0, dense, nullptr);
  if (!result) throw py::error_already_set();
  return py::reinterpret_steal<Dense<T>>(result);
}

template <class T>
Dense<T> dense_input(const py::array& a, const char* name, const char* op, py::ssize_t rank) {
  require(a.ndim() == rank, op, ": ", name, " must have ", rank, " dimensions, got shape ", shape_text(a));
  return dense_input<T>(a, name);
}

inline Shape4 shape4(const std::vector<std::int64_t>& shape, const char* name, const char* op) {
  require(shape.size() == 4, op, ": ", name, " must have 4 dimensions, got shape ", SizesText{shape});
  return {shape[0], shape[1], shape[2], shape[3]};
}

inline Shape4 shape4(const py::array& a, const char* name, const char* op) {
  require(a.ndim() == 4, op, ": ", name, " must have 4 dimensions (",
          name[0] == 'w' ? "C_out, C_in/groups, kH, kW" : "N, C, H, W", "), got shape ", shape_text(a));
  return {a.shape(0), a.shape(1), a.shape(2), a.shape(3)};
}

inline void require_shape(const py::array& a, const std::vector<std::int64_t>& expected, const char* name,
                          const char* op) {
  bool same = std::size_t(a.ndim()) == expected.size();
  for (std::size_t i = 0; same && i < expected.size(); ++i) same = a.shape(py::ssize_t(i)) == expected[i];
  require(same, op, ": ", name, " has shape ", shape_text(a), ", expected ", SizesText{expected});
}

inline std::vector<std::int64_t> as_vector(const Shape4& s) { return {s.begin(), s.end()}; }

// An array in a block that returns to the cache with its last reference. A MemoryError says how much was wanted.
template <class T>
py::array_t<T> output(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (std::int64_t extent : shape) count *= std::size_t(extent);
  void* block = nullptr;
  try {
    block = acquire_block(count * sizeof(T));
  } catch (const std::bad_alloc&) {
    const std::string text = message("cannot allocate ", count * sizeof(T), " bytes for an array of shape ",
                                     std::string(py::str(py::tuple(py::cast(shape)))));
    PyErr_SetString(PyExc_MemoryError, text.c_str());
    throw py::error_already_set();
  }
  py::capsule owner(block, [](void* b) { release_block(b); });
  return py::array_t<T>(shape, static_cast<T*>(block), owner);
}

// Calls body with a value of the element type.
template <class Body>
auto with_dtype(const py::array& a, const char* name, Body&& body) {
  return dtype_of(a, name) == Dtype::f32 ? body(float{}) : body(double{});
}

using OptionalArray = std::optional<py::array>;
using NoGil = py::gil_scoped_release;

template <class T>
const T* data_or_null(const std::optional<Dense<T>>& a) {
  return a ? a->data() : nullptr;
}

template <class T>
std::optional<Dense<T>> optional_vector(const OptionalArray& a, std::int64_t size, const char* name, const char* op) {
  if (!a) return std::nullopt;
  require_shape(*a, {size}, name, op);
  return dense_input<T>(*a, name);
}

inline std::vector<std::int64_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

}  // namespace convnet::bindings
