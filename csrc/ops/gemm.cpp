#include "gemm.h"

#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kTerms = 384;    // at most, of the sum, taken from a block of b at a time
constexpr std::int64_t kColumns = 384;  // of b, in such a block: together 576 KB of the second-level cache in float32

constexpr std::int64_t kPanelsAsItLies = 8;

// `count` rows of a from `first`, their k terms from p0 outermost: packed[p·count + i]
template <class T>
void pack_rows(const Matrix<T>& a, std::int64_t first, std::int64_t count, std::int64_t p0, std::int64_t k, T* packed) {
  const T* from = a.data + first * a.row_stride + p0 * a.column_stride;
  if (a.row_stride == 1) {
    kernels<T>().copy_rows(from, a.column_stride, k, count, packed, count);
  } else {
    kernels<T>().transpose(from, a.row_stride, count, k, packed, count);
  }
}

// Columns [first, first + count) of b's terms [p0, p0 + terms), padded with zeros to `width` columns.
template <class T>
void pack_columns(const Matrix<T>& b, std::int64_t p0, std::int64_t terms, std::int64_t first, std::int64_t count,
                  std::int64_t width, T* packed) {
  const T* from = b.data + p0 * b.row_stride + first * b.column_stride;
  if (b.column_stride == 1)
    kernels<T>().copy_rows(from, b.row_stride, terms, count, packed, width);
  else
    kernels<T>().transpose(from, b.column_stride, count, terms, packed, width);
  for (std::int64_t p = 0; count < width && p < terms; ++p)
    std::fill(packed + p * width + count, packed + (p + 1) * width, T(0));
}

}  // namespace

template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix<T>& a, const Matrix<T>& b, bool add, bool relu,
          T* c) {
  const Kernels<T>& kernel = kernels<T>();
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!add) std::fill_n(c, m * n, T(0));
    if (relu) kernel.relu(c, m * n, c);
    return;
  }
  const std::int64_t lanes = kernel.lanes;
  const std::int64_t vectors = std::min<std::int64_t>(ceil_div(n, lanes), m <= kernel.most_rows[4] ? 4 : 2);
  const std::int64_t panels = ceil_div(m, kernel.most_rows[vectors]);
  const auto panel_begin = [&](std::int64_t panel) { return m * panel / panels; };
  // A few panels pass over b a few times: packing it would cost more than it brings. The last tile then ends with the
  // last column and computes some columns of its neighbour again, which is cheaper than packing it.
  const std::int64_t tile_columns = vectors * lanes;
  const bool as_it_lies = panels <= kPanelsAsItLies && b.column_stride == 1 && n >= tile_columns;
  // Two units a thread at least: of few panels by their columns, else by the panels.
  const double macs = double(m) * double(n) * double(k);
  const std::int64_t units = 2 * threads_for(panels * ceil_div(n, tile_columns), macs);
  const std::int64_t block_columns =
      std::clamp<std::int64_t>(as_it_lies ? n / units / tile_columns : kColumns / tile_columns, 1,
                               ceil_div(kColumns, tile_columns)) *
      tile_columns;
  const std::int64_t blocks = ceil_div(n, block_columns);
  const std::int64_t runs = units == 2 ? 1 : std::clamp<std::int64_t>(ceil_div(units, blocks), 1, panels);
  const std::int64_t steps = ceil_div(k, kTerms);

  const std::int64_t most_rows = ceil_div(m, panels);
  const std::uint64_t call = new_call();
  parallel_for(blocks * runs, macs, [&](std::int64_t unit) {
    const std::int64_t run = unit % runs, first = unit / runs * block_columns;
    const std::int64_t columns = std::min(block_columns, n - first);
    // All of a for the thread's units where b is read as it lies, else a panel at a time beside b's block.
    const std::int64_t a_size = as_it_lies ? m * k : kTerms * most_rows,
                       b_size = as_it_lies ? 0 : kTerms * block_columns;
    T* const packed_a = thread_workspace<T>(std::size_t(a_size + b_size + most_rows * tile_columns));
    T* const packed_b = packed_a + a_size;
    T* const sums = packed_b + b_size;
    if (!workspace_holds(call, 0) && as_it_lies)
      for (std::int64_t panel = 0; panel < panels; ++panel)
        pack_rows(a, panel_begin(panel), panel_begin(panel + 1) - panel_begin(panel), 0, k,
                  packed_a + panel_begin(panel) * k);
    const std::int64_t no_offset = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t p0 = k * step / steps;
      Tile<T> tile{};
      tile.channels = k * (step + 1) / steps - p0;
      tile.taps = 1;
      tile.tap_offset = &no_offset;
      tile.add = add || p0 > 0;
      tile.relu = relu && step + 1 == steps;
      for (std::int64_t j = 0; !as_it_lies && j < columns; j += tile_columns) {
        const std::int64_t count = std::min(tile_columns, columns - j);
        pack_columns(b, p0, tile.channels, first + j, count, ceil_div(count, lanes) * lanes, packed_b + j * kTerms);
      }
      for (std::int64_t panel = panels * run / runs; panel < panels * (run + 1) / runs; ++panel) {
        const std::int64_t begin = panel_begin(panel), count_rows = panel_begin(panel + 1) - begin;
        if (!as_it_lies) pack_rows(a, begin, count_rows, p0, tile.channels, packed_a);
        tile.a = as_it_lies ? packed_a + begin * k + p0 * count_rows : packed_a;
        for (std::int64_t j = 0; j < columns; j += tile_columns) {
          const std::int64_t count = std::min(tile_columns, columns - j), width = ceil_div(count, lanes) * lanes;
          const std::int64_t repeated = as_it_lies ? width - count : 0;
          tile.b = as_it_lies ? b.data + p0 * b.row_stride + first + j - repeated : packed_b + j * kTerms;
          tile.channel_stride = as_it_lies ? b.row_stride : width;
          T* const y = c + begin * n + first + j;
          const auto multiply = kernel.tile[count_rows][width / lanes];
          if (count == width) {
            tile.c = y;
            tile.c_stride = n;
            multiply(tile);
          } else {
            tile.c = sums;
            tile.c_stride = width;
            if (tile.add) kernel.copy_rows(y, n, count_rows, count, sums + repeated, width);
            multiply(tile);
            kernel.copy_rows(sums + repeated, width, count_rows, count, y, n);
          }
        }
      }
    }
  });
}

template <class T>
void dense(std::int64_t m, std::int64_t in, std::int64_t out, const T* x, const T* weight, const T* bias, bool relu,
           T* y) {
  if (bias) kernels<T>().copy_rows(bias, 0, m, out, y, out);
  gemm<T>(m, out, in, {x, in, 1}, {weight, out, 1}, bias != nullptr, relu, y);
}

template <class T>
void dense_backward(std::int64_t m, std::int64_t in, std::int64_t out, const T* dy, const T* x, const T* weight, T* dx,
                    T* dw, T* db) {
  if (dx) gemm<T>(m, in, out, {dy, out, 1}, {weight, 1, out}, false, false, dx);
  if (dw) gemm<T>(in, out, m, {x, 1, in}, {dy, out, 1}, false, false, dw);
  if (db) {
    std::fill_n(db, out, T(0));
    for (std::int64_t i = 0; i < m; ++i) kernels<T>().axpby(T(1), db, T(1), dy + i * out, out, db);
  }
}

#define CONVNET_INSTANTIATE(T)                                                                                      \
  template void gemm(std::int64_t, std::int64_t, std::int64_t, const Matrix<T>&, const Matrix<T>&, bool, bool, T*); \
  template void dense(std::int64_t, std::int64_t, std::int64_t, const T*, const T*, const T*, bool, T*);            \
  template void dense_backward(std::int64_t, std::int64_t, std::int64_t, const T*, const T*, const T*, T*, T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
