// Error texts: values and shapes run together with a stream.
#pragma once

#include <array>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace convnet {

template <std::size_t N>
std::ostream& operator<<(std::ostream& out, const std::array<std::int64_t, N>& shape) {
  out << '(';
  for (std::size_t i = 0; i < N; ++i) out << (i ? ", " : "") << shape[i];
  return out << ')';
}

template <class... Parts>
[[gnu::cold]] std::string message(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) throw std::invalid_argument(message(parts...));
}

}  // namespace convnet
