// A direct convolution as the sum of several, of some of the channels each: where taps lie far apart, channels in lanes
// keep all of an image's channels at hand (conv2d_channels_in_lanes.cpp), and many are too large for any cache.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kPartBytes = 5 << 19;  // of an image

template <class T>
std::int64_t parts_of(const Correlation& p) {
  return ceil_div(p.c * p.in_h * p.in_w * std::int64_t(sizeof(T)), kPartBytes);
}

template <class T>
class InParts final : public PackedCorrelation<T> {
 public:
  InParts(const Correlation& problem, const Weights<T>& weights) : p_(problem) {
    const std::int64_t parts = parts_of<T>(p_);
    for (std::int64_t i = 0; i < parts; ++i) {
      const std::int64_t first = p_.c * i / parts;
      Correlation part = p_;
      part.images = 1;
      part.c = p_.c * (i + 1) / parts - first;
      Weights<T> of_part = weights;
      if (of_part.data) of_part.data += first * of_part.c_stride;
      parts_.push_back({pack_channels_in_lanes<T>({{part, 0}}, of_part), first * p_.x_plane});
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Scratch<T> more(std::size_t(p_.y_image));
    for (std::int64_t image = 0; image < p_.images; ++image, x += p_.x_image, y += p_.y_image) {
      parts_[0].sum->run(x, bias, false, y);
      for (std::size_t i = 1; i < parts_.size(); ++i) {
        parts_[i].sum->run(x + parts_[i].first, nullptr, false, more.data());
        add(more.data(), relu && i + 1 == parts_.size(), y);
      }
    }
  }

  Explanation explain() const override {
    Explanation all = parts_[0].sum->explain();
    for (std::size_t i = 1; i < parts_.size(); ++i) all.packed_bytes += parts_[i].sum->explain().packed_bytes;
    all.workspace_bytes += p_.y_image * std::int64_t(sizeof(T));
    return all;
  }

 private:
  struct Part {
    std::unique_ptr<PackedCorrelation<T>> sum;
    std::int64_t first;  // element of x
  };

  void add(const T* more, bool relu, T* y) const {
    constexpr std::int64_t at_once = 16 << 10;
    const Kernels<T>& kernel = kernels<T>();
    parallel_for(ceil_div(p_.y_image, at_once), double(p_.y_image), [&](std::int64_t unit) {
      const std::int64_t first = unit * at_once, count = std::min(at_once, p_.y_image - first);
      kernel.axpby(T(1), y + first, T(1), more + first, count, y + first);
      if (relu) kernel.relu(y + first, count, y + first);
    });
  }

  Correlation p_;
  std::vector<Part> parts_;
};

}  // namespace

template <class T>
bool parts_pay(const Correlation& p) {
  const bool dense = p.y_column == 1 && p.y_row == p.out_w;
  const std::int64_t parts = parts_of<T>(p);
  if (p.channels_last || p.groups > 1 || !dense || parts == 1 || !leaves_zeros_out<T>(p)) return false;
  Correlation part = p;
  part.c = ceil_div(p.c, parts);
  return channels_in_lanes_pays<T>({{part, 0}});
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_in_parts(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<InParts<T>>(problem, weights);
}

#define CONVNET_INSTANTIATE(T)                    \
  template bool parts_pay<T>(const Correlation&); \
  template std::unique_ptr<PackedCorrelation<T>> pack_in_parts(const Correlation&, const Weights<T>&);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
