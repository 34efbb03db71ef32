// The gradient for the weights of a 1x1 kernel that reads every position: dw[k, c] = sum over images and positions of
// dy[k, position] · x[c, position]. One side, mostly that of more channels, is read where it lies, each channel a row
// of the tile; only the other is turned (channels last: copied), with its channels in lanes. As in
// conv2d_weight_gradient.cpp, slices of fixed blocks are added in order.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kBlockBytes = 768 << 10;  // of the second-level cache, for a block's turned side
constexpr std::int64_t kTermsInRegisters = 512;  // summed before they meet the earlier ones
constexpr std::int64_t kChunkVectors = 2;        // of the turned side's channels, in a tile

template <class T>
struct Side {
  const T* data;
  std::int64_t channels;                         // of a group
  std::int64_t image, position, channel, group;  // from one to the next
};

// A block is some positions of one image, or all of several.
struct Block {
  std::int64_t image, images, first, count;
};

struct Cut {
  std::int64_t positions, images, parts, images_at_once;

  // `fit` positions to a block
  Cut(const Correlation& p, std::int64_t fit)
      : positions(p.out_h * p.out_w),
        images(p.images),
        parts(ceil_div(positions, fit)),
        images_at_once(std::clamp<std::int64_t>(fit / positions, 1, ceil_div(p.images, 4))) {}
  std::int64_t blocks() const { return ceil_div(images, images_at_once) * parts; }
  std::int64_t most_positions() const { return ceil_div(positions, parts) * images_at_once; }
  Block block(std::int64_t i) const {
    const std::int64_t image = i / parts * images_at_once, first = positions * (i % parts) / parts;
    return {image, std::min(images_at_once, images - image), first, positions * (i % parts + 1) / parts - first};
  }
};

// The sums of a tile over a block, the positions of each row following one another: m (+)= row · u.
template <class T>
void multiply(const Side<T>& lying, const T* lies, const Block& block, const std::vector<std::int64_t>& image_offset,
              std::int64_t rows, std::int64_t width, const T* u, bool add, T* m) {
  RowsProduct<T> product{};
  product.v_row = lying.channel;
  product.offset = image_offset.data();
  product.m = m;
  product.m_row = width;
  product.add = add;
  product.u = product.ahead = product.soon = u;
  const std::int64_t at_once = std::max<std::int64_t>(1, kTermsInRegisters / block.count);
  for (std::int64_t image = 0; image < block.images; image += at_once)
    for (std::int64_t at = 0; at < block.count; at += kTermsInRegisters, product.add = true) {
      product.segments = std::min(at_once, block.images - image);
      product.terms = std::min(kTermsInRegisters, block.count - at);
      product.v = lies + image * lying.image + at;
      kernels<T>().rows_product[rows][width / kernels<T>().lanes](product);
      product.u += product.segments * product.terms * width;
    }
}

// The same with the rows side by side at each position.
template <class T>
void multiply_last(const Side<T>& lying, const T* lies, std::int64_t rows, std::int64_t width, const T* u,
                   std::int64_t terms, bool add, T* m) {
  for (std::int64_t at = 0; at < terms; at += kTermsInRegisters, add = true)
    kernels<T>().product[rows][width / kernels<T>().lanes]({lies + at * lying.position, lying.position, u + at * width,
                                                            std::min(kTermsInRegisters, terms - at), m, add, nullptr,
                                                            false, u, 0});
}

}  // namespace

template <class T>
bool pointwise_weight_gradient_pays(const Correlation& p) {
  // Few channels on one side: measured 1.1 to 2.7 times faster than turning the other, but 0.6 to 1.0 for few outputs
  // that lie last.
  return reads_every_position(p) && (p.channels_last ? p.k : std::max(p.c, p.k)) >= kernels<T>().lanes;
}

template <class T>
void pointwise_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  const Kernels<T>& kernel = kernels<T>();
  const Side<T> of_dy{dy, p.k, p.y_image, p.y_column, p.y_plane, p.k * p.y_plane};
  const Side<T> of_x{x, p.c, p.x_image, p.x_column, p.x_plane, p.c * p.x_plane};
  // In planes dw's rows are the tile's where dy lies, and else are turned: with few positions that is more than turning
  // the side of more channels (measured: up to 2.7 times the whole), with many less (1.1 to 1.8).
  const double more_turned = double(p.c - p.k) * double(p.images * p.out_h * p.out_w);
  const bool dy_lies = !p.channels_last && more_turned < 0.6 * double(p.c * p.k);
  const Side<T> lying = dy_lies ? of_dy : of_x, turned = dy_lies ? of_x : of_dy;
  const std::int64_t lanes = kernel.lanes, vectors = ceil_div(turned.channels, lanes), width = vectors * lanes;
  const std::int64_t chunks = ceil_div(vectors, kChunkVectors);
  const std::int64_t panels = ceil_div(lying.channels, kernel.most_rows[kChunkVectors]);
  const auto chunk_begin = [&](std::int64_t chunk) { return vectors * chunk / chunks * lanes; };
  const auto panel_begin = [&](std::int64_t panel) { return lying.channels * panel / panels; };

  // Rows that lie side by side come back with each panel: from the cache, if they fit in, too.
  const std::int64_t kept = width + (p.channels_last ? lying.channels : 0);
  const Cut cut(p, std::max<std::int64_t>(1, kBlockBytes / (kept * std::int64_t(sizeof(T)))));
  const std::int64_t blocks = cut.blocks(), partial = p.groups * lying.channels * width;
  const std::int64_t slices = gradient_slices(blocks, partial * std::int64_t(sizeof(T)));
  const std::int64_t panel_runs = std::min(panels, ceil_div(4, slices * p.groups));
  std::vector<std::int64_t> image_offset;
  for (std::int64_t i = 0; i < cut.images_at_once; ++i) image_offset.push_back(i * lying.image);

  // Tiles of sums: [slice][group][panel][chunk][row][lane]
  const Scratch<T> sums(std::size_t(slices * partial));
  parallel_for(slices * p.groups * panel_runs, p.macs(), [&](std::int64_t unit) {
    const std::int64_t run = unit % panel_runs, group = unit / panel_runs % p.groups,
                       slice = unit / panel_runs / p.groups;
    T* const columns = thread_workspace<T>(std::size_t(cut.most_positions() * width));
    if (width > turned.channels) std::fill_n(columns, cut.most_positions() * width, T(0));  // stays so beyond these
    bool add = false;
    for (std::int64_t i = blocks * slice / slices; i < blocks * (slice + 1) / slices; ++i, add = true) {
      const Block block = cut.block(i);
      const std::int64_t terms = block.images * block.count;
      const T* const from =
          turned.data + block.image * turned.image + group * turned.group + block.first * turned.position;
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        const std::int64_t begin = chunk_begin(chunk), columns_width = chunk_begin(chunk + 1) - begin;
        const std::int64_t channels = std::min(columns_width, turned.channels - begin);
        const T* const channel = from + begin * turned.channel;
        T* const to = columns + begin * terms;
        if (p.channels_last)
          kernel.copy_rows(channel, turned.position, terms, channels, to, columns_width);
        else
          for (std::int64_t image = 0; image < block.images; ++image)
            kernel.transpose(channel + image * turned.image, turned.channel, channels, block.count,
                             to + image * block.count * columns_width, columns_width);
      }
      if (p.channels_last)  // the tile's rows take a line of each position
        fetch(lying.data + block.image * lying.image + block.first * lying.position, terms * lying.position);
      for (std::int64_t panel = panels * run / panel_runs; panel < panels * (run + 1) / panel_runs; ++panel) {
        const std::int64_t row = panel_begin(panel), rows = panel_begin(panel + 1) - row;
        const T* const lies = lying.data + block.image * lying.image + group * lying.group +
                              block.first * lying.position + row * lying.channel;
        for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
          const std::int64_t begin = chunk_begin(chunk), columns_width = chunk_begin(chunk + 1) - begin;
          const T* const u = columns + begin * terms;
          T* const m = sums.data() + slice * partial + (group * lying.channels + row) * width + rows * begin;
          if (p.channels_last)
            multiply_last(lying, lies, rows, columns_width, u, terms, add, m);
          else
            multiply(lying, lies, block, image_offset, rows, columns_width, u, add, m);
        }
      }
    }
  });
  parallel_for(p.groups * panels, double(slices * partial), [&](std::int64_t unit) {
    const std::int64_t group = unit / panels, row = panel_begin(unit % panels),
                       rows = panel_begin(unit % panels + 1) - row;
    T* const first = sums.data() + (group * lying.channels + row) * width;
    for (std::int64_t slice = 1; slice < slices; ++slice)
      kernel.axpby(T(1), first, T(1), first + slice * partial, rows * width, first);
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t begin = chunk_begin(chunk), columns_width = chunk_begin(chunk + 1) - begin;
      const std::int64_t count = std::min(columns_width, turned.channels - begin);
      const bool rows_follow = dy_lies || p.channels_last;  // else dw's are the tile's columns
      const std::int64_t of_row = rows_follow ? row : begin, of_column = rows_follow ? begin : row;
      const std::int64_t dw_row = p.channels_last ? p.groups * p.k : p.c;
      T* const to = dw + of_row * dw_row + of_column + (p.channels_last ? group * p.k : group * p.k * p.c);
      if (rows_follow)
        kernel.copy_rows(first + rows * begin, columns_width, rows, count, to, dw_row);
      else
        kernel.transpose(first + rows * begin, columns_width, rows, count, to, dw_row);
    }
  });
}

template bool pointwise_weight_gradient_pays<float>(const Correlation&);
template bool pointwise_weight_gradient_pays<double>(const Correlation&);
template void pointwise_weight_gradient(const Correlation&, const float*, const float*, float*);
template void pointwise_weight_gradient(const Correlation&, const double*, const double*, double*);

}  // namespace convnet
