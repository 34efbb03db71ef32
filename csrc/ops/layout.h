// From channels last to channels first, and back.
#pragma once

#include <cstdint>

namespace convnet {

// y[n][j][i] = x[n][i][j] for dense x (n, rows, columns)
template <class T>
void transpose(std::int64_t n, std::int64_t rows, std::int64_t columns, const T* x, T* y);

}  // namespace convnet
