#include "correlation.h"
namespace convnet {
bool depthwise_serves(const Correlation&) { return false; }
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise(const Correlation& p, const Weights<T>& w) {
  return pack_direct(p, w);
}
template std::unique_ptr<PackedCorrelation<float>> pack_depthwise(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_depthwise(const Correlation&, const Weights<double>&);
}  // namespace convnet
