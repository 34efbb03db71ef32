// Dilated kernels by Winograd, float32 only. Outputs of one residue class of the dilation read inputs of one residue
// class alone: by classes, or phases, the convolution is one of unit spacing on a batch of smaller images. An image's
// inputs are split into them, with their padding, and its outputs are put together again.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "division.h"
#include "winograd_tiles.h"

namespace convnet {
namespace {

constexpr double kMostBytes = 8 << 20;  // for phases of inputs and outputs
// Measured against direct with dilations of 2 to 12: 1.2 to 1.9 times faster for 64->64 at 56x56, 128->128 at 40x40 and
// more, dx 1.1 to 1.7, dw 1.0 to 1.6; 0.4 to 1.0 for 64->64 at 28x28 and 128->128 at 14x14, where the copies of planes
// cost more than the products save.
constexpr double kLeastWork = 8e6;  // of a tap, in an image

struct Dilation {
  std::int64_t h, w;
  Tap first;
  Correlation problem;  // of the phases, for one image; no taps where there is no such problem
  std::int64_t phases() const { return h * w; }
};

// A rectangle of taps whose rows or columns lie apart.
Dilation dilation_of(const Correlation& p) {
  const std::vector<Tap>& taps = p.taps;
  std::size_t columns = 1;
  while (columns < taps.size() && taps[columns].row == taps[0].row) ++columns;
  Dilation d{1, 1, taps[0], p};
  d.problem.taps.clear();
  if (p.step_h != 1 || p.step_w != 1 || columns == 1 || columns == taps.size()) return d;
  d.h = taps[columns].row - taps[0].row;
  d.w = taps[1].column - taps[0].column;
  if (d.phases() == 1) return d;
  for (std::size_t t = 0; t < taps.size(); ++t) {
    const std::int64_t row = std::int64_t(t / columns), column = std::int64_t(t % columns);
    if (taps[t].row != d.first.row + row * d.h || taps[t].column != d.first.column + column * d.w) {
      d.problem.taps.clear();
      return d;
    }
    d.problem.taps.push_back({row, column, taps[t].source});
  }
  Correlation& q = d.problem;
  q.images = d.phases();
  q.out_h = ceil_div(p.out_h, d.h);
  q.out_w = ceil_div(p.out_w, d.w);
  q.in_h = q.out_h + q.taps.back().row;
  q.in_w = q.out_w + q.taps.back().column;
  q.lay_out(p.channels_last);
  return d;
}

double bytes_of_phases(const Correlation& q) {
  return double(q.images) * double(q.x_image + q.y_image) * sizeof(float);
}

bool enough_work(const Correlation& p) {
  return double(p.c * p.k) * double(p.out_h * p.out_w) >= kLeastWork && share_inside(p) >= kLeastInside;
}

// One image's planes, of so many rows and columns, where they stand in it and in its phases.
struct Planes {
  std::int64_t channels, rows, columns;
  std::int64_t plane, row, column;
  std::int64_t phase_rows, phase_columns, phase_plane, phase_row;
};
Planes inputs_of(const Correlation& p, const Correlation& q) {
  return {p.groups * p.c, p.in_h, p.in_w, p.x_plane, p.x_row, p.x_column, q.in_h, q.in_w, q.x_plane, q.x_row};
}
Planes outputs_of(const Correlation& p, const Correlation& q) {
  return {p.groups * p.k, p.out_h, p.out_w, p.y_plane, p.y_row, p.y_column, q.out_h, q.out_w, q.y_plane, q.y_row};
}

// Phase (a, b)'s position (i, j) is (first_row + a + i·d.h, first_column + b + j·d.w), zero outside the image.
void split(const Planes& s, const Dilation& d, bool channels_last, std::int64_t first_row, std::int64_t first_column,
           const float* x, float* phases) {
  const Kernels<float>& kernel = kernels<float>();
  const std::int64_t size = s.channels * s.phase_rows * s.phase_columns;
  const std::int64_t pieces = channels_last ? s.phase_rows : s.channels;
  parallel_for(d.phases() * pieces, double(d.phases() * size), [&](std::int64_t unit) {
    const std::int64_t phase = unit / pieces, piece = unit % pieces;
    const std::int64_t row = first_row + phase / d.w, column = first_column + phase % d.w;
    const Real rows(row, d.h, s.rows, s.phase_rows), columns(column, d.w, s.columns, s.phase_columns);
    const float* from = x + (column + columns.begin * d.w) * s.column;
    float* to = phases + phase * size;
    if (channels_last) {
      to += piece * s.phase_row;
      const bool inside = rows.begin <= piece && piece < rows.end && columns.begin < columns.end;
      const std::int64_t left = inside ? columns.begin : s.phase_columns;
      std::fill_n(to, left * s.channels, 0.0f);
      if (!inside) return;
      kernel.copy_rows(from + (row + piece * d.h) * s.row, d.w * s.column, columns.end - columns.begin, s.channels,
                       to + left * s.channels, s.channels);
      std::fill(to + columns.end * s.channels, to + s.phase_row, 0.0f);
      return;
    }
    to += piece * s.phase_plane;
    from += piece * s.plane + (row + rows.begin * d.h) * s.row;
    fill_plane(padded_rows(from, d.h * s.row, d.w, rows, columns, s.phase_columns, s.phase_row), rows.begin, to,
               to + s.phase_plane);
  });
}

void put_together(const Planes& s, const Dilation& d, bool channels_last, const float* phases, float* y) {
  const Kernels<float>& kernel = kernels<float>();
  const std::int64_t size = s.channels * s.phase_rows * s.phase_columns, pieces = channels_last ? 1 : s.channels;
  parallel_for(s.rows * pieces, double(d.phases() * size), [&](std::int64_t unit) {
    const std::int64_t piece = unit / s.rows, row = unit % s.rows;
    const float* from = phases + row % d.h * d.w * size + row / d.h * s.phase_row + piece * s.phase_plane;
    float* const to = y + piece * s.plane + row * s.row;
    const std::int64_t whole = s.columns / d.w, rest = s.columns % d.w;
    if (!channels_last) kernel.transpose(from, size, d.w, whole, to, d.w);
    for (std::int64_t b = 0; b < d.w; ++b, from += size) {
      if (channels_last)
        kernel.copy_rows(from, s.channels, whole + (b < rest), s.channels, to + b * s.channels, d.w * s.channels);
      else if (b < rest)
        to[whole * d.w + b] = from[whole];
    }
  });
}

class Dilated final : public PackedCorrelation<float> {
 public:
  Dilated(const Correlation& problem, const Weights<float>& weights)
      : problem_(problem),
        dilation_(dilation_of(problem)),
        phases_(pack_winograd(dilation_.problem, weights, dilation_.phases())) {}

  void run(const float* x, const float* bias, bool relu, float* y) const override {
    const Correlation &p = problem_, &q = dilation_.problem;
    const Scratch<float> inputs(std::size_t(q.images * q.x_image)), outputs(std::size_t(q.images * q.y_image));
    for (std::int64_t image = 0; image < p.images; ++image) {
      split(inputs_of(p, q), dilation_, p.channels_last, dilation_.first.row, dilation_.first.column,
            x + image * p.x_image, inputs.data());
      phases_->run(inputs.data(), bias, relu, outputs.data());
      put_together(outputs_of(p, q), dilation_, p.channels_last, outputs.data(), y + image * p.y_image);
    }
  }

  Explanation explain() const override {
    Explanation e = phases_->explain();
    e.workspace_bytes += std::int64_t(bytes_of_phases(dilation_.problem));
    return e;
  }

 private:
  Correlation problem_;
  Dilation dilation_;
  std::unique_ptr<PackedCorrelation<float>> phases_;
};

}  // namespace

bool dilated_pays(const Correlation& p) {
  if (!enough_work(p)) return false;
  const Correlation q = dilation_of(p).problem;
  return !q.taps.empty() && bytes_of_phases(q) <= kMostBytes && p.y_column == (p.channels_last ? p.groups * p.k : 1) &&
         little_padding(p) && winograd_serves(q) && winograd_pays(q, q.images);
}

std::unique_ptr<PackedCorrelation<float>> pack_dilated(const Correlation& problem, const Weights<float>& weights) {
  return std::make_unique<Dilated>(problem, weights);
}

bool dilated_weight_gradient_pays(const Correlation& p) {
  if (!enough_work(p)) return false;
  Correlation q = dilation_of(p).problem;
  if (q.taps.empty() || !winograd_weight_gradient_serves(q)) return false;
  q.images *= p.images;
  return bytes_of_phases(q) <= kMostBytes && winograd_weight_gradient_pays(q);
}

void dilated_weight_gradient(const Correlation& p, const float* dy, const float* x, float* dw) {
  const Dilation d = dilation_of(p);
  Correlation q = d.problem;
  const std::int64_t x_size = q.images * q.x_image, y_size = q.images * q.y_image;
  const Scratch<float> inputs(std::size_t(p.images * x_size)), outputs(std::size_t(p.images * y_size));
  for (std::int64_t image = 0; image < p.images; ++image) {
    split(inputs_of(p, q), d, p.channels_last, d.first.row, d.first.column, x + image * p.x_image,
          inputs.data() + image * x_size);
    split(outputs_of(p, q), d, p.channels_last, 0, 0, dy + image * p.y_image, outputs.data() + image * y_size);
  }
  q.images *= p.images;
  winograd_weight_gradient(q, outputs.data(), inputs.data(), dw);
}

}  // namespace convnet
