// Transposed convolution, and arrays from channels last to channels first and back.
#include "../ops/conv_transpose2d.h"

#include "../ops/conv2d.h"
#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

py::array conv_transpose2d(const py::array& x, const py::array& weight, const OptionalArray& bias, Pair stride,
                           Padding padding, Pair output_padding, Pair dilation, std::int64_t groups) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "conv_transpose2d";
    const Conv2dShape shape = conv_transpose2d_shape(shape4(x, "x", op), shape4(weight, "weight", op), stride, padding,
                                                     output_padding, dilation, groups, op);
    const auto xs = dense_input<T>(x, "x");
    const auto ws = dense_input<T>(weight, "weight");
    const auto bs = optional_vector<T>(bias, shape.c_in, "bias", op);
    auto y = output<T>(as_vector(shape.x()));
    T* const to = y.mutable_data();
    {
      NoGil release;
      convnet::conv_transpose2d<T>(shape, xs.data(), ws.data(), data_or_null(bs), to);
    }
    return y;
  });
}

py::tuple conv_transpose2d_backward(const py::array& dy, const py::array& x, const py::array& weight, Pair stride,
                                    Padding padding, Pair output_padding, Pair dilation, std::int64_t groups,
                                    std::array<bool, 3> needs) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const char* op = "conv_transpose2d_backward";
    const Conv2dShape shape = conv_transpose2d_shape(shape4(x, "x", op), shape4(weight, "weight", op), stride, padding,
                                                     output_padding, dilation, groups, op);
    require_shape(dy, as_vector(shape.x()), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto xs = dense_input<T>(x, "x");
    const auto ws = dense_input<T>(weight, "weight");
    std::optional<py::array_t<T>> dx, dw, db;
    if (needs[0]) dx = output<T>(as_vector(shape.y()));
    if (needs[1]) dw = output<T>(as_vector(shape.weight()));
    if (needs[2]) db = output<T>({shape.c_in});
    T* const dx_data = dx ? dx->mutable_data() : nullptr;
    T* const dw_data = dw ? dw->mutable_data() : nullptr;
    T* const db_data = db ? db->mutable_data() : nullptr;
    {
      NoGil release;
      if (dx_data) convnet::conv2d<T>(shape, Algorithm::automatic, dys.data(), ws.data(), nullptr, false, dx_data);
      if (dw_data) conv2d_backward_weight<T>(shape, Algorithm::automatic, xs.data(), dys.data(), dw_data);
      if (db_data) conv_transpose2d_backward_bias<T>(shape, dys.data(), db_data);
    }
    return py::make_tuple(dx, dw, db);
  });
}

}  // namespace

void bind_conv_transpose2d(py::module_& m) {
  m.def(
      "conv_transpose2d_shape",
      [](const std::vector<std::int64_t>& x, const std::vector<std::int64_t>& weight, Pair stride, Padding padding,
         Pair output_padding, Pair dilation, std::int64_t groups, const std::string& op) {
        return conv_transpose2d_shape(shape4(x, "x", op.c_str()), shape4(weight, "weight", op.c_str()), stride, padding,
                                      output_padding, dilation, groups, op.c_str());
      },
      py::arg("x"), py::arg("weight"), py::arg("stride"), py::arg("padding"), py::arg("output_padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("op") = "conv_transpose2d");
  m.def("conv_transpose2d", &conv_transpose2d, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
        py::arg("padding"), py::arg("output_padding"), py::arg("dilation"), py::arg("groups"));
  m.def("conv_transpose2d_backward", &conv_transpose2d_backward, py::arg("dy"), py::arg("x"), py::arg("weight"),
        py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("dilation"), py::arg("groups"),
        py::arg("needs"));
}

}  // namespace convnet::bindings
