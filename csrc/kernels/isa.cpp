// One instruction set's table. Compiled once for each, with CONVNET_ISA naming it; everything but the table itself
// has internal linkage, so that no linker can put this unit's code where an older processor runs it.
#include <type_traits>

#include "channels_last.h"
#include "depthwise.h"
#include "elementwise.h"
#include "exponential.h"
#include "kernels.h"
#include "optimizers.h"
#include "pool.h"
#include "pool_last.h"
#include "rows.h"
#include "strip.h"
#include "tile.h"
#include "winograd.h"

namespace convnet {
namespace {

template <class T>
Kernels<T> make() {
  Kernels<T> table = {};
  table.lanes = kLanes<T>;
  table.most_rows[1] = tallest<1>();
  table.most_rows[2] = tallest<2>();
  table.most_rows[3] = tallest<3>();
  table.most_rows[4] = tallest<4>();
  add_tiles<T, 1, 1>(table);
  add_tiles<T, 1, 2>(table);
  add_tiles<T, 1, 3>(table);
  add_tiles<T, 1, 4>(table);
  add_products<T, 1, 1>(table);
  add_products<T, 1, 2>(table);
  if constexpr (sizeof(T) == 4) add_products<T, 1, 3>(table);
  add_rows_products<T, 1, 1>(table);
  add_rows_products<T, 1, 2>(table);
  table.depthwise_last = depthwise_last<T>;
  table.depthwise_last_grid[int(DepthwiseTaps::grid3x3)] = depthwise_last_grid<T, 3, (kRegisters >= 32 ? 4 : 2)>;
  table.depthwise_last_grid[int(DepthwiseTaps::grid5x5)] = depthwise_last_grid<T, 5, 2>;
  table.depthwise_last_gradient = depthwise_last_gradient<T>;
  table.turn_planes = turn_planes<T>;
  table.depthwise_lanes = depthwise_lanes<T>;
  table.pack_panels = pack_panels<T>;
  table.place = place<T>;
  table.pad_rows = pad_rows<T>;
  table.depthwise[int(DepthwiseTaps::any)] = depthwise<T, AnyTaps<T>>;
  table.depthwise[int(DepthwiseTaps::columns)] = depthwise<T, ColumnTaps<T>>;
  table.depthwise[int(DepthwiseTaps::grid3x3)] = depthwise<T, GridTaps<T, 3, 3, 1>>;
  table.depthwise[int(DepthwiseTaps::grid3x3_step2)] = depthwise<T, GridTaps<T, 3, 3, 2>>;
  // Measured: 16 registers of 16 bytes lose more on a grid of 25 taps than its unrolling gains.
  using Grid5x5 = std::conditional_t<(kVectorBytes > 16), GridTaps<T, 5, 5, 1>, ColumnTaps<T>>;
  using Grid5x5Step2 = std::conditional_t<(kVectorBytes > 16), GridTaps<T, 5, 5, 2>, AnyTaps<T>>;
  table.depthwise[int(DepthwiseTaps::grid5x5)] = depthwise<T, Grid5x5>;
  table.depthwise[int(DepthwiseTaps::grid5x5_step2)] = depthwise<T, Grid5x5Step2>;
  table.depthwise_gradient[int(DepthwiseTaps::any)] = gradient_of_any_taps<T>;
  table.depthwise_gradient[int(DepthwiseTaps::columns)] = gradient_of_any_taps<T>;
  table.depthwise_gradient[int(DepthwiseTaps::grid3x3)] = gradient_of_grid<T, 3, 3, 1>;
  table.depthwise_gradient[int(DepthwiseTaps::grid3x3_step2)] = gradient_of_grid<T, 3, 3, 2>;
  table.depthwise_gradient[int(DepthwiseTaps::grid5x5)] = gradient_of_grid<T, 5, 5, 1>;
  table.depthwise_gradient[int(DepthwiseTaps::grid5x5_step2)] = gradient_of_any_taps<T>;
  table.max_pool = max_pool<T>;
  table.scatter = scatter<T>;
  table.average_pool = average_pool<T>;
  table.pool_last[int(LastKind::greatest)] = pool_last<T, LastGreatest>;
  table.pool_last[int(LastKind::place)] = pool_last<T, LastPlace>;
  table.pool_last[int(LastKind::average)] = pool_last<T, LastAverage>;
  table.unpool_last = unpool_last<T>;
  table.scatter_last = scatter_last<T>;
  table.spread_last = spread_last<T>;
  table.copy_rows = copy_rows<T>;
  table.sum_windows = sum_windows<T>;
  table.split_rows[int(RowReduction::none)] = split_rows<T, Only>;
  table.split_rows[int(RowReduction::sum)] = split_rows<T, Sum>;
  table.split_rows[int(RowReduction::greatest)] = split_rows<T, Greater>;
  table.repeat = repeat<T>;
  table.transpose = transpose<T>;
  table.sum = sum<T>;
  table.relu = relu<T>;
  table.relu_backward = relu_backward<T>;
  table.axpby = axpby<T>;
  table.leaky_relu = leaky_relu<T>;
  table.leaky_relu_backward = leaky_relu_backward<T>;
  table.sigmoid = sigmoid<T>;
  table.sigmoid_backward = sigmoid_backward<T>;
  table.tanh = tanh<T>;
  table.tanh_backward = tanh_backward<T>;
  table.exp_sum = exp_sum<T>;
  table.softmax_backward = softmax_backward<T>;
  table.log_softmax_backward = log_softmax_backward<T>;
  table.largest = largest<T>;
  table.dot = dot<T>;
  table.squared_distance = squared_distance<T>;
  table.normalize = normalize<T>;
  table.normalize_backward = normalize_backward<T>;
  table.sgd_step = sgd_step<T>;
  table.adam_step = adam_step<T>;
  table.rmsprop_step = rmsprop_step<T>;
  if constexpr (sizeof(T) == 4) {
    table.depthwise_image[int(DepthwiseTaps::grid3x3)] = depthwise_image<T, 3, 1>;
    table.depthwise_image[int(DepthwiseTaps::grid3x3_step2)] = depthwise_image<T, 3, 2>;
    table.winograd_input = winograd_input;
    table.winograd_output = winograd_output;
    table.winograd_weights = winograd_weights;
    if constexpr (kRegisters >= 32) add_winograd_rows<0, 1>(table);
    table.winograd_turned_input = winograd_turned<6>;
    table.winograd_turned_gradient = winograd_turned<4>;
    table.winograd_weight_gradient = winograd_weight_gradient;
    table.winograd_input_last = winograd_last<6>;
    table.winograd_gradient_last = winograd_last<4>;
    table.winograd_output_last = winograd_output_last;
  }
  return table;
}

}  // namespace

#define CONVNET_TEXT_(name) #name
#define CONVNET_TEXT(name) CONVNET_TEXT_(name)
#define CONVNET_TABLE_(name) isa_table_##name
#define CONVNET_TABLE(name) CONVNET_TABLE_(name)

// The unit's one symbol.
void CONVNET_TABLE(CONVNET_ISA)(IsaTable& table) {
  table.name = CONVNET_TEXT(CONVNET_ISA);
  table.f32 = make<float>();
  table.f64 = make<double>();
}

}  // namespace convnet
