"""Training a classifier: batches in, records out. Nothing is printed but a progress bar, on a terminal."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import FrameType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Array
from .layers import Layer
from .losses import softmax_cross_entropy
from .optim import Optimizer

Augment: TypeAlias = "Callable[[Array, np.random.Generator], Array]"
Labels: TypeAlias = NDArray[np.integer]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data.

    `train_loss` and `train_accuracy` are measured batch by batch while the weights still move; `seconds`
    leaves validation out.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass
class History:
    """What `fit` measured: one `Epoch` after another."""

    epochs: list[Epoch] = field(default_factory=list)

    def column(self, name: str) -> list[float | None]:
        """One figure over all epochs: ``history.column("train_loss")``."""
        return [getattr(epoch, name) for epoch in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, position: int) -> Epoch:
        return self.epochs[position]

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)


def fit(
    model: Layer,
    x: Array,
    y: ArrayLike,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    validation: tuple[Array, ArrayLike] | None = None,
    rng: int | np.random.Generator = 0,
    augment: Augment | None = None,
    progress: bool = True,
) -> History:
    """Train `model` to classify x (n, ...) as y (n,), by softmax cross-entropy over its outputs (N, classes).

    The same `rng` gives the same weights, bit for bit, on the same machine. Ctrl-C takes effect between
    batches: the model and the optimizer are then as after a whole number of steps, and KeyboardInterrupt is
    raised. A second Ctrl-C does not wait.

    Args:
        optimizer: made for `model`.
        validation: (x, y) to evaluate after each epoch.
        rng: a seed or a Generator, for the order of the data and for `augment`.
        augment: ``augment(batch, rng) -> batch``, applied to each batch of x as it is drawn.
        progress: show a bar on a terminal, where rich is installed.

    Raises ValueError where x and y differ in length or are empty, or `batch_size` is below 1.
    """
    labels = _labels("fit", x, y, batch_size)
    generator = np.random.default_rng(rng)
    history = History()
    batches = math.ceil(len(x) / batch_size)
    with _progress_bar(progress, epochs * batches) as advance, _interrupts_held() as interrupted:
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            order = generator.permutation(len(x))
            loss_sum, correct = 0.0, 0
            for begin in range(0, len(x), batch_size):
                chosen = order[begin : begin + batch_size]
                batch = x[chosen] if augment is None else augment(x[chosen], generator)
                loss, hits = _train_step(model, optimizer, batch, labels[chosen])
                loss_sum += loss * len(chosen)
                correct += hits
                interrupted()
                advance(f"epoch {epoch}/{epochs}  loss {loss:.4f}")
            seconds = time.perf_counter() - start
            checked: tuple[float | None, float | None] = (None, None)
            if validation is not None:
                checked = evaluate(model, *validation, batch_size)
            history.epochs.append(Epoch(epoch, loss_sum / len(x), correct / len(x), *checked, seconds))
    return history


def evaluate(model: Layer, x: Array, y: ArrayLike, batch_size: int = 256) -> tuple[float, float]:
    """(mean loss, accuracy) of `model` on x (n, ...) and y (n,), not in training mode.

    Raises ValueError where x and y differ in length or are empty, or `batch_size` is below 1.
    """
    labels = _labels("evaluate", x, y, batch_size)
    loss_sum, correct = 0.0, 0
    for begin in range(0, len(x), batch_size):
        truth = labels[begin : begin + batch_size]
        logits = model.forward(x[begin : begin + batch_size])
        loss, _ = softmax_cross_entropy(logits, truth)
        loss_sum += loss * len(truth)
        correct += _hits(logits, truth)
    return loss_sum / len(x), correct / len(x)


def _train_step(model: Layer, optimizer: Optimizer, x: Array, labels: Labels) -> tuple[float, int]:
    # One batch: the loss, and how many were right.
    logits = model.forward(x, training=True)
    loss, dlogits = softmax_cross_entropy(logits, labels)
    model.backward(dlogits, input_grad=False)
    optimizer.step()
    return loss, _hits(logits, labels)


def _hits(logits: Array, labels: Labels) -> int:
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))


def _labels(op: str, x: Array, y: ArrayLike, batch_size: int) -> Labels:
    labels = np.asarray(y)
    if len(x) != len(labels) or len(x) == 0:
        raise ValueError(f"{op}: x and y must be of one length, at least 1; got {len(x)} and {len(labels)}")
    if batch_size < 1:
        raise ValueError(f"{op}: batch_size must be at least 1, got {batch_size}")
    return labels


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    # Ctrl-C waits until the function yielded here is called. Python delivers signals to the main thread
    # alone, and a program that handles SIGINT in its own way keeps doing so.
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: None
        return

    pending = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pending
        if pending:
            raise KeyboardInterrupt
        pending = True

    def release() -> None:
        if pending:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield release
        release()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _progress_bar(wanted: bool, total: int) -> Iterator[Callable[[str], None]]:
    # Yields a function to call after each batch.
    if not (wanted and sys.stderr is not None and sys.stderr.isatty() and find_spec("rich")):
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda text: bar.update(task, advance=1, description=text)
