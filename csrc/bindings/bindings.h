// What each field adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace convnet::bindings {

void bind_activations(pybind11::module_& m);
void bind_conv_transpose2d(pybind11::module_& m);
void bind_normalization(pybind11::module_& m);
void bind_optimizers(pybind11::module_& m);
void bind_pool2d(pybind11::module_& m);

}  // namespace convnet::bindings
