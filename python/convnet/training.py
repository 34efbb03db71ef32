"""Training a classifier: batches in, records out. Nothing is printed but a progress bar, on a terminal."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Array
from .checkpoint import CheckpointError, load_training, save_training
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
    checkpoint: str | PathLike[str] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress: bool = True,
) -> History:
    """Train `model` to classify x (n, ...) as y (n,), by softmax cross-entropy over its outputs (N, classes).

    The same `rng` gives the same weights, bit for bit, on the same machine. Ctrl-C takes effect between
    batches: the model and the optimizer are then as after a whole number of steps, and KeyboardInterrupt is
    raised. A second Ctrl-C does not wait.

    With a `checkpoint`, what it takes to go on is written to that file after each epoch, whole or not at all
    (see `convnet.checkpoint`), and where the file is there already training goes on from it: the same call
    after an interruption, or one with more epochs, ends with the weights and records of a call that was never
    interrupted, bit for bit. Model, optimizer, data, batch size, seed and augmentation must be made as
    before; what the model has learned and the optimizer gathered is overwritten.

    Args:
        optimizer: made for `model`.
        validation: (x, y) to evaluate after each epoch.
        rng: a seed or a Generator, for the order of the data and for `augment`.
        augment: ``augment(batch, rng) -> batch``, applied to each batch of x as it is drawn.
        checkpoint: a file to go on from and to write to.
        on_epoch: called with each epoch's record when it is there, beginning with those of the checkpoint.
        progress: show a bar on a terminal, where rich is installed.

    Raises:
        ValueError: where x and y differ in length or are empty, or `batch_size` is below 1.
        CheckpointError: a ValueError, where the checkpoint is damaged, or of another model, optimizer, data,
            batch size, seed or learning rate, or has more epochs than asked. Nothing is changed then.
    """
    labels = _labels("fit", x, y, batch_size)
    generator = np.random.default_rng(rng)
    history = History()
    facts: dict[str, Any] = {}
    if checkpoint is not None:
        facts = _facts(x, labels, batch_size, rng)
        if Path(checkpoint).exists():
            history.epochs += _resume(checkpoint, model, optimizer, generator, facts, epochs)
    if on_epoch is not None:
        for record in history:
            on_epoch(record)
    batches = math.ceil(len(x) / batch_size)
    left = range(len(history) + 1, epochs + 1)
    with _progress_bar(progress, len(left) * batches) as advance, _interrupts_held() as interrupted:
        for epoch in left:
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
            if checkpoint is not None:
                records = [asdict(record) for record in history]
                save_training(checkpoint, model, optimizer, [generator], {**facts, "epochs": records})
            if on_epoch is not None:
                on_epoch(history[-1])
    return history


def _facts(x: Array, labels: Labels, batch_size: int, rng: int | np.random.Generator) -> dict[str, Any]:
    # What must be the same for a training to go on, as JSON has it. Functions cannot be compared, and
    # generators need not be.
    import hashlib

    def described(array: Array) -> list[Any]:
        values = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        return [array.dtype.str, list(array.shape), values]

    seed = int(rng) if isinstance(rng, int | np.integer) else None
    return {"x": described(x), "y": described(labels), "batch_size": batch_size, "rng": seed}


def _resume(
    checkpoint: str | PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    generator: np.random.Generator,
    facts: Mapping[str, Any],
    epochs: int,
) -> list[Epoch]:
    # Brings all to where the checkpoint was written, and returns the epochs it has.
    found: list[Epoch] = []

    def check(stored: Mapping[str, Any], hyper_parameters: Mapping[str, Any], steps: int) -> None:
        for name, value in facts.items():
            if stored[name] != value:
                told = f": {stored[name]}, not {value}" if name in ("batch_size", "rng") else ""
                raise CheckpointError(f"is of a training with another {name}{told}")
        for name, value in optimizer.resumed_hyper_parameters(steps).items():
            if hyper_parameters.get(name) != value:
                raise CheckpointError(
                    f"is of a training with another {name}: {hyper_parameters.get(name)}, not {value}"
                )
        found.extend(Epoch(**record) for record in stored["epochs"])
        if len(found) > epochs:
            raise CheckpointError(f"has {len(found)} epochs, more than the {epochs} asked for")

    load_training(checkpoint, model, optimizer, [generator], check)
    return found


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
