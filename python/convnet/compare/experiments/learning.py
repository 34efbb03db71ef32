"""How well each model learns: accuracy epoch by epoch, on the images it trains on and on held-out ones."""

from collections.abc import Iterator

from ..claims import Claim
from ..models import CNN, MLP, OWN
from ..results import Measurement, Results
from ..study import PLAIN, Study

NAME = "learning"
MODELS = ("mlp", MLP, "mlp-macs", CNN, "cnn-gap", "cnn-average", "cnn-strided", OWN)
TRAININGS = ((MODELS, PLAIN),)


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    for model in study.chosen(*MODELS):
        trained = study.trained(model)
        yield study.measured(NAME, "train accuracy", trained.accuracy(data.x_train, data.y_train), model.name)
        yield study.measured(NAME, "test accuracy", trained.accuracy(data.x_test, data.y_test), model.name)
        for figure, curve in trained.curves.items():
            for epoch, value in enumerate(curve, 1):
                yield study.measured(NAME, f"{figure} curve", value, model.name, at=(epoch,))


def judge(results: Results) -> tuple[Claim, ...]:
    """None of the claims: the ground on which the others stand."""
    return ()
