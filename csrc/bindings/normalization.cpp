#include "../ops/normalization.h"

#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

Planes planes(const py::array& x, const char* op) {
  require(x.ndim() == 3, op, ": x must have 3 dimensions (N, C, positions), got shape ", shape_text(x));
  return {x.shape(0), x.shape(1), x.shape(2)};
}

template <class T>
Dense<T> channel_vector(const py::array& a, const Planes& shape, const char* name, const char* op) {
  require_shape(a, {shape.channels}, name, op);
  return dense_input<T>(a, name);
}

py::tuple batch_statistics(const py::array& x) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const Planes shape = planes(x, "batch_statistics");
    const auto xs = dense_input<T>(x, "x");
    auto mean = output<T>({shape.channels}), var = output<T>({shape.channels});
    T *const mean_data = mean.mutable_data(), *const var_data = var.mutable_data();
    {
      NoGil release;
      convnet::batch_statistics<T>(shape, xs.data(), mean_data, var_data);
    }
    return py::make_tuple(mean, var);
  });
}

py::array batch_norm(const py::array& x, const py::array& gamma, const py::array& beta, const py::array& mean,
                     const py::array& var, double eps) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "batch_norm";
    const Planes shape = planes(x, op);
    const auto xs = dense_input<T>(x, "x");
    const auto gammas = channel_vector<T>(gamma, shape, "gamma", op);
    const auto betas = channel_vector<T>(beta, shape, "beta", op);
    const auto means = channel_vector<T>(mean, shape, "mean", op);
    const auto vars = channel_vector<T>(var, shape, "var", op);
    auto y = output<T>(shape_of(x));
    T* const to = y.mutable_data();
    {
      NoGil release;
      convnet::batch_norm<T>(shape, xs.data(), gammas.data(), betas.data(), means.data(), vars.data(), T(eps), to);
    }
    return y;
  });
}

py::tuple batch_norm_backward(const py::array& dy, const py::array& x, const py::array& gamma, const py::array& mean,
                              const py::array& var, double eps, bool of_batch) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const char* op = "batch_norm_backward";
    const Planes shape = planes(x, op);
    require_shape(dy, shape_of(x), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto xs = dense_input<T>(x, "x");
    const auto gammas = channel_vector<T>(gamma, shape, "gamma", op);
    const auto means = channel_vector<T>(mean, shape, "mean", op);
    const auto vars = channel_vector<T>(var, shape, "var", op);
    auto dx = output<T>(shape_of(x));
    auto dgamma = output<T>({shape.channels}), dbeta = output<T>({shape.channels});
    T *const dx_data = dx.mutable_data(), *const dgamma_data = dgamma.mutable_data(),
             *const dbeta_data = dbeta.mutable_data();
    {
      NoGil release;
      convnet::batch_norm_backward<T>(shape, dys.data(), xs.data(), gammas.data(), means.data(), vars.data(), T(eps),
                                      of_batch, dx_data, dgamma_data, dbeta_data);
    }
    return py::make_tuple(dx, dgamma, dbeta);
  });
}

py::array local_response_norm(const py::array& x, std::int64_t size, double alpha, double beta, double k) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "local_response_norm";
    const Planes shape = planes(x, op);
    require(size >= 1, op, ": size must be at least 1, got ", size);
    const auto xs = dense_input<T>(x, "x");
    auto y = output<T>(shape_of(x));
    T* const to = y.mutable_data();
    {
      NoGil release;
      convnet::local_response_norm<T>(shape, {size, alpha, beta, k}, xs.data(), to);
    }
    return y;
  });
}

py::array local_response_norm_backward(const py::array& dy, const py::array& x, std::int64_t size, double alpha,
                                       double beta, double k) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const char* op = "local_response_norm_backward";
    const Planes shape = planes(x, op);
    require(size >= 1, op, ": size must be at least 1, got ", size);
    require_shape(dy, shape_of(x), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto xs = dense_input<T>(x, "x");
    auto dx = output<T>(shape_of(x));
    T* const to = dx.mutable_data();
    {
      NoGil release;
      convnet::local_response_norm_backward<T>(shape, {size, alpha, beta, k}, dys.data(), xs.data(), to);
    }
    return dx;
  });
}

}  // namespace

void bind_normalization(py::module_& m) {
  m.def("batch_statistics", &batch_statistics, py::arg("x"));
  m.def("batch_norm", &batch_norm, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("mean"), py::arg("var"),
        py::arg("eps"));
  m.def("batch_norm_backward", &batch_norm_backward, py::arg("dy"), py::arg("x"), py::arg("gamma"), py::arg("mean"),
        py::arg("var"), py::arg("eps"), py::arg("of_batch"));
  m.def("local_response_norm", &local_response_norm, py::arg("x"), py::arg("size"), py::arg("alpha"), py::arg("beta"),
        py::arg("k"));
  m.def("local_response_norm_backward", &local_response_norm_backward, py::arg("dy"), py::arg("x"), py::arg("size"),
        py::arg("alpha"), py::arg("beta"), py::arg("k"));
}

}  // namespace convnet::bindings
