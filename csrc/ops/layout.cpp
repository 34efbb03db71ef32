#include "layout.h"

#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/parallel.h"

namespace convnet {

template <class T>
void transpose(std::int64_t n, std::int64_t rows, std::int64_t columns, const T* x, T* y) {
  constexpr std::int64_t most = 256;  // rows of one unit
  const std::int64_t blocks = (rows + most - 1) / most;
  parallel_for(n * blocks, double(n) * double(rows) * double(columns) * 2, [&](std::int64_t unit) {
    const std::int64_t first = unit % blocks * most, plane = unit / blocks * rows * columns;
    kernels<T>().transpose(x + plane + first * columns, columns, std::min(most, rows - first), columns,
                           y + plane + first, rows);
  });
}

template void transpose(std::int64_t, std::int64_t, std::int64_t, const float*, float*);
template void transpose(std::int64_t, std::int64_t, std::int64_t, const double*, double*);

}  // namespace convnet
