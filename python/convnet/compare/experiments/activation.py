"""What the activation is for: the same networks with ReLU, with none, with tanh and with the sigmoid."""

from collections.abc import Iterator

import numpy as np

from ...layers import Sequential
from ..claims import Claim, Part
from ..models import CNN, MLP
from ..results import Key, Measurement, Results
from ..study import PLAIN, Study

NAME = "activation"
MODELS = (MLP, "mlp-linear", CNN, "cnn-linear", "cnn-tanh", "cnn-sigmoid")
TRAININGS = ((MODELS, PLAIN),)


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    for model in study.chosen(*MODELS):
        trained = study.trained(model)
        accuracy = trained.accuracy(data.x_test, data.y_test)
        yield study.measured(NAME, "accuracy", accuracy, model.name)
        yield study.measured(NAME, "bend", bend(trained.network, data.x_test[:64]), model.name)


def bend(network: Sequential, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """How far the network is from a linear map: |f(a) + f(b) - f(a + b) - f(0)| beside |f(a) - f(0)|."""
    a, b = x[: len(x) // 2], x[len(x) // 2 : 2 * (len(x) // 2)]
    zero = network.predict(np.zeros_like(a))
    parts, whole = network.predict(a) + network.predict(b), network.predict(a + b)
    return float(abs(parts - whole - zero).max() / abs(network.predict(a) - zero).max())


def judge(results: Results) -> tuple[Claim, ...]:
    def gained(model: str, other: str) -> Part:
        return Part(
            f"accuracy, {results.title(model)} over {results.title(other)}",
            results.difference(Key(NAME, "accuracy", model), Key(NAME, "accuracy", other)),
            "points",
            0.005,
        )

    relu, linear = (results.spread(Key(NAME, "bend", model)) for model in (MLP, "mlp-linear"))
    pooled = results.spread(Key(NAME, "bend", "cnn-linear")).mean
    tanh = results.difference(Key(NAME, "accuracy", CNN), Key(NAME, "accuracy", "cnn-tanh"))
    return (
        Claim(
            9,
            "activation",
            "ReLU gives the non-linearity that the network needs.",
            (
                Part("departure from a linear map, MLP with ReLU", relu, least=0.05),
                Part("departure from a linear map, MLP without", linear, most=1e-4),
                gained(MLP, "mlp-linear"),
                gained(CNN, "cnn-linear"),
                gained(CNN, "cnn-sigmoid"),
            ),
            remarks=(
                f"Without ReLU the CNN is still not linear (departure {pooled:.2g}): max pooling bends too.",
                f"tanh bends as well: ReLU's accuracy is {100 * tanh.mean:+.1f} points beside it.",
            ),
        ),
    )
