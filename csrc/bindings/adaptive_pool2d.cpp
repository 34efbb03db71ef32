#include "../ops/adaptive_pool2d.h"

#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

py::tuple adaptive_max_pool(const py::array& x, Pair output_size) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const char* op = "adaptive_max_pool2d";
    const AdaptivePool2dShape shape(shape4(x, "x", op), output_size, op);
    const auto xs = dense_input<T>(x, "x");
    auto y = output<T>(as_vector(shape.y()));
    auto indices = output<std::int64_t>(as_vector(shape.y()));
    T* const to = y.mutable_data();
    std::int64_t* const places = indices.mutable_data();
    {
      NoGil release;
      adaptive_max_pool2d<T>(shape, xs.data(), to, places);
    }
    return py::make_tuple(y, indices);
  });
}

py::array adaptive_max_pool_backward(const py::array& dy, const py::array& indices,
                                     const std::vector<std::int64_t>& x_shape) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "adaptive_max_pool2d_backward";
    const Shape4 outputs = shape4(dy, "dy", op);
    const AdaptivePool2dShape shape(shape4(x_shape, "input_shape", op), {outputs[2], outputs[3]}, op);
    require_shape(dy, as_vector(shape.y()), "dy", op);
    require_shape(indices, as_vector(shape.y()), "indices", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto places = dense_input<std::int64_t>(indices, "indices");
    auto dx = output<T>(as_vector(shape.x()));
    T* const to = dx.mutable_data();
    {
      NoGil release;
      adaptive_max_pool2d_backward<T>(shape, dys.data(), places.data(), to);
    }
    return dx;
  });
}

py::array adaptive_avg_pool(const py::array& x, Pair output_size) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "adaptive_avg_pool2d";
    const AdaptivePool2dShape shape(shape4(x, "x", op), output_size, op);
    const auto xs = dense_input<T>(x, "x");
    auto y = output<T>(as_vector(shape.y()));
    T* const to = y.mutable_data();
    {
      NoGil release;
      adaptive_avg_pool2d<T>(shape, xs.data(), to);
    }
    return y;
  });
}

py::array adaptive_avg_pool_backward(const py::array& dy, const std::vector<std::int64_t>& x_shape) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "adaptive_avg_pool2d_backward";
    const Shape4 outputs = shape4(dy, "dy", op);
    const AdaptivePool2dShape shape(shape4(x_shape, "input_shape", op), {outputs[2], outputs[3]}, op);
    require_shape(dy, as_vector(shape.y()), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    auto dx = output<T>(as_vector(shape.x()));
    T* const to = dx.mutable_data();
    {
      NoGil release;
      adaptive_avg_pool2d_backward<T>(shape, dys.data(), to);
    }
    return dx;
  });
}

}  // namespace

void bind_adaptive_pool2d(py::module_& m) {
  m.def("adaptive_max_pool2d", &adaptive_max_pool, py::arg("x"), py::arg("output_size"));
  m.def("adaptive_max_pool2d_backward", &adaptive_max_pool_backward, py::arg("dy"), py::arg("indices"),
        py::arg("x_shape"));
  m.def("adaptive_avg_pool2d", &adaptive_avg_pool, py::arg("x"), py::arg("output_size"));
  m.def("adaptive_avg_pool2d_backward", &adaptive_avg_pool_backward, py::arg("dy"), py::arg("x_shape"));
}

}  // namespace convnet::bindings
