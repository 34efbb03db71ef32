// Steps of optimizers, in place: the only functions that write into arrays that are given.
#include "../ops/optimizers.h"

#include <algorithm>
#include <initializer_list>

#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

// Whether memory can be taken as it lies: plain ndarrays of one shape and one dtype, float32 or float64 in native
// byte order, dense, aligned and, but for the gradient, writable.
bool plain(const py::array& param, const py::array& grad, std::initializer_list<const py::array*> slots) {
  const int kind = param.dtype().num();
  if (kind != py::detail::npy_api::NPY_FLOAT_ && kind != py::detail::npy_api::NPY_DOUBLE_) return false;
  const auto fits = [&](const py::array& a, bool written) {
    using api = py::detail::npy_api;
    const int wanted = py::array::c_style | api::NPY_ARRAY_ALIGNED_ | (written ? api::NPY_ARRAY_WRITEABLE_ : 0);
    return Py_TYPE(a.ptr()) == api::get().PyArray_Type_ && a.dtype().num() == kind && a.dtype().byteorder() == '=' &&
           (a.flags() & wanted) == wanted && a.ndim() == param.ndim() &&
           std::equal(a.shape(), a.shape() + a.ndim(), param.shape());
  };
  return fits(param, true) && fits(grad, false) &&
         std::all_of(slots.begin(), slots.end(), [&](const py::array* slot) { return fits(*slot, true); });
}

template <class T>
T* data(py::array& a) {
  return static_cast<T*>(a.mutable_data());
}

bool sgd_step(py::array& param, const py::array& grad, std::optional<py::array>& velocity, double rate, double momentum,
              bool nesterov, double weight_decay) {
  if (!plain(param, grad, {velocity ? &*velocity : &param})) return false;
  return with_dtype(param, "param", [&](auto t) {
    using T = decltype(t);
    const SgdStep<T> step{data<T>(param),
                          static_cast<const T*>(grad.data()),
                          velocity ? data<T>(*velocity) : nullptr,
                          T(rate),
                          T(momentum),
                          nesterov,
                          T(weight_decay)};
    const std::int64_t count = param.size();
    NoGil release;
    convnet::sgd_step<T>(step, count);
    return true;
  });
}

bool adam_step(py::array& param, const py::array& grad, py::array& m, py::array& v, double rate, double shrink,
               double beta1, double beta2, double root_scale, double eps) {
  if (!plain(param, grad, {&m, &v})) return false;
  return with_dtype(param, "param", [&](auto t) {
    using T = decltype(t);
    const AdamStep<T> step{data<T>(param), static_cast<const T*>(grad.data()),
                           data<T>(m),     data<T>(v),
                           T(rate),        T(shrink),
                           T(beta1),       T(1 - beta1),
                           T(beta2),       T(1 - beta2),
                           T(root_scale),  T(eps)};
    const std::int64_t count = param.size();
    NoGil release;
    convnet::adam_step<T>(step, count);
    return true;
  });
}

bool rmsprop_step(py::array& param, const py::array& grad, py::array& v, std::optional<py::array>& velocity,
                  double rate, double rho, double eps, double momentum, double weight_decay) {
  if (!plain(param, grad, {&v, velocity ? &*velocity : &v})) return false;
  return with_dtype(param, "param", [&](auto t) {
    using T = decltype(t);
    const RmspropStep<T> step{data<T>(param), static_cast<const T*>(grad.data()),
                              data<T>(v),     velocity ? data<T>(*velocity) : nullptr,
                              T(rate),        T(rho),
                              T(1 - rho),     T(eps),
                              T(momentum),    T(weight_decay)};
    const std::int64_t count = param.size();
    NoGil release;
    convnet::rmsprop_step<T>(step, count);
    return true;
  });
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def("sgd_step", &sgd_step, py::arg("param"), py::arg("grad"), py::arg("velocity"), py::arg("rate"),
        py::arg("momentum"), py::arg("nesterov"), py::arg("weight_decay"));
  m.def("adam_step", &adam_step, py::arg("param"), py::arg("grad"), py::arg("m"), py::arg("v"), py::arg("rate"),
        py::arg("shrink"), py::arg("beta1"), py::arg("beta2"), py::arg("root_scale"), py::arg("eps"));
  m.def("rmsprop_step", &rmsprop_step, py::arg("param"), py::arg("grad"), py::arg("v"), py::arg("velocity"),
        py::arg("rate"), py::arg("rho"), py::arg("eps"), py::arg("momentum"), py::arg("weight_decay"));
}

}  // namespace convnet::bindings
