// Activations, softmax and the classification loss.
#include "../ops/activations.h"

#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

// y = compute(x), elementwise
template <class Compute>
py::array elementwise(const py::array& x, Compute&& compute) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const auto xs = dense_input<T>(x, "x");
    auto y = output<T>(shape_of(x));
    T* const to = y.mutable_data();
    {
      NoGil release;
      compute(xs.data(), std::int64_t(xs.size()), to);
    }
    return y;
  });
}

// dx = compute(dy, at), elementwise; `at` is the operation's input or output, as `name` says
template <class Compute>
py::array elementwise_backward(const char* op, const py::array& dy, const py::array& at, const char* name,
                               Compute&& compute) {
  return with_dtype(at, name, [&](auto t) -> py::array {
    using T = decltype(t);
    require_shape(dy, shape_of(at), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto places = dense_input<T>(at, name);
    auto dx = output<T>(shape_of(at));
    T* const to = dx.mutable_data();
    {
      NoGil release;
      compute(dys.data(), places.data(), std::int64_t(places.size()), to);
    }
    return dx;
  });
}

// The same for each row of a matrix: compute(rows, columns, x, y)
template <class Compute>
py::array rowwise(const char* op, const py::array& x, Compute&& compute) {
  require(x.ndim() == 2, op, ": x must have 2 dimensions, got shape ", shape_text(x));
  const std::int64_t rows = x.shape(0), columns = x.shape(1);
  return elementwise(x, [&](const auto* from, std::int64_t, auto* to) { compute(rows, columns, from, to); });
}

template <class Compute>
py::array rowwise_backward(const char* op, const py::array& dy, const py::array& y, Compute&& compute) {
  require(y.ndim() == 2, op, ": y must have 2 dimensions, got shape ", shape_text(y));
  const std::int64_t rows = y.shape(0), columns = y.shape(1);
  return elementwise_backward(op, dy, y, "y", [&](const auto* dys, const auto* ys, std::int64_t, auto* to) {
    compute(rows, columns, dys, ys, to);
  });
}

py::array relu(const py::array& x) {
  return elementwise(x, [](const auto* from, std::int64_t count, auto* to) { convnet::relu(from, count, to); });
}

py::array relu_backward(const py::array& dy, const py::array& x) {
  return elementwise_backward("relu_backward", dy, x, "x",
                              [](const auto* dys, const auto* xs, std::int64_t count, auto* to) {
                                convnet::relu_backward(dys, xs, count, to);
                              });
}

py::array leaky_relu(const py::array& x, double slope) {
  return elementwise(x, [&](const auto* from, std::int64_t count, auto* to) {
    convnet::leaky_relu(from, std::decay_t<decltype(*from)>(slope), count, to);
  });
}

py::array leaky_relu_backward(const py::array& dy, const py::array& y, double slope) {
  return elementwise_backward("leaky_relu_backward", dy, y, "y",
                              [&](const auto* dys, const auto* ys, std::int64_t count, auto* to) {
                                convnet::leaky_relu_backward(dys, ys, std::decay_t<decltype(*dys)>(slope), count, to);
                              });
}

py::array sigmoid(const py::array& x) {
  return elementwise(x, [](const auto* from, std::int64_t count, auto* to) { convnet::sigmoid(from, count, to); });
}

py::array sigmoid_backward(const py::array& dy, const py::array& y) {
  return elementwise_backward("sigmoid_backward", dy, y, "y",
                              [](const auto* dys, const auto* ys, std::int64_t count, auto* to) {
                                convnet::sigmoid_backward(dys, ys, count, to);
                              });
}

py::array tanh(const py::array& x) {
  return elementwise(x, [](const auto* from, std::int64_t count, auto* to) { convnet::tanh(from, count, to); });
}

py::array tanh_backward(const py::array& dy, const py::array& y) {
  return elementwise_backward("tanh_backward", dy, y, "y",
                              [](const auto* dys, const auto* ys, std::int64_t count, auto* to) {
                                convnet::tanh_backward(dys, ys, count, to);
                              });
}

py::array softmax(const py::array& x) {
  return rowwise("softmax", x, [](std::int64_t rows, std::int64_t columns, const auto* from, auto* to) {
    convnet::softmax(rows, columns, from, to);
  });
}

py::array softmax_backward(const py::array& dy, const py::array& y) {
  return rowwise_backward("softmax_backward", dy, y,
                          [](std::int64_t rows, std::int64_t columns, const auto* dys, const auto* ys, auto* to) {
                            convnet::softmax_backward(rows, columns, dys, ys, to);
                          });
}

py::array log_softmax(const py::array& x) {
  return rowwise("log_softmax", x, [](std::int64_t rows, std::int64_t columns, const auto* from, auto* to) {
    convnet::log_softmax(rows, columns, from, to);
  });
}

py::array log_softmax_backward(const py::array& dy, const py::array& y) {
  return rowwise_backward("log_softmax_backward", dy, y,
                          [](std::int64_t rows, std::int64_t columns, const auto* dys, const auto* ys, auto* to) {
                            convnet::log_softmax_backward(rows, columns, dys, ys, to);
                          });
}

py::tuple softmax_cross_entropy(const py::array& logits, const py::array& labels, double label_smoothing) {
  return with_dtype(logits, "logits", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const char* op = "softmax_cross_entropy";
    const auto ls = dense_input<T>(logits, "logits", op, 2);
    require_shape(labels, {ls.shape(0)}, "labels", op);
    const auto classes = dense_input<std::int64_t>(labels, "labels");
    auto dlogits = output<T>({ls.shape(0), ls.shape(1)});
    const std::int64_t n = ls.shape(0), count = ls.shape(1);
    T* const to = dlogits.mutable_data();
    double loss;
    {
      NoGil release;
      loss = convnet::softmax_cross_entropy<T>(n, count, label_smoothing, ls.data(), classes.data(), to);
    }
    return py::make_tuple(loss, dlogits);
  });
}

}  // namespace

void bind_activations(py::module_& m) {
  m.def("relu", &relu, py::arg("x"));
  m.def("relu_backward", &relu_backward, py::arg("dy"), py::arg("x"));
  m.def("leaky_relu", &leaky_relu, py::arg("x"), py::arg("slope"));
  m.def("leaky_relu_backward", &leaky_relu_backward, py::arg("dy"), py::arg("y"), py::arg("slope"));
  m.def("sigmoid", &sigmoid, py::arg("x"));
  m.def("sigmoid_backward", &sigmoid_backward, py::arg("dy"), py::arg("y"));
  m.def("tanh", &tanh, py::arg("x"));
  m.def("tanh_backward", &tanh_backward, py::arg("dy"), py::arg("y"));
  m.def("softmax", &softmax, py::arg("x"));
  m.def("softmax_backward", &softmax_backward, py::arg("dy"), py::arg("y"));
  m.def("log_softmax", &log_softmax, py::arg("x"));
  m.def("log_softmax_backward", &log_softmax_backward, py::arg("dy"), py::arg("y"));
  m.def("softmax_cross_entropy", &softmax_cross_entropy, py::arg("logits"), py::arg("labels"),
        py::arg("label_smoothing"));
}

}  // namespace convnet::bindings
