"""How long one training step takes on this machine: forward, loss, backward, update."""

import time
from collections.abc import Iterator

from ...data.dataset import Images, Labels
from ...layers import Sequential
from ...losses import softmax_cross_entropy
from ...optim import Adam, Optimizer
from ..records import StepTime
from ..study import Study

BUDGET = 0.5  # seconds a model
FEWEST, MOST = 3, 200  # steps timed


def measure(study: Study) -> Iterator[StepTime]:
    for dataset, model in study.pairs():
        data = study.dataset(dataset)
        network = study.untrained(dataset, model)
        optimizer = Adam(network, lr=study.recipe.learning_rate)
        x = data.x_train[: study.recipe.batch_size]
        y = data.y_train[: study.recipe.batch_size]
        step(network, optimizer, x, y)  # the first one warms caches, threads and buffers
        times: list[float] = []
        while len(times) < FEWEST or (sum(times) < BUDGET and len(times) < MOST):
            times.append(step(network, optimizer, x, y))
        yield StepTime(
            dataset=dataset,
            model=model.name,
            batch_size=len(x),
            repeats=len(times),
            seconds=min(times),
        )


def step(network: Sequential, optimizer: Optimizer, x: Images, y: Labels) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    _, dlogits = softmax_cross_entropy(network.forward(x, training=True), y)
    network.backward(dlogits, input_grad=False)
    optimizer.step()
    return time.perf_counter() - start
