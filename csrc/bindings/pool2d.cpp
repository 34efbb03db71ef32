#include "../ops/pool2d.h"

#include "../ops/adaptive_pool2d.h"
#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

// Arrays hold their sizes as (n, c, h, w), or (n, h, w, c) where channels stand last; x_shape is always the former.
Shape4 in_layout(const Shape4& s, bool channels_last) { return channels_last ? Shape4{s[0], s[2], s[3], s[1]} : s; }
Shape4 sizes(const py::array& a, const char* name, const char* op, bool channels_last) {
  const Shape4 s = shape4(a, name, op);
  return channels_last ? Shape4{s[0], s[3], s[1], s[2]} : s;
}

// A lone channel lies the same in both layouts.
bool in_lanes(const Pool2dShape& s, bool channels_last) { return channels_last && s.c > 1; }

// The array of `shape` that run(data) fills.
template <class T, class Run>
py::array_t<T> filled(const Shape4& shape, Run&& run) {
  auto y = output<T>(as_vector(shape));
  T* const to = y.mutable_data();
  {
    NoGil release;
    run(to);
  }
  return y;
}

// Maxima and, where wanted, their places: run(x, y, places or null).
template <class T, class Run>
py::object maxima(const py::array& x, const Shape4& shape, bool with_indices, Run&& run) {
  const auto xs = dense_input<T>(x, "x");
  if (!with_indices) return filled<T>(shape, [&](T* y) { run(xs.data(), y, nullptr); });
  auto indices = output<std::int64_t>(as_vector(shape));
  std::int64_t* const places = indices.mutable_data();
  auto y = filled<T>(shape, [&](T* to) { run(xs.data(), to, places); });
  return py::make_tuple(y, indices);
}

// The gradient of maxima: run(dy, indices, dx).
template <class T, class Run>
py::array maxima_backward(const py::array& dy, const py::array& indices, const Shape4& y_shape, const Shape4& x_shape,
                          const char* op, Run&& run) {
  require_shape(dy, as_vector(y_shape), "dy", op);
  require_shape(indices, as_vector(y_shape), "indices", op);
  const auto dys = dense_input<T>(dy, "dy");
  const auto places = dense_input<std::int64_t>(indices, "indices");
  return filled<T>(x_shape, [&](T* dx) { run(dys.data(), places.data(), dx); });
}

py::object max_pool(const py::array& x, Pair kernel, Pair stride, Padding padding, Pair dilation, bool ceil_mode,
                    bool with_indices, bool channels_last) {
  return with_dtype(x, "x", [&](auto t) -> py::object {
    using T = decltype(t);
    const char* op = "max_pool2d";
    const Pool2dShape shape(sizes(x, "x", op, channels_last), kernel, stride, padding, dilation, ceil_mode, op);
    const auto run = in_lanes(shape, channels_last) ? max_pool2d_last<T> : max_pool2d<T>;
    return maxima<T>(x, in_layout(shape.y(), channels_last), with_indices,
                     [&](const T* from, T* y, std::int64_t* places) { run(shape, from, y, places); });
  });
}

py::array max_pool_backward(const py::array& dy, const py::array& indices, const std::vector<std::int64_t>& x_shape,
                            Pair kernel, Pair stride, Padding padding, Pair dilation, bool ceil_mode,
                            bool channels_last) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "max_pool2d_backward";
    const Pool2dShape shape(shape4(x_shape, "input_shape", op), kernel, stride, padding, dilation, ceil_mode, op);
    const auto run = in_lanes(shape, channels_last) ? max_pool2d_backward_last<T> : max_pool2d_backward<T>;
    return maxima_backward<T>(dy, indices, in_layout(shape.y(), channels_last), in_layout(shape.x(), channels_last), op,
                              [&](const T* from, const std::int64_t* places, T* dx) { run(shape, from, places, dx); });
  });
}

py::array avg_pool(const py::array& x, Pair kernel, Pair stride, Padding padding, Pair dilation, bool ceil_mode,
                   bool count_include_pad, bool channels_last) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "avg_pool2d";
    const Pool2dShape shape(sizes(x, "x", op, channels_last), kernel, stride, padding, dilation, ceil_mode, op);
    const auto xs = dense_input<T>(x, "x");
    const auto run = in_lanes(shape, channels_last) ? avg_pool2d_last<T> : avg_pool2d<T>;
    return filled<T>(in_layout(shape.y(), channels_last), [&](T* y) { run(shape, count_include_pad, xs.data(), y); });
  });
}

py::array avg_pool_backward(const py::array& dy, const std::vector<std::int64_t>& x_shape, Pair kernel, Pair stride,
                            Padding padding, Pair dilation, bool ceil_mode, bool count_include_pad,
                            bool channels_last) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "avg_pool2d_backward";
    const Pool2dShape shape(shape4(x_shape, "input_shape", op), kernel, stride, padding, dilation, ceil_mode, op);
    require_shape(dy, as_vector(in_layout(shape.y(), channels_last)), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto run = in_lanes(shape, channels_last) ? avg_pool2d_backward_last<T> : avg_pool2d_backward<T>;
    return filled<T>(in_layout(shape.x(), channels_last),
                     [&](T* dx) { run(shape, count_include_pad, dys.data(), dx); });
  });
}

py::object adaptive_max_pool(const py::array& x, Pair output_size) {
  return with_dtype(x, "x", [&](auto t) -> py::object {
    using T = decltype(t);
    const char* op = "adaptive_max_pool2d";
    const AdaptivePool2dShape shape(shape4(x, "x", op), output_size, op);
    return maxima<T>(x, shape.y(), true, [&](const T* from, T* y, std::int64_t* places) {
      adaptive_max_pool2d<T>(shape, from, y, places);
    });
  });
}

// dy's own sizes are those of the windows.
AdaptivePool2dShape shape_behind(const py::array& dy, const std::vector<std::int64_t>& x_shape, const char* op) {
  const Shape4 outputs = shape4(dy, "dy", op);
  const AdaptivePool2dShape shape(shape4(x_shape, "input_shape", op), {outputs[2], outputs[3]}, op);
  require_shape(dy, as_vector(shape.y()), "dy", op);
  return shape;
}

py::array adaptive_max_pool_backward(const py::array& dy, const py::array& indices,
                                     const std::vector<std::int64_t>& x_shape) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "adaptive_max_pool2d_backward";
    const AdaptivePool2dShape shape = shape_behind(dy, x_shape, op);
    return maxima_backward<T>(dy, indices, shape.y(), shape.x(), op,
                              [&](const T* from, const std::int64_t* places, T* dx) {
                                adaptive_max_pool2d_backward<T>(shape, from, places, dx);
                              });
  });
}

py::array adaptive_avg_pool(const py::array& x, Pair output_size) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "adaptive_avg_pool2d";
    const AdaptivePool2dShape shape(shape4(x, "x", op), output_size, op);
    const auto xs = dense_input<T>(x, "x");
    return filled<T>(shape.y(), [&](T* y) { adaptive_avg_pool2d<T>(shape, xs.data(), y); });
  });
}

py::array adaptive_avg_pool_backward(const py::array& dy, const std::vector<std::int64_t>& x_shape) {
  return with_dtype(dy, "dy", [&](auto t) -> py::array {
    using T = decltype(t);
    const AdaptivePool2dShape shape = shape_behind(dy, x_shape, "adaptive_avg_pool2d_backward");
    const auto dys = dense_input<T>(dy, "dy");
    return filled<T>(shape.x(), [&](T* dx) { adaptive_avg_pool2d_backward<T>(shape, dys.data(), dx); });
  });
}

}  // namespace

void bind_pool2d(py::module_& m) {
  py::class_<Pool2dShape>(m, "Pool2dShape")
      .def(py::init([](const std::vector<std::int64_t>& x, Pair kernel, Pair stride, Padding padding, Pair dilation,
                       bool ceil_mode, const std::string& op) {
             return Pool2dShape(shape4(x, "x", op.c_str()), kernel, stride, padding, dilation, ceil_mode, op.c_str());
           }),
           py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("ceil_mode"), py::arg("op") = "max_pool2d")
      .def_property_readonly("x", [](const Pool2dShape& s) { return py::tuple(py::cast(s.x())); })
      .def_property_readonly("y", [](const Pool2dShape& s) { return py::tuple(py::cast(s.y())); })
      .def_property_readonly("kernel", [](const Pool2dShape& s) { return py::make_tuple(s.k_h, s.k_w); })
      .def_property_readonly("stride", [](const Pool2dShape& s) { return py::make_tuple(s.stride_h, s.stride_w); })
      .def_property_readonly(
          "padding",
          [](const Pool2dShape& s) { return py::make_tuple(s.pad_top, s.pad_bottom, s.pad_left, s.pad_right); })
      .def_property_readonly("dilation",
                             [](const Pool2dShape& s) { return py::make_tuple(s.dilation_h, s.dilation_w); });

  const auto max_pool_arguments = [](bool with_indices) {
    return [with_indices](const py::array& x, Pair kernel, Pair stride, Padding padding, Pair dilation, bool ceil_mode,
                          bool channels_last) {
      return max_pool(x, kernel, stride, padding, dilation, ceil_mode, with_indices, channels_last);
    };
  };
  m.def("max_pool2d", max_pool_arguments(false), py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("ceil_mode"), py::arg("channels_last"));
  m.def("max_pool2d_with_indices", max_pool_arguments(true), py::arg("x"), py::arg("kernel"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"), py::arg("channels_last"));
  m.def("max_pool2d_backward", &max_pool_backward, py::arg("dy"), py::arg("indices"), py::arg("x_shape"),
        py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"),
        py::arg("channels_last"));
  m.def("avg_pool2d", &avg_pool, py::arg("x"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("channels_last"));
  m.def("avg_pool2d_backward", &avg_pool_backward, py::arg("dy"), py::arg("x_shape"), py::arg("kernel"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"), py::arg("count_include_pad"),
        py::arg("channels_last"));
  m.def("adaptive_max_pool2d", &adaptive_max_pool, py::arg("x"), py::arg("output_size"));
  m.def("adaptive_max_pool2d_backward", &adaptive_max_pool_backward, py::arg("dy"), py::arg("indices"),
        py::arg("x_shape"));
  m.def("adaptive_avg_pool2d", &adaptive_avg_pool, py::arg("x"), py::arg("output_size"));
  m.def("adaptive_avg_pool2d_backward", &adaptive_avg_pool_backward, py::arg("dy"), py::arg("x_shape"));
}

}  // namespace convnet::bindings
