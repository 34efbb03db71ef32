#include "gemm.h"

#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"

namespace convnet {
namespace {

constexpr std::int64_t kTerms = 384;    // of the sum, taken from a block of b at a time
constexpr std::int64_t kColumns = 384;  // of b, in such a block: together 576 KB of the second-level cache in float32

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// `count` rows of a from `first`, terms outermost: packed[p·count + i]
template <class T>
void pack_rows(const Matrix<T>& a, std::int64_t first, std::int64_t count, std::int64_t k, T* packed) {
  const T* from = a.data + first * a.row_stride;
  if (a.row_stride == 1) {
    for (std::int64_t p = 0; p < k; ++p) std::copy_n(from + p * a.column_stride, count, packed + p * count);
  } else {
    kernels<T>().transpose(from, a.row_stride, count, k, packed, count);
  }
}

// Columns [first, first + count) of b's terms [p0, p0 + terms), padded with zeros to `width` columns.
template <class T>
void pack_columns(const Matrix<T>& b, std::int64_t p0, std::int64_t terms, std::int64_t first, std::int64_t count,
                  std::int64_t width, T* packed) {
  const T* from = b.data + p0 * b.row_stride + first * b.column_stride;
  if (b.column_stride == 1) {
    for (std::int64_t p = 0; p < terms; ++p) {
      std::copy_n(from + p * b.row_stride, count, packed + p * width);
      std::fill(packed + p * width + count, packed + (p + 1) * width, T(0));
    }
  } else {
    kernels<T>().transpose(from, b.column_stride, count, terms, packed, width);
    for (std::int64_t p = 0; count < width && p < terms; ++p)
      std::fill(packed + p * width + count, packed + (p + 1) * width, T(0));
  }
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
  int vectors = int(std::min<std::int64_t>(ceil_div(n, lanes), m <= kernel.most_rows[4]   ? 4
                                                               : kernel.most_rows[3] >= 8 ? 3
                                                                                          : 2));
  const std::int64_t panels = ceil_div(m, kernel.most_rows[vectors]);
  const auto panel_begin = [&](std::int64_t panel) { return m * panel / panels; };
  // A few rows pass over b once or twice: packing it would cost more than it brings.
  const bool as_it_lies = panels <= 1 && b.column_stride == 1;
  const std::int64_t block_columns = std::max<std::int64_t>(1, kColumns / (vectors * lanes)) * vectors * lanes;
  const std::int64_t blocks = ceil_div(n, block_columns);
  const std::int64_t runs = std::clamp<std::int64_t>(4 / blocks, 1, panels);
  const double work = double(m) * double(n) * double(k);

  const Scratch<T> rows(std::size_t(m) * std::size_t(k));
  parallel_for(panels, double(m) * double(k), [&](std::int64_t panel) {
    pack_rows(a, panel_begin(panel), panel_begin(panel + 1) - panel_begin(panel), k,
              rows.data() + panel_begin(panel) * k);
  });
  parallel_for(blocks * runs, work, [&](std::int64_t unit) {
    const std::int64_t block = unit / runs, run = unit % runs;
    const std::int64_t first = block * block_columns, columns = std::min(block_columns, n - first);
    T* packed = thread_workspace<T>(std::size_t(kTerms * block_columns + kMostRows * kMostVectors * lanes));
    T* sums = packed + kTerms * block_columns;
    const std::int64_t zero = 0;
    for (std::int64_t p0 = 0; p0 < k; p0 += kTerms) {
      const std::int64_t terms = std::min(kTerms, k - p0);
      const bool last = p0 + terms == k;
      for (std::int64_t j = 0; j < columns; j += vectors * lanes) {
        const std::int64_t count = std::min(vectors * lanes, columns - j);
        if (!as_it_lies || count % lanes != 0)
          pack_columns(b, p0, terms, first + j, count, ceil_div(count, lanes) * lanes, packed + j * kTerms);
      }
      for (std::int64_t panel = panels * run / runs; panel < panels * (run + 1) / runs; ++panel) {
        const std::int64_t begin = panel_begin(panel), count_rows = panel_begin(panel + 1) - begin;
        for (std::int64_t j = 0; j < columns; j += vectors * lanes) {
          const std::int64_t count = std::min(vectors * lanes, columns - j), width = ceil_div(count, lanes) * lanes;
          const bool from_packed = !as_it_lies || count != width;
          T* const y = c + begin * n + first + j;
          Tile<T> tile{};
          tile.a = rows.data() + begin * k + p0 * count_rows;
          tile.b = from_packed ? packed + j * kTerms : b.data + p0 * b.row_stride + first + j;
          tile.channels = terms;
          tile.channel_stride = from_packed ? width : b.row_stride;
          tile.taps = 1;
          tile.tap_offset = &zero;
          tile.add = add || p0 > 0;
          tile.relu = relu && last;
          const bool in_place = count == width;
          tile.c = in_place ? y : sums;
          tile.c_stride = in_place ? n : width;
          if (!in_place && tile.add)
            for (std::int64_t i = 0; i < count_rows; ++i) std::copy_n(y + i * n, count, sums + i * width);
          kernel.tile[count_rows][width / lanes](tile);
          if (!in_place)
            for (std::int64_t i = 0; i < count_rows; ++i) std::copy_n(sums + i * width, count, y + i * n);
        }
      }
    }
  });
}

template <class T>
void dense(std::int64_t m, std::int64_t in, std::int64_t out, const T* x, const T* weight, const T* bias, bool relu,
           T* y) {
  if (bias)
    for (std::int64_t i = 0; i < m; ++i) std::copy_n(bias, out, y + i * out);
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
