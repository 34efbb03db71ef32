"""What each model costs: parameters, multiply-accumulates, activations, and the time of one training step.

The time is that of forward, loss, backward and update for one batch, the shortest of several: whatever else
the machine does can only make a step longer. For the CNN it is taken on all three backends.
"""

import time
from collections.abc import Iterator
from math import prod

import convnet

from ...data.dataset import Images, Labels
from ...layers import Conv2d, Sequential
from ...losses import softmax_cross_entropy
from ...optim import Adam, Optimizer
from ..claims import Claim, Part
from ..models import CNN, MLP, OWN
from ..results import Key, Measurement, Results
from ..study import Study

NAME = "cost"
MODELS = ("mlp", MLP, "mlp-macs", CNN, "cnn-gap", "cnn-average", "cnn-strided", "cnn-none", OWN)
BACKENDS = ("naive", "im2col", "native")
BUDGET = 0.25  # seconds a model
FEWEST, MOST = 3, 200  # steps timed
FLOAT32 = 4  # bytes


def measure(study: Study) -> Iterator[Measurement]:
    if not study.first:
        return
    data = study.dataset()
    for model in study.chosen(*MODELS):
        network = study.untrained(model)
        summary = network.summary(data.image_shape)
        for figure, value in (
            ("parameters", summary.parameters),
            ("MACs", summary.macs),
            ("activation bytes", summary.activation_bytes),
        ):
            yield study.measured(NAME, figure, value, model.name)
        for position, (layer, row) in enumerate(zip(network, summary.rows, strict=True)):
            at = float(position), *(float(size) for size in row.output_shape[1:])
            name = f"layer {type(layer).__name__}"
            yield study.measured(NAME, f"{name} parameters", row.parameters, model.name, at=at)
            yield study.measured(NAME, f"{name} MACs", row.macs, model.name, at=at)
            yield study.measured(NAME, f"{name} activation bytes", row.activation_bytes, model.name, at=at)
        yield study.measured(NAME, "step seconds", step_seconds(study, network, BUDGET), model.name)
        if model.name == CNN:
            conv = next(layer for layer in network if isinstance(layer, Conv2d))
            outputs = conv.output_shape((1, *data.image_shape))
            same_maps = prod(data.image_shape) * prod(outputs)
            yield study.measured(NAME, "first convolution MACs", conv.macs((1, *data.image_shape)), CNN)
            yield study.measured(NAME, "dense layer between the same maps MACs", same_maps, CNN)
    for model in study.chosen(CNN):
        for backend in BACKENDS:
            with convnet.backend(backend):
                seconds = step_seconds(study, study.untrained(model), 0, slow=backend == "naive")
            yield study.measured(NAME, f"{backend} step seconds", seconds, model.name)


def step_seconds(study: Study, network: Sequential, budget: float, slow: bool = False) -> float:
    """The shortest step's duration; where it is ``slow`` the first is timed, and alone."""
    data = study.dataset()
    optimizer = Adam(network, lr=study.recipe.learning_rate)
    x, y = data.x_train[: study.recipe.batch_size], data.y_train[: study.recipe.batch_size]
    first = step(network, optimizer, x, y)  # warms caches, threads and buffers
    if slow:
        return first
    times: list[float] = []
    while len(times) < FEWEST or (sum(times) < budget and len(times) < MOST):
        times.append(step(network, optimizer, x, y))
    return min(times)


def step(network: Sequential, optimizer: Optimizer, x: Images, y: Labels) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    _, dlogits = softmax_cross_entropy(network.forward(x, training=True), y)
    network.backward(dlogits, input_grad=False)
    optimizer.step()
    return time.perf_counter() - start


def judge(results: Results) -> tuple[Claim, ...]:
    mlp, wide, cnn = (results.title(model) for model in (MLP, "mlp-macs", CNN))

    def over(figure: str, model: str, other: str = CNN) -> Part:
        named = f"{figure}, {results.title(model)} over {results.title(other)}"
        return Part(named, results.ratio(Key(NAME, figure, model), Key(NAME, figure, other)), "x", least=1)

    macs = {model: results.spread(Key(NAME, "MACs", model)).mean for model in (MLP, CNN)}
    dense = results.ratio(
        Key(NAME, "dense layer between the same maps MACs", CNN), Key(NAME, "first convolution MACs", CNN)
    )
    parameters, compute = over("parameters", "mlp-macs"), over("MACs", MLP)
    time_alike = over("step seconds", MLP)
    return (
        Claim(
            7,
            "cost",
            "Convolution costs less.",
            (
                Part(
                    f"MACs, a dense layer between the same maps over {cnn}'s first convolution", dense, "x", 2
                ),
                Part(f"{parameters.statement}, of as many MACs", parameters.measured, "x", 1.5),
                Part(f"{compute.statement}, of as many parameters", compute.measured, "x", 1.5),
            ),
            remarks=(
                f"A weight of a convolution is used at every place: {cnn} needs {macs[CNN]:,.0f} "
                f"multiply-accumulates an image ({2 * macs[CNN]:,.0f} FLOPs), the {mlp} with as many "
                f"parameters {macs[MLP]:,.0f} ({2 * macs[MLP]:,.0f} FLOPs). Sharing saves parameters, not "
                f"arithmetic.",
                f"Time does not follow MACs alone: on this machine a step of {mlp} takes "
                f"{time_alike.measured.mean:.2f} times as long as one of {cnn}, one of {wide} "
                f"{over('step seconds', 'mlp-macs').measured.mean:.2f} times.",
            ),
        ),
    )
