// The one engine behind forward and input gradient: every output position sums, over channels and taps, a weight
// times the input at that position's place for the tap.
//
//   y[k, i, j] = bias[k] + sum over channels c and taps t of A[k, c, t] · x[c, i·step_h + t.row, j·step_w + t.column]
//
// with x zero outside its image. Forward has one tap for each kernel element; the input gradient of a strided
// convolution is one correlation for each output phase, with the taps that reach it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace convnet {

struct Tap {
  std::int64_t row, column;  // where output (0, 0) reads; negative inside the padding
  std::int64_t source;       // of this tap's weight, see Weights
};

struct Correlation {
  std::int64_t images, groups;
  std::int64_t c, in_h, in_w;    // input channels of a group
  std::int64_t k, out_h, out_w;  // output channels of a group
  std::int64_t step_h, step_w;
  std::vector<Tap> taps;  // at least one, from the top left corner on
  bool channels_last;     // x_plane and y_plane are 1
  bool padding_counts;    // what is not finite among the weights reaches y through the zeros around x, too
  // Where the elements stand: the planes of one image, and a plane's rows and columns
  std::int64_t x_image, x_plane, x_row, x_column;
  std::int64_t y_image, y_plane, y_row, y_column;

  // Dense arrays; one channel each lies the same either way.
  void lay_out(bool last) {
    const std::int64_t x_channels = groups * c, y_channels = groups * k;
    channels_last = last && (x_channels > 1 || y_channels > 1);
    x_image = x_channels * in_h * in_w;
    x_plane = last ? 1 : in_h * in_w;
    x_column = last ? x_channels : 1;
    x_row = in_w * x_column;
    y_image = y_channels * out_h * out_w;
    y_plane = last ? 1 : out_h * out_w;
    y_column = last ? y_channels : 1;
    y_row = out_w * y_column;
  }

  std::int64_t reduction() const { return c * std::int64_t(taps.size()); }
  double macs() const {
    return double(images) * double(groups) * double(k) * double(out_h) * double(out_w) * double(reduction());
  }
};

// Rows (&Tap::row) or columns of the input that an output reads, from output 0's place on.
struct TapExtent {
  std::int64_t first, count;
};
TapExtent tap_extent(const Correlation& problem, std::int64_t Tap::* place);

// One tap, which every output finds inside the image: what it reads needs no padding.
bool one_tap_inside(const Correlation& problem);
// The same where each position is read by its own output.
bool reads_every_position(const Correlation& problem);
// Of the products, how many meet x rather than the zeros around it: from 0 to 1. With less than this much channels in
// lanes leave the others out; measured with dilations of 12 and 18 at 33x33, 1.8 to 7 times faster than Winograd.
constexpr double kLeastInside = 0.7;
double share_inside(const Correlation& problem);
// Whether these are left out of a correlation of unit steps. Sums of a tap each are rounded less than those of several:
// Winograd's rounding is promised to be within four times direct's, so that those of direct stay as they are where it
// serves, but on maps smaller than its tiles.
template <class T>
bool leaves_zeros_out(const Correlation& problem);
// Whether nothing goes missing with them, for a zero times what is not finite is none: of so many rows, dense. May say
// no to numbers whose squares are too large.
template <class T>
bool all_finite(const T* rows, std::int64_t count, std::int64_t size);

// Outputs of one residue class of the stride, as the input gradient has them: the first one stands at y[first], in this
// column.
struct OutputPhase {
  Correlation problem;
  std::int64_t first;
  std::int64_t column = 0;
};
// Whether they are all columns' phases of planes for each of some rows, row by row: these take turns in y's rows.
bool take_turns(const std::vector<OutputPhase>& phases);
// All taps, phase by phase, and the outputs of the largest one.
Correlation all_phases(const std::vector<OutputPhase>& phases);

struct Conv2dShape;
Correlation forward_correlation(const Conv2dShape& shape);

// Weights as the user has them: A[k, c, t] of a group is data[group·group_stride + k·k_stride + c·c_stride + t.source].
template <class T>
struct Weights {
  const T* data;
  std::int64_t group_stride, k_stride, c_stride;
};

// A term is a channel and a tap.
enum class TermOrder { channels_outermost, taps_outermost };

// The weights of `count` output channels and `channels` input channels, the first ones' from `from` on, as
// u[term][output channel], `width` values a term.
template <class T>
void pack_terms(const Correlation& problem, const Weights<T>& weights, const T* from, std::int64_t channels,
                std::int64_t count, std::int64_t width, TermOrder order, T* u);

// How a call is computed and what it takes beside inputs and outputs.
struct Explanation {
  const char* algorithm;
  std::int64_t tile_rows, tile_columns;  // the sums that a kernel keeps in registers, at most
  std::int64_t packed_bytes;             // of weights
  std::int64_t workspace_bytes;          // of all threads together
};

// A correlation with its weights in the order one algorithm reads them in. Made of null weights it holds none, and
// only explains.
template <class T>
class PackedCorrelation {
 public:
  virtual ~PackedCorrelation() = default;
  // bias (groups·k) may be null; every y of the grid is written.
  virtual void run(const T* x, const T* bias, bool relu, T* y) const = 0;
  virtual Explanation explain() const = 0;
};

// One file an algorithm. All but Winograd add each output's terms in the same order whatever the tiles, the threads and
// the batch; Winograd does too for one shape of image.
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_direct(const Correlation& problem, const Weights<T>& weights);

// What that or the next, whichever is chosen, takes for an image's group: an estimate (costs.h)
template <class T>
double direct_cycles(const Correlation& problem);

// The same with channels in lanes, which serves either layout, and several phases of the same input at once.
constexpr std::int64_t kLeastInLanes = 4;  // channels of planes: fewer are turned slowly, measured 0.7 to 0.9
template <class T>
bool channels_in_lanes_pays(const std::vector<OutputPhase>& phases);  // whether it beats direct
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_channels_in_lanes(const std::vector<OutputPhase>& phases,
                                                             const Weights<T>& weights);

// The same of some channels after the others, where all are too many for it to leave zeros out.
template <class T>
bool parts_pay(const Correlation& problem);
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_in_parts(const Correlation& problem, const Weights<T>& weights);

template <class T>
bool gemm_pays(const Correlation& problem);  // whether it beats direct, from one image's geometry
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_gemm(const Correlation& problem, const Weights<T>& weights);
// The same for a single tap on larger maps
bool pointwise_serves(const Correlation& problem);
template <class T>
bool pointwise_pays(const Correlation& problem);  // where it serves: whether it beats direct
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_pointwise(const Correlation& problem, const Weights<T>& weights);

// Winograd's F(4x4, 3x3): float32, a dense kernel with three or more taps in a phase of the step.
bool winograd_serves(const Correlation& problem);
// Where it serves: whether it beats direct, from one image's geometry, or that of some which always come together.
bool winograd_pays(const Correlation& problem, std::int64_t together = 1);
std::unique_ptr<PackedCorrelation<float>> pack_winograd(const Correlation& problem, const Weights<float>& weights,
                                                        std::int64_t together = 1);

// The gradient for the weights of a forward correlation of unit step that winograd serves; dw (groups·k, c, taps).
bool winograd_weight_gradient_serves(const Correlation& problem);
bool winograd_weight_gradient_pays(const Correlation& problem);  // where it serves, from the whole batch
void winograd_weight_gradient(const Correlation& problem, const float* dy, const float* x, float* dw);

// Dilated kernels by Winograd on the phases of the dilation; dw (groups·k, c, taps).
bool dilated_pays(const Correlation& problem);  // from one image's geometry
std::unique_ptr<PackedCorrelation<float>> pack_dilated(const Correlation& problem, const Weights<float>& weights);
bool dilated_weight_gradient_pays(const Correlation& problem);  // from the whole batch
void dilated_weight_gradient(const Correlation& problem, const float* dy, const float* x, float* dw);

// One input channel a group.
bool depthwise_serves(const Correlation& problem);
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise(const Correlation& problem, const Weights<T>& weights);
// All phases of an input gradient at once, which take turns.
template <class T>
bool depthwise_phases_serve(const std::vector<OutputPhase>& phases);
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise_phases(const std::vector<OutputPhase>& phases,
                                                            const Weights<T>& weights);

// The same with channels in lanes, for small maps, also of several phases at once.
template <class T>
bool depthwise_in_lanes_pays(const std::vector<OutputPhase>& phases);  // whether it beats the planes one by one
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise_in_lanes(const std::vector<OutputPhase>& phases,
                                                              const Weights<T>& weights);
template <class T>
bool depthwise_in_lanes_gradient_pays(const Correlation& problem);
template <class T>
void depthwise_in_lanes_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw);

// Gradients for weights are summed in slices of so many blocks, or images, of which each has its own partial sums. How
// many: of as many blocks each, and from the shape alone, for the bits must not depend on the threads.
std::int64_t gradient_slices(std::int64_t blocks, std::int64_t partial_bytes);

// The gradient for the weights of a forward correlation whose single tap reads every position; dw (groups·k, c). 1.1 to
// 1.8 times faster than turning both sides.
template <class T>
bool pointwise_weight_gradient_pays(const Correlation& problem);
template <class T>
void pointwise_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw);

// The gradient for the weights of a forward correlation of few channels, plane by plane; dw (groups·k, c, taps).
template <class T>
bool depthwise_gradient_pays(const Correlation& problem);
template <class T>
void depthwise_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw);

// Vectors of input channels, of so many, in a tile of the gradient for the weights that turns these into lanes
template <class T>
std::int64_t gradient_vectors(std::int64_t vectors);

// The same gradient where input channels are few: x in planes, output channels in lanes; dw (groups·k, c, taps).
template <class T>
bool few_channels(const Correlation& problem);  // from the whole batch: whether it beats turning the input
template <class T>
void few_channels_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw);

}  // namespace convnet
