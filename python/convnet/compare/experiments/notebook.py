"""The well-known CIFAR-10 notebook's comparison as it was: two models, two recipes.

Its ANN had five epochs of SGD, its CNN ten of Adam, in batches of 32. Beside the run's one recipe for both,
this shows how much of the difference was the recipe's. Runs with ``--models notebook`` alone.
"""

from collections.abc import Iterator
from dataclasses import replace

from ...data import Dataset
from ..claims import Claim
from ..models import CNN, Model
from ..results import Measurement, Results
from ..study import PLAIN, Recipe, Study, Variant

NAME = "notebook"
MODELS = ("mlp", CNN)
EPOCHS = {"mlp": 5, CNN: 10}


def as_it_was(recipe: Recipe, model: Model, data: Dataset) -> Recipe:
    """Keras's defaults: SGD at 0.01 for the ANN, Adam at 0.001 for the CNN, neither ever lowered."""
    optimizer, rate = ("SGD", 0.01) if model.name == "mlp" else ("Adam", 0.001)
    epochs = min(EPOCHS.get(model.name, recipe.epochs), recipe.epochs)
    return replace(recipe, optimizer=optimizer, learning_rate=rate, schedule="constant", epochs=epochs)


AS_IT_WAS = Variant("as-it-was", recipe=as_it_was, share=0.3)
TRAININGS = ((MODELS, PLAIN), (MODELS, AS_IT_WAS))


def measure(study: Study) -> Iterator[Measurement]:
    data = study.dataset()
    for model in study.chosen(*MODELS):
        for variant in (PLAIN, AS_IT_WAS):
            accuracy = study.trained(model, variant).accuracy(data.x_test, data.y_test)
            yield study.measured(NAME, "accuracy", accuracy, model.name, variant.name)


def judge(results: Results) -> tuple[Claim, ...]:
    """None of the claims: a comparison to look at."""
    return ()
