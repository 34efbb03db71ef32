// The table of kernels: how one tile, row or plane is computed with vectors. Each instruction set fills one table
// (isa.cpp compiled with its flags); select.cpp picks the table at import. README.md explains the tile.
#pragma once

#include <cstdint>

namespace convnet {

constexpr int kMostRows = 16;        // the tallest tile
constexpr int kMostVectors = 4;      // the widest
constexpr int kMostPositions = 512;  // packed at once
constexpr int kMostProductVectors = 3;
constexpr int kMostScatteredRows = 10;  // of scattered_product: more places than there are registers gain nothing

// One tile of a product: c[i][j] (+)= sum over channels p and taps t of a[(p·taps + t)][i] · b[p·channel_stride +
// tap_offset[t] + j] for i < rows, j < vectors·lanes. A plain matrix product has one tap at offset 0. Terms are added
// in this order.
template <class T>
struct Tile {
  const T* a;  // packed: `rows` values a term
  const T* b;
  std::int64_t channels, channel_stride;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  T* c;
  std::int64_t c_stride;  // from row to row
  bool add;               // to what c holds
  const T* bias;          // one a row, or null
  bool relu;              // after everything
};

// A tile of kStreamedVectors vectors whose columns lie far apart, in memory that another tile fetched ahead: what it
// reads it leaves in `copy`, dense, unless that is null. With each term it asks for a place of what is wanted soon.
constexpr int kStreamedVectors = 2;
template <class T>
struct StreamedTile : Tile<T> {
  T* copy;
  const T* soon;
  const std::int64_t* soon_offset;  // one a term
};

// One tile of a product whose columns are output channels: m[i][j] (+)= sum over terms t of v[t·v_term + i] · u[t·width
// + j] for i < rows, j < width, which is vectors·lanes; m is dense. Terms are added in this order.
template <class T>
struct Product {
  const T* v;
  std::int64_t v_term;
  const T* u;
  std::int64_t terms;
  T* m;
  bool add;        // to what m holds
  const T* bias;   // one a column, or null
  bool relu;       // after everything
  const T* ahead;  // what is read soon, fetched on the way: ahead_step values a term
  std::int64_t ahead_step;
};

// The same with v wherever its rows are: m[i][j] (+)= sum over r < rows, q < columns of x[row_offset[i] + r·x_row + q]
// · u[(r·columns + q)·width + j].
template <class T>
struct ScatteredProduct {
  const T* x;
  const std::int64_t* row_offset;
  std::int64_t rows, columns, x_row, step;
  const T* u;
  T* m;
  bool add;  // to what m holds
};

// The same with the rows' terms as channels last has them, one after the other in segments: term t of segment s of row
// i is v[i·v_row + offset[s] + t]. Rows of m are m_row apart.
template <class T>
struct RowsProduct {
  const T* v;
  std::int64_t v_row;
  const std::int64_t* offset;
  std::int64_t segments, terms;  // terms of each segment
  const T* u;
  T* m;
  std::int64_t m_row;
  bool add;
  const T* bias;
  bool relu;
  const T* ahead;
  std::int64_t ahead_step;
  const T* soon;  // of other memory the line at soon + t·soon_step is fetched, too; never null
  std::int64_t soon_step;
};

// Terms of positions first, first + 1, ..., in panels of `width`: packed[((i / width·channels + c)·taps + t)·width + i
// % width] = x[c·channel_stride + tap_offset[t] + place(first + i)] for i < count, at most kMostPositions; position q
// stands at q / columns · pitch + q % columns · step.
template <class T>
struct PanelPacking {
  const T* x;
  std::int64_t channels, channel_stride;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  std::int64_t first, count;
  std::int64_t columns, pitch, step;
  std::int64_t width;
  T* packed;
};

// Winograd's F(4x4, 3x3), winograd.h: tiles that lie side by side in one row of an image's tiles.
constexpr int kWinogradPoints = 36;  // products of a tile
struct WinogradRun {
  std::int64_t tile;  // the first one's place in the block
  int tiles;          // at most lanes - 1
  // The first tile's first input, from x, and which of the 6 rows and of the columns from there are in the image
  std::int64_t x;
  int row_begin, row_end, column_begin, column_end;
  // The first tile's first output, from y, and the rows (at most 4) and columns that are wanted
  std::int64_t y;
  int rows, columns;
};

// v[point][channel][tile] of a block's runs, in their order.
template <class T>
struct WinogradInput {
  const T* x;
  std::int64_t channels, x_plane, x_row;
  const WinogradRun* runs;
  std::int64_t run_count;
  T* v;
  std::int64_t v_point, v_channel;
};

// y from m[point][tile][channel].
template <class T>
struct WinogradOutput {
  const T* m;
  std::int64_t m_point, m_tile;
  const WinogradRun* runs;
  std::int64_t run_count;
  const T* bias;  // or null
  bool relu;
  std::int64_t channels;
  T* y;
  std::int64_t y_plane, y_row;
};

// The weights' transform: from weights[((vector·channels + channel)·taps + tap[i])·lanes + lane], row by row, output
// channels in lanes, to u[plane·u_plane + channel·u_channel + vector·lanes + lane]. The planes are the 36 points or,
// only scaled for WinogradRow, the nine weights. Where tap[i] is -1 it is zero.
template <class T>
struct WinogradWeights {
  const T* weights;
  std::int64_t channels, vectors, taps;
  const std::int64_t* tap;
  bool scaled_only;
  T* u;
  std::int64_t u_plane, u_channel;
};

// The products of six points side by side, m[column·m_point + tile·lanes + lane] (+)= sum over channels of
// v[column·v_point + channel·tiles + tile] times the transform of weights[(9·channel + i)·lanes + lane]. 1.5 vectors a
// channel are fetched from `ahead` on.
constexpr int kMostRowTiles = 4;
template <class T>
struct WinogradRow {
  const T* weights;
  const T* v;
  std::int64_t v_point;
  std::int64_t channels;
  T* m;
  std::int64_t m_point;
  bool add;
  const T* ahead;
};

// Channels in lanes, for arrays that lie channels last and for the adjoint: tiles of inputs (run.x) or of outputs'
// gradients (run.y) as v[point·v_point + tile·v_tile + channel], to whole vectors of channels.
template <class T>
struct WinogradTurned {
  const T* x;
  std::int64_t channels, x_plane, x_row, x_column;  // x_plane or x_column is 1
  const WinogradRun* runs;
  std::int64_t run_count;
  T* v;
  std::int64_t v_point, v_tile;
};

// The nine weights' gradients of `count` output channels, dw[lane·k_stride + tap[i]·tap_stride], from m[point·m_point
// + lane] summed over its parts. Where tap[i] is -1 it is left out.
template <class T>
struct WinogradWeightGradient {
  const T* m;
  std::int64_t m_point, parts, m_part;
  std::int64_t count;
  const std::int64_t* tap;
  T* dw;
  std::int64_t k_stride, tap_stride;
};

template <class T>
struct WinogradOutputLast {
  const T* m;
  std::int64_t m_point, m_tile;
  const WinogradRun* runs;
  std::int64_t run_count;
  const T* bias;  // or null
  bool relu;
  std::int64_t channels;
  T* y;
  std::int64_t y_row, y_column;
};

// Where the lanes of a finished tile go. The tile's columns are positions first, first + 1, ... of a grid of `pitch`
// columns, of which the first `columns` of each row are real; position p is y[p / pitch · y_row + p % pitch ·
// y_column].
template <class T>
struct Placement {
  const T* c;
  std::int64_t c_stride;
  int rows;
  std::int64_t first, count;
  std::int64_t pitch, columns;
  T* y;
  std::int64_t y_plane;  // from row of the tile to row of the tile
  std::int64_t y_row, y_column;
};

// Rows copied into a wider image: y[i] = `left` zeros, x[i][0], x[i][step], ... (`columns` of them), `right` zeros.
template <class T>
struct PaddedRows {
  const T* x;
  std::int64_t x_stride, step;
  std::int64_t rows, left, columns, right;
  T* y;
  std::int64_t y_stride;
};

// Overlapping windows of k_h x k_w values, each position of x_h x x_w one's, added where they lie: y[c][i][j] = sum
// over r, q of x[c][r][q][i + pad_top - r][j + pad_left - q], where that is a position.
constexpr std::int64_t kMostWindowColumns = 64;  // k_w
template <class T>
struct WindowSum {
  const T* x;
  std::int64_t planes, k_h, k_w, x_h, x_w;
  std::int64_t pad_top, pad_left;
  std::int64_t y_h, y_w;
  T* y;
};

// Rows of a strip from those of a plane: row i is the reduction of count[i] rows of x, the first of them first[i], with
// distance reduced_row; without `first` it is row i of x. Of `columns` columns, of `pixel` elements each, those with
// unit step go to phase[0] and of step 2 the even ones to phase[0], the odd ones to phase[1], either of which may be
// null; of longer steps every step-th to phase[0], `columns` of them, with what lies behind x fetched where asked.
template <class T>
struct RowSplit {
  const T* x;
  std::int64_t x_row;
  std::int64_t rows;
  const std::int64_t *first, *count;
  std::int64_t reduced_row;
  std::int64_t columns, step, pixel;
  T* phase[2];
  std::int64_t y_row;
  bool fetch;
};

enum class RowReduction { none, sum, greatest, count };

// Of planes whose columns are pixels of several channels: vectors that hold a tap's weights, of as many pixels as fill
// them. A pixel may be longer than a vector by less than another.
constexpr int kPixelVectors = 3;

// Rows of outputs of one plane under one filter: y[i][j] = bias + sum over taps t of weight[t] · x[i·x_row +
// tap_offset[t] + j] for i < rows, j < columns. x is read to whole vectors of columns. Terms are added in this order,
// the bias last. With pixels of several channels a tap's weights are the next kPixelVectors vectors, j's at j % pixel,
// and so are the biases.
template <class T>
struct Depthwise {
  const T* x;
  std::int64_t x_row;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  std::int64_t tap_columns;  // of DepthwiseTaps::columns, in row-major order
  const T *weight, *bias;
  bool relu;
  std::int64_t rows, columns;
  T* y;
  std::int64_t y_row;
  std::int64_t pixel;
};

// The same straight from the image, for a square grid of unit-spaced taps with equal steps: tap (r, q) of output (i, j)
// reads row first_row + i·step + r and column first_column + j·step + q, zero outside the image. Terms are added in
// this order, the bias last.
template <class T>
struct DepthwiseImage {
  const T* x;
  std::int64_t in_h, in_w;
  const T* zeros;  // a row of them
  std::int64_t first_row, first_column;
  const T *weight, *bias;
  bool relu;
  std::int64_t rows, columns;
  T* y;
  std::int64_t y_row;
  std::int64_t pixel;  // elements of a column, see Depthwise; 1 where steps are 2
};

// The adjoint for the weights: sum[t][lane] += sum over i, j of dy[i·dy_row + j] · x[i·x_row + tap_offset[t] + j], the
// columns j of one lane in one sum, those of the vectors at first, first + step, ...
template <class T>
struct DepthwiseGradient {
  const T* x;
  std::int64_t x_row;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  const T* dy;
  std::int64_t dy_row;
  std::int64_t rows, columns, first, step;
  T* sum;
};

// Outputs side by side in one row, channels in lanes: y[j·y_column + c] = bias[c] + sum over taps t of
// weight[t·weight_tap + c] · tap[t][j·step + c] for j < columns, c < channels. Taps and weight hold at least a vector.
template <class T>
struct DepthwiseLast {
  const T* const* tap;
  std::int64_t step, taps;
  const T* weight;
  std::int64_t weight_tap;
  const T* bias;  // or null
  bool relu;
  std::int64_t columns, channels;
  T* y;
  std::int64_t y_column;
};

// Rows of outputs of a grid of unit-spaced taps with unit steps: tap (r, q) of output (i, j) reads column first_column
// + j + q of row[i + r], zero outside the image's `in_w` columns. Terms are added column by column. The grid is the
// kernel's own square.
template <class T>
struct DepthwiseLastGrid {
  const T* const* row;
  std::int64_t x_column, in_w, first_column;
  const T* weight;
  std::int64_t weight_tap;
  const T* bias;  // or null
  bool relu;
  std::int64_t rows, columns, channels;
  T* y;
  std::int64_t y_row, y_column;
};

// Its adjoint for the weights, of several rows: sum[t·sum_tap + c] += sum over i, j of dy[i·dy_row + j·dy_column + c] ·
// tap[t][i·x_row + j·step + c] for i < rows.
template <class T>
struct DepthwiseLastGradient {
  const T* const* tap;
  std::int64_t x_row, step, taps;
  const T* dy;
  std::int64_t dy_row, dy_column;
  std::int64_t rows, columns, channels;
  T* sum;
  std::int64_t sum_tap;
};

// Planes of as many channels as a vector has lanes, side by side: y[place[i] + c] = x[c·x_plane + i·x_column] for i <
// count, c < lanes; x_plane or x_column is 1.
template <class T>
struct TurnedPlanes {
  const T* x;
  std::int64_t x_plane, x_column, count;
  const std::int64_t* place;
  T* y;
};

constexpr std::int64_t kMostLanesTile = 14;

// Outputs of one vector of channels from such planes, up to kMostLanesTile side by side at a time: y[i·y_row +
// j·y_column + c] = bias[c] + sum over taps t of weight[t][c] · x[i·x_row + tap_offset[t] + j·lanes + c] for i < rows,
// j < columns. Terms are added to the bias in this order.
template <class T>
struct DepthwiseLanes {
  const T* x;
  std::int64_t x_row;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  const T *weight, *bias;
  std::int64_t rows, columns;
  T* y;
  std::int64_t y_row, y_column;
  // What is to be written and read next, fetched into the cache meanwhile: so many values for each output
  T* wanted;
  const T* ahead;
  std::int64_t wanted_step, ahead_step;
};

// Taps that share their loads between output rows: columns of neighbours, or a grid of so many rows and columns, the
// outputs a step of so many rows apart.
enum class DepthwiseTaps { any, columns, grid3x3, grid3x3_step2, grid5x5, grid5x5_step2, count };

// Integers of a lane's size
template <class T>
struct LaneIntOf;
template <>
struct LaneIntOf<float> {
  using type = std::int32_t;
};
template <>
struct LaneIntOf<double> {
  using type = std::int64_t;
};
template <class T>
using LaneInt = typename LaneIntOf<T>::type;

// Rows of pooled outputs of one plane: the window of output (i, j) is x[i·x_row + tap_offset[t] + j] for its taps t.
// x is read to whole vectors of columns.
template <class T>
struct Pool {
  const T* x;
  std::int64_t x_row;
  std::int64_t taps;
  const std::int64_t* tap_offset;
  std::int64_t rows, columns;
  T* y;
  std::int64_t y_row;
  // Of averages: y[i][j] is the sum over row_count[i] · column_count[j].
  const T *row_count, *column_count;
  // Of maxima: indices[i·y_row + j] = origin + i·row_place + column_place[j] + tap_place[t] for the first tap t that is
  // the maximum; may be null. column_place is read to whole vectors.
  std::int64_t* indices;
  std::int64_t origin, row_place;
  const LaneInt<T>* column_place;
  const std::int64_t* tap_place;
};

// One step of an optimizer, in place. Below, g is grad, with weight_decay·param added where that is not 0; what is kept
// from step to step is zero where it would come near the subnormals.

// velocity = momentum·velocity + g; param -= rate·velocity, with nesterov rate·(g + momentum·velocity); without a
// velocity rate·g.
template <class T>
struct SgdStep {
  T* param;
  const T* grad;
  T* velocity;  // or null
  T rate, momentum;
  bool nesterov;
  T weight_decay;
};

// m = beta1·m + rest1·grad; v = beta2·v + rest2·grad²; param = shrink·param - rate·m / (root_scale·√v + eps)
template <class T>
struct AdamStep {
  T* param;
  const T* grad;
  T *m, *v;
  T rate, shrink;
  T beta1, rest1, beta2, rest2;
  T root_scale, eps;
};

// v = rho·v + rest·g²; d = g / (√v + eps); velocity = momentum·velocity + d; param -= rate·velocity, or without one
// rate·d.
template <class T>
struct RmspropStep {
  T* param;
  const T* grad;
  T* v;
  T* velocity;  // or null
  T rate, rho, rest, eps, momentum, weight_decay;
};

// One row of pooled outputs with channels last, `channels` of the `pixel` that a pixel has. The window of output j
// begins at column first[j] and holds columns[j] taps in each of `rows` rows, all of them pixels of the image: tap (r,
// q) of channel c is x[first[j]·pixel + r·x_row + q·x_column + c].
template <class T>
struct PoolLast {
  const T* x;
  std::int64_t readable;  // elements from x on
  std::int64_t rows, x_row, x_column;
  const std::int64_t *first, *columns;
  std::int64_t outputs, channels, pixel;
  T* y;
  // Of averages: what to divide by
  T row_count;
  const T* column_count;
  // Of maxima: tap (r, q) stands at place origin + first[j] + r·row_place + q·column_place.
  std::int64_t* indices;
  std::int64_t origin, row_place, column_place;
};

// The adjoint for maxima, of one row of outputs: dy is added where `indices` points, in the rows [begin, end) of the
// windows.
template <class T>
struct UnpoolLast {
  const T* dy;
  const std::int64_t* indices;
  std::int64_t rows, begin, end, x_row, x_column;
  const std::int64_t *first, *columns;
  std::int64_t outputs, channels;
  std::int64_t origin, row_place, column_place;
  T* dx;
};

// The same for indices in [first, first + size), of which those in [begin, end) are wanted: dx[index][channel] += dy.
template <class T>
struct ScatterLast {
  const T* dy;
  const std::int64_t* indices;
  std::int64_t outputs, channels;
  std::int64_t first, size, begin, end;
  T* dx;
};

// The adjoint for averages, of one row of outputs: spread[pixel][channel], of `size` elements, is the sum of the shares
// of all windows that hold the pixel's column.
template <class T>
struct SpreadLast {
  const T* dy;
  T row_count;
  const T* column_count;
  const std::int64_t *first, *columns;
  std::int64_t x_column;
  std::int64_t outputs, channels, size;
  std::int64_t begin, end;  // windows that are whole, to be added together: their shares need room
  T *shares, *spread;
};

enum class LastKind { greatest, place, average, count };

template <class T>
struct Kernels {
  int lanes;
  int most_rows[kMostVectors + 1];                 // the tallest tile of so many vectors that stays in registers
  int most_product_rows[kMostProductVectors + 1];  // of product, 0 where there is none
  void (*tile[kMostRows + 1][kMostVectors + 1])(const Tile<T>&);
  void (*streamed_tile[kMostRows + 1])(const StreamedTile<T>&);  // null below half of most_rows
  void (*product[kMostRows + 1][kMostProductVectors + 1])(const Product<T>&);
  void (*scattered_product[kMostScatteredRows + 1][kMostProductVectors + 1])(const ScatteredProduct<T>&);
  void (*rows_product[kMostRows + 1][kMostProductVectors + 1])(const RowsProduct<T>&);
  void (*pack_panels)(const PanelPacking<T>&);
  void (*place)(const Placement<T>&);
  void (*sum_windows)(const WindowSum<T>&);

  void (*pad_rows)(const PaddedRows<T>&);
  void (*depthwise[int(DepthwiseTaps::count)])(const Depthwise<T>&);
  void (*depthwise_image[int(DepthwiseTaps::count)])(const DepthwiseImage<T>&);  // null but for floats and 3x3
  void (*depthwise_gradient[int(DepthwiseTaps::count)])(const DepthwiseGradient<T>&);
  void (*depthwise_last)(const DepthwiseLast<T>&);
  // Null but for squares and steps of one
  void (*depthwise_last_grid[int(DepthwiseTaps::count)])(const DepthwiseLastGrid<T>&);
  void (*depthwise_last_gradient)(const DepthwiseLastGradient<T>&);
  void (*turn_planes)(const TurnedPlanes<T>&);
  void (*depthwise_lanes)(const DepthwiseLanes<T>&);
  // False where a window's maximum is NaN or -inf, whose index is not to be relied on.
  bool (*max_pool)(const Pool<T>&);
  void (*average_pool)(const Pool<T>&);
  // y[i][j] = x[i][j] for i < rows, j < columns
  void (*copy_rows)(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns, T* y, std::int64_t y_row);
  // For each of `planes` that follow one another, y, of `size` elements, = 0, then y[index[i]] += x[i] for i < count.
  // False where an index is outside; y is then worth nothing.
  bool (*scatter)(const T* x, const std::int64_t* index, std::int64_t planes, std::int64_t count, std::int64_t size,
                  T* y);
  void (*pool_last[int(LastKind::count)])(const PoolLast<T>&);
  // False where an index is not in its window: dx is then worth nothing.
  bool (*unpool_last)(const UnpoolLast<T>&);
  void (*spread_last)(const SpreadLast<T>&);
  // False, and dx left alone, where an index is not in [first, first + size).
  bool (*scatter_last)(const ScatterLast<T>&);
  void (*split_rows[int(RowReduction::count)])(const RowSplit<T>&);
  // y[i·times + j] = x[i] for i < count, j < times
  void (*repeat)(const T* x, std::int64_t count, std::int64_t times, T* y);
  // y[j][i] = x[i][j] for i < rows, j < columns
  void (*transpose)(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, T* y,
                    std::int64_t y_stride);
  T (*sum)(const T* x, std::int64_t count);
  void (*relu)(const T* x, std::int64_t count, T* y);
  void (*relu_backward)(const T* dy, const T* x, std::int64_t count, T* dx);
  void (*axpby)(T a, const T* x, T b, const T* y, std::int64_t count, T* z);  // z = a·x + b·y

  void (*leaky_relu)(const T* x, T slope, std::int64_t count, T* y);
  void (*leaky_relu_backward)(const T* dy, const T* y, T slope, std::int64_t count, T* dx);
  void (*sigmoid)(const T* x, std::int64_t count, T* y);
  void (*sigmoid_backward)(const T* dy, const T* y, std::int64_t count, T* dx);
  void (*tanh)(const T* x, std::int64_t count, T* y);
  void (*tanh_backward)(const T* dy, const T* y, std::int64_t count, T* dx);
  // y = e^(x - shift); returns its sum
  T (*exp_sum)(const T* x, T shift, std::int64_t count, T* y);
  void (*softmax_backward)(const T* dy, const T* y, T total, std::int64_t count, T* dx);      // y·(dy - total)
  void (*log_softmax_backward)(const T* dy, const T* y, T total, std::int64_t count, T* dx);  // dy - e^y·total
  // The largest of count >= 1 values; of a row that holds a NaN, any.
  T (*largest)(const T* x, std::int64_t count);
  T (*dot)(const T* x, const T* y, T y_shift, std::int64_t count);                    // sum of x·(y - y_shift)
  T (*squared_distance)(const T* x, T from, std::int64_t count);                      // sum of (x - from)²
  void (*normalize)(const T* x, T mean, T scale, T shift, std::int64_t count, T* y);  // (x - mean)·scale + shift
  // dy·scale + (x - mean)·slope + shift
  void (*normalize_backward)(const T* dy, T scale, const T* x, T mean, T slope, T shift, std::int64_t count, T* dx);

  void (*sgd_step)(const SgdStep<T>&, std::int64_t count);
  void (*adam_step)(const AdamStep<T>&, std::int64_t count);
  void (*rmsprop_step)(const RmspropStep<T>&, std::int64_t count);

  // Null for double
  void (*winograd_input)(const WinogradInput<T>&);
  void (*winograd_output)(const WinogradOutput<T>&);
  void (*winograd_weights)(const WinogradWeights<T>&);
  void (*winograd_row[6][kMostRowTiles + 1])(
      const WinogradRow<T>&);  // by row of points and tiles; null with few registers
  void (*winograd_turned_input)(const WinogradTurned<T>&);
  void (*winograd_turned_gradient)(const WinogradTurned<T>&);
  void (*winograd_weight_gradient)(const WinogradWeightGradient<T>&);
  void (*winograd_input_last)(const WinogradTurned<T>&);
  void (*winograd_gradient_last)(const WinogradTurned<T>&);
  void (*winograd_output_last)(const WinogradOutputLast<T>&);
};

struct IsaTable {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
};

// The table in use, for one dtype.
template <class T>
const Kernels<T>& kernels();
template <>
const Kernels<float>& kernels<float>();
template <>
const Kernels<double>& kernels<double>();

const char* isa_in_use();
// The names of all built tables this processor can run, slowest first; ends with a null.
const char* const* isas();

}  // namespace convnet
