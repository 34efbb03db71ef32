"""Layers: what a network is made of.

Each holds its hyper-parameters, its parameters, their gradients and whatever its backward needs from its
forward; the arithmetic is in `convnet.functional`. A layer belongs to one thread at a time.

The arrays are the user's: writing into ``layer.params["weight"][...]`` or rebinding
``layer.params["weight"]`` changes the next forward.

To write a layer, derive from `Layer`: give it ``forward`` and ``backward``, and ``output_shape`` and ``macs``
where the shape changes or products are computed.
"""

from .activations import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .base import Layer
from .convolution import Conv2d, ConvTranspose2d
from .dense import Dense, Flatten
from .normalization import BatchNorm2d, Dropout, LocalResponseNorm
from .pooling import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from .sequential import LayerSummary, Sequential, Summary

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "Layer",
    "LayerSummary",
    "LeakyReLU",
    "LocalResponseNorm",
    "MaxPool2d",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Summary",
    "Tanh",
]
