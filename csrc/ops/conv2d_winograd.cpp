#include "correlation.h"
namespace convnet {
bool winograd_serves(const Correlation&) { return false; }
std::unique_ptr<PackedCorrelation<float>> pack_winograd(const Correlation& p, const Weights<float>& w) {
  return pack_direct(p, w);
}
}  // namespace convnet
