// The Python face of the operations. Every function does the same five things: settle the dtype, check the shape, make
// the output, release the GIL, make one call.
#include <pybind11/stl.h>

#include <map>
#include <mutex>

#include "../kernels/kernels.h"
#include "../ops/activations.h"
#include "../ops/conv2d.h"
#include "../ops/gemm.h"
#include "../runtime/parallel.h"
#include "arrays.h"
#include "bindings.h"

namespace convnet::bindings {
namespace {

using Needs = std::array<bool, 3>;

template <class T>
py::array_t<T> output_or(const OptionalArray& out, const Shape4& shape, const char* op) {
  if (!out) return output<T>(as_vector(shape));
  require_shape(*out, as_vector(shape), "out", op);
  require(out->writeable() && py::isinstance<Dense<T>>(*out), op,
          ": out must be a writable C-contiguous array of x's dtype");
  return py::reinterpret_borrow<py::array_t<T>>(*out);
}

// ---------------------------------------------------------------- convolution

// Sizes are told in NCHW whatever the layout.
Conv2dShape conv2d_shape(const py::array& x, const py::array& weight, Pair stride, Padding padding, Pair dilation,
                         std::int64_t groups, const char* op, bool channels_last) {
  Shape4 xs = shape4(x, "x", op), ws = shape4(weight, "weight", op);
  if (channels_last) {
    xs = {xs[0], xs[3], xs[1], xs[2]};
    ws = {ws[3], ws[2], ws[0], ws[1]};
  }
  Conv2dShape shape(xs, ws, stride, padding, dilation, groups, op);
  shape.channels_last = channels_last;
  return shape;
}

Shape4 y_shape(const Conv2dShape& s) { return s.channels_last ? Shape4{s.n, s.o_h, s.o_w, s.c_out} : s.y(); }

py::array conv2d(const py::array& x, const py::array& weight, const OptionalArray& bias, Pair stride, Padding padding,
                 Pair dilation, std::int64_t groups, bool relu, const std::string& algorithm, const OptionalArray& out,
                 bool channels_last) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const Conv2dShape shape = conv2d_shape(x, weight, stride, padding, dilation, groups, "conv2d", channels_last);
    const auto xs = dense_input<T>(x, "x");
    const auto ws = dense_input<T>(weight, "weight");
    const auto bs = optional_vector<T>(bias, shape.c_out, "bias", "conv2d");
    const Algorithm how = algorithm_named(algorithm.c_str());
    auto y = output_or<T>(out, y_shape(shape), "conv2d");
    T* const to = y.mutable_data();
    {
      NoGil release;
      convnet::conv2d<T>(shape, how, xs.data(), ws.data(), data_or_null(bs), relu, to);
    }
    return y;
  });
}

py::tuple explain_conv2d(const Conv2dShape& shape, bool is_float32, const std::string& algorithm) {
  const Algorithm asked = algorithm_named(algorithm.c_str());
  const Explanation e = is_float32 ? pack_conv2d<float>(shape, asked, nullptr)->explain()
                                   : pack_conv2d<double>(shape, asked, nullptr)->explain();
  return py::make_tuple(e.algorithm, isa_in_use(), py::make_tuple(e.tile_rows, e.tile_columns), e.packed_bytes,
                        e.workspace_bytes);
}

py::tuple conv2d_backward(const py::array& dy, const py::array& x, const py::array& weight, Pair stride,
                          Padding padding, Pair dilation, std::int64_t groups, Needs needs,
                          const std::string& algorithm, bool channels_last) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const char* op = "conv2d_backward";
    const Conv2dShape shape = conv2d_shape(x, weight, stride, padding, dilation, groups, op, channels_last);
    require_shape(dy, as_vector(y_shape(shape)), "dy", op);
    const auto dys = dense_input<T>(dy, "dy");
    const auto xs = dense_input<T>(x, "x");
    const auto ws = dense_input<T>(weight, "weight");
    const Algorithm how = algorithm_named(algorithm.c_str());
    require(how != Algorithm::reference, op,
            ": algorithm 'reference' has no backward; the naive backend is its oracle");
    py::object dx = py::none(), dw = py::none(), db = py::none();
    T *dx_data = nullptr, *dw_data = nullptr, *db_data = nullptr;
    const auto want = [](py::object& into, py::array_t<T> a) {
      T* data = a.mutable_data();
      into = std::move(a);
      return data;
    };
    if (needs[0]) dx_data = want(dx, output<T>(shape_of(x)));
    if (needs[1]) dw_data = want(dw, output<T>(shape_of(weight)));
    if (needs[2]) db_data = want(db, output<T>({shape.c_out}));
    {
      NoGil release;
      if (dx_data) conv2d_backward_input<T>(shape, how, dys.data(), ws.data(), dx_data);
      if (dw_data) conv2d_backward_weight<T>(shape, how, dys.data(), xs.data(), dw_data);
      if (db_data) conv2d_backward_bias<T>(shape, dys.data(), db_data);
    }
    return py::make_tuple(dx, dw, db);
  });
}

// Weights copied once, and packed once for each of the last few shapes of x.
class Conv2dPlan {
 public:
  Conv2dPlan(const py::array& weight, const OptionalArray& bias, Pair stride, Padding padding, Pair dilation,
             std::int64_t groups, bool relu, const std::string& algorithm)
      : stride_(stride),
        padding_(padding),
        dilation_(dilation),
        groups_(groups),
        relu_(relu),
        algorithm_(algorithm_named(algorithm.c_str())) {
    shape4(weight, "weight", "Conv2dPlan");
    with_dtype(weight, "weight", [&](auto t) {
      using T = decltype(t);
      weight_ = dense_input<T>(weight, "weight").attr("copy")();
      if (const auto b = optional_vector<T>(bias, weight.shape(0), "bias", "Conv2dPlan")) bias_ = b->attr("copy")();
    });
  }

  py::array operator()(const py::array& x, const OptionalArray& out) {
    return with_dtype(weight_, "weight", [&](auto t) -> py::array {
      using T = decltype(t);
      const Conv2dShape shape(shape4(x, "x", "Conv2dPlan"), shape4(weight_, "weight", "Conv2dPlan"), stride_, padding_,
                              dilation_, groups_, "Conv2dPlan");
      const auto xs = dense_input<T>(x, "x");
      auto y = output_or<T>(out, shape.y(), "Conv2dPlan");
      T* const to = y.mutable_data();
      const T* const weight = static_cast<const T*>(weight_.data());
      const T* const bias = bias_ ? static_cast<const T*>(bias_->data()) : nullptr;
      {
        NoGil release;
        packed<T>(shape, weight)->run(xs.data(), bias, relu_, to);
      }
      return y;
    });
  }

 private:
  template <class T>
  using Packed = std::map<Shape4, std::shared_ptr<const PackedCorrelation<T>>>;

  template <class T>
  Packed<T>& packed_by_shape() {
    if constexpr (std::is_same_v<T, float>)
      return packed_f32_;
    else
      return packed_f64_;
  }

  template <class T>
  std::shared_ptr<const PackedCorrelation<T>> packed(const Conv2dShape& shape, const T* weight) {
    constexpr std::size_t most = 4;
    std::lock_guard guard(lock_);
    auto& known = packed_by_shape<T>();
    auto& entry = known[shape.x()];
    if (!entry) {
      std::shared_ptr<const PackedCorrelation<T>> made = pack_conv2d(shape, algorithm_, weight);
      if (known.size() > most) known.clear();
      known[shape.x()] = made;
      return made;
    }
    return entry;
  }

  py::array weight_;
  OptionalArray bias_;
  Pair stride_;
  Padding padding_;
  Pair dilation_;
  std::int64_t groups_;
  bool relu_;
  Algorithm algorithm_;
  std::mutex lock_;
  Packed<float> packed_f32_;
  Packed<double> packed_f64_;
};

// ---------------------------------------------------------------- matrix products

py::array gemm(const py::array& a, const py::array& b, const OptionalArray& c, double alpha, double beta, bool trans_a,
               bool trans_b) {
  return with_dtype(a, "a", [&](auto t) -> py::array {
    using T = decltype(t);
    const auto as = dense_input<T>(a, "a", "gemm", 2);
    const auto bs = dense_input<T>(b, "b", "gemm", 2);
    const std::int64_t a_columns = as.shape(1), b_columns = bs.shape(1);
    const std::int64_t m = as.shape(trans_a ? 1 : 0), k = as.shape(trans_a ? 0 : 1), n = bs.shape(trans_b ? 0 : 1);
    require(bs.shape(trans_b ? 1 : 0) == k, "gemm: the inner sizes differ, ", k, " and ", bs.shape(trans_b ? 1 : 0),
            "; a ", shape_text(a), trans_a ? " transposed" : "", ", b ", shape_text(b), trans_b ? " transposed" : "");
    checked_size({m, n, 1, 1}, "gemm", "the output");
    std::optional<Dense<T>> cs;
    if (c) require_shape(*c, {m, n}, "c", "gemm");
    if (c && beta != 0) cs = dense_input<T>(*c, "c");  // as in BLAS, beta = 0 leaves c unread, NaN and all
    auto y = output<T>({m, n});
    T* const to = y.mutable_data();
    {
      NoGil release;
      const Matrix<T> left = trans_a ? Matrix<T>{as.data(), 1, a_columns} : Matrix<T>{as.data(), a_columns, 1};
      const Matrix<T> right = trans_b ? Matrix<T>{bs.data(), 1, b_columns} : Matrix<T>{bs.data(), b_columns, 1};
      convnet::gemm<T>(m, n, k, left, right, false, false, to);
      if (cs || alpha != 1.0) scale_and_add<T>(m * n, T(alpha), T(beta), data_or_null(cs), to);
    }
    return y;
  });
}

py::array dense(const py::array& x, const py::array& weight, const OptionalArray& bias, bool relu) {
  return with_dtype(x, "x", [&](auto t) -> py::array {
    using T = decltype(t);
    const auto xs = dense_input<T>(x, "x", "dense", 2);
    const auto ws = dense_input<T>(weight, "weight", "dense", 2);
    const std::int64_t m = xs.shape(0), in = xs.shape(1), out = ws.shape(1);
    require(ws.shape(0) == in, "dense: x has ", in, " features but weight expects ", ws.shape(0), "; x ", shape_text(x),
            ", weight ", shape_text(weight));
    const auto bs = optional_vector<T>(bias, out, "bias", "dense");
    checked_size({m, out, 1, 1}, "dense", "the output");
    auto y = output<T>({m, out});
    T* const to = y.mutable_data();
    {
      NoGil release;
      convnet::dense<T>(m, in, out, xs.data(), ws.data(), data_or_null(bs), relu, to);
    }
    return y;
  });
}

py::tuple dense_backward(const py::array& dy, const py::array& x, const py::array& weight, Needs needs) {
  return with_dtype(x, "x", [&](auto t) -> py::tuple {
    using T = decltype(t);
    const auto xs = dense_input<T>(x, "x", "dense_backward", 2);
    const auto ws = dense_input<T>(weight, "weight", "dense_backward", 2);
    const std::int64_t m = xs.shape(0), in = xs.shape(1), out = ws.shape(1);
    require(ws.shape(0) == in, "dense_backward: x has ", in, " features but weight expects ", ws.shape(0), "; x ",
            shape_text(x), ", weight ", shape_text(weight));
    require_shape(dy, {m, out}, "dy", "dense_backward");
    const auto dys = dense_input<T>(dy, "dy");
    std::optional<py::array_t<T>> dx, dw, db;
    if (needs[0]) dx = output<T>({m, in});
    if (needs[1]) dw = output<T>({in, out});
    if (needs[2]) db = output<T>({out});
    T* const dx_data = dx ? dx->mutable_data() : nullptr;
    T* const dw_data = dw ? dw->mutable_data() : nullptr;
    T* const db_data = db ? db->mutable_data() : nullptr;
    {
      NoGil release;
      convnet::dense_backward<T>(m, in, out, dys.data(), xs.data(), ws.data(), dx_data, dw_data, db_data);
    }
    return py::make_tuple(dx, dw, db);
  });
}

py::dict build_info() {
  py::list built;
  for (const char* const* name = isas(); *name; ++name) built.append(*name);
  py::dict info;
  info["version"] = CONVNET_VERSION;
  info["compiler"] = CONVNET_COMPILER;
  info["isa"] = isa_in_use();
  info["isas"] = built;
  info["threads"] = num_threads();
  info["threading"] = threading();
  info["openmp"] = std::string(threading()) == "openmp";
  return info;
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core: see _core.pyi for the contract.";
  m.attr("__version__") = CONVNET_VERSION;
  isa_in_use();  // a CONVNET_ISA that cannot be served fails the import, not the first call

  py::class_<Conv2dShape>(m, "Conv2dShape")
      .def(py::init([](const std::vector<std::int64_t>& x, const std::vector<std::int64_t>& weight, Pair stride,
                       Padding padding, Pair dilation, std::int64_t groups, const std::string& op) {
             return Conv2dShape(shape4(x, "x", op.c_str()), shape4(weight, "weight", op.c_str()), stride, padding,
                                dilation, groups, op.c_str());
           }),
           py::arg("x"), py::arg("weight"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("groups"), py::arg("op") = "conv2d")
      .def_property_readonly("x", [](const Conv2dShape& s) { return py::tuple(py::cast(s.x())); })
      .def_property_readonly("weight", [](const Conv2dShape& s) { return py::tuple(py::cast(s.weight())); })
      .def_property_readonly("y", [](const Conv2dShape& s) { return py::tuple(py::cast(s.y())); })
      .def_property_readonly("stride", [](const Conv2dShape& s) { return py::make_tuple(s.stride_h, s.stride_w); })
      .def_property_readonly(
          "padding",
          [](const Conv2dShape& s) { return py::make_tuple(s.pad_top, s.pad_bottom, s.pad_left, s.pad_right); })
      .def_property_readonly("dilation",
                             [](const Conv2dShape& s) { return py::make_tuple(s.dilation_h, s.dilation_w); })
      .def_property_readonly("groups", [](const Conv2dShape& s) { return s.groups; })
      .def_property_readonly("macs", [](const Conv2dShape& s) {
        return py::int_(s.n * s.c_out * s.out_plane()) * py::int_(s.reduction());  // exact beyond 2^63
      });

  py::class_<Conv2dPlan>(m, "Conv2dPlan")
      .def(py::init<const py::array&, const OptionalArray&, Pair, Padding, Pair, std::int64_t, bool,
                    const std::string&>(),
           py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("groups"), py::arg("relu"), py::arg("algorithm"))
      .def("__call__", &Conv2dPlan::operator(), py::arg("x"), py::arg("out") = py::none());

  m.def("conv2d", &conv2d, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("groups"), py::arg("relu"), py::arg("algorithm"), py::arg("out"),
        py::arg("channels_last") = false);
  m.def("explain_conv2d", &explain_conv2d, py::arg("shape"), py::arg("is_float32"), py::arg("algorithm"));
  m.def("conv2d_backward", &conv2d_backward, py::arg("dy"), py::arg("x"), py::arg("weight"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("needs"), py::arg("algorithm"),
        py::arg("channels_last") = false);
  m.def("gemm", &gemm, py::arg("a"), py::arg("b"), py::arg("c"), py::arg("alpha"), py::arg("beta"), py::arg("trans_a"),
        py::arg("trans_b"));
  m.def("dense", &dense, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("relu"));
  m.def("dense_backward", &dense_backward, py::arg("dy"), py::arg("x"), py::arg("weight"), py::arg("needs"));
  bind_activations(m);
  bind_conv_transpose2d(m);
  bind_normalization(m);
  bind_optimizers(m);
  bind_pool2d(m);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("get_num_threads", &num_threads);
  m.def("build_info", &build_info);
}

}  // namespace convnet::bindings
