"""Training: records, determinism, augmentation, interruption, and what is shown."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convnet import CheckpointError
from convnet.layers import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, Layer, ReLU, Sequential
from convnet.losses import softmax_cross_entropy
from convnet.optim import SGD, Adam, RMSprop, cosine_decay
from convnet.training import Epoch, History, evaluate, fit

rng = np.random.default_rng(0)
LABELS = np.arange(50) % 3
X = (rng.normal(0, 0.3, (50, 1, 2, 3)) + LABELS[:, None, None, None]).astype(np.float32)


def network() -> Sequential:
    seeds = np.random.default_rng(1)
    return Sequential(Flatten(), Dense(6, 12, rng=seeds), ReLU(), Dense(12, 3, rng=seeds))


def run(model: Sequential | None = None, **options: Any) -> tuple[Sequential, History]:
    model = model or network()
    settings = {"optimizer": Adam(model, 0.02), "epochs": 4, "batch_size": 16, **options}
    return model, fit(model, X, LABELS, **settings)


def weights(model: Sequential) -> list[bytes]:
    return [array.tobytes() for array in model.params.values()]


def test_fit_learns_and_records(backend: str) -> None:
    model, history = run(epochs=15, validation=(X[:20], LABELS[:20]))
    assert len(history) == 15
    assert [epoch.epoch for epoch in history] == list(range(1, 16))
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert history[-1].train_accuracy > 0.9
    assert all(epoch.seconds > 0 for epoch in history)
    loss, accuracy = evaluate(model, X[:20], LABELS[:20], batch_size=7)
    assert history[-1].validation_loss == pytest.approx(loss, rel=1e-5)
    assert history[-1].validation_accuracy == accuracy
    assert history.column("train_loss") == [epoch.train_loss for epoch in history.epochs]


def test_without_validation_there_is_none() -> None:
    _, history = run()
    assert history.column("validation_loss") == history.column("validation_accuracy") == [None] * 4


def test_figures_are_means_over_all_samples() -> None:
    """With a rate of zero nothing moves, and an epoch's figures are those of `evaluate`, last batch too."""
    model = network()
    _, history = run(model, optimizer=SGD(model, 0.0), epochs=1)
    loss, _ = softmax_cross_entropy(model.forward(X), LABELS)
    accuracy = np.mean(model.predict(X).argmax(axis=1) == LABELS)
    assert history[0].train_loss == pytest.approx(loss, rel=1e-5)
    assert history[0].train_accuracy == accuracy
    for batch_size in (1, 16, 50, 1000):
        assert evaluate(model, X, LABELS, batch_size) == (pytest.approx(loss, rel=1e-5), accuracy)


def test_the_same_seed_gives_the_same_bits(backend: str) -> None:
    (first, one), (second, two) = run(rng=3), run(rng=np.random.default_rng(3))
    assert weights(first) == weights(second)
    assert one.column("train_loss") == two.column("train_loss")
    assert weights(run(rng=4)[0]) != weights(first)


def test_every_epoch_sees_every_sample_once_in_a_new_order() -> None:
    seen: list[np.ndarray] = []

    def spy(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(batch.copy())
        return batch

    run(augment=spy, epochs=2)
    assert [len(batch) for batch in seen] == [16, 16, 16, 2] * 2
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert not np.array_equal(first, second)
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(X, axis=0))


def test_augmentation_changes_what_is_learned_reproducibly_and_not_the_data() -> None:
    def noise(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        batch += rng.normal(0, 1, batch.shape).astype(batch.dtype)
        return batch

    before = X.copy()
    first, second = run(augment=noise)[0], run(augment=noise)[0]
    assert weights(first) == weights(second)
    assert weights(first) != weights(run()[0])
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "told"),
    [
        (X, LABELS[:-1], 16, "one length, at least 1; got 50 and 49"),
        (X[:0], LABELS[:0], 16, "one length, at least 1; got 0 and 0"),
        (X, LABELS, 0, "batch_size must be at least 1, got 0"),
    ],
)
def test_bad_data(x: np.ndarray, y: np.ndarray, batch_size: int, told: str) -> None:
    model = network()
    with pytest.raises(ValueError, match=f"fit: .*{told}"):
        fit(model, x, y, optimizer=SGD(model, 0.1), epochs=1, batch_size=batch_size)
    with pytest.raises(ValueError, match=f"evaluate: .*{told}"):
        evaluate(model, x, y, batch_size)


def test_no_epochs_no_change() -> None:
    model = network()
    before = weights(model)
    assert len(run(model, epochs=0)[1]) == 0
    assert weights(model) == before


# --- Ctrl-C


def interrupt_in_batch(number: int) -> Any:
    """An augmentation that presses Ctrl-C while the given batch is in the works."""
    count = 0

    def augment(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGINT)
        return batch

    return augment


def test_an_interrupt_waits_for_the_end_of_the_batch() -> None:
    """As after exactly six steps: those of one whole epoch of four batches, and two more."""
    model = network()
    optimizer = Adam(model, 0.02)
    with pytest.raises(KeyboardInterrupt):
        run(model, optimizer=optimizer, augment=interrupt_in_batch(6))
    assert optimizer.steps == 6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    expected = network()
    stepper = Adam(expected, 0.02)
    orders = np.random.default_rng(0)
    for step in range(6):
        if step % 4 == 0:
            order = orders.permutation(50)
        chosen = order[step % 4 * 16 : (step % 4 + 1) * 16]
        _, dlogits = softmax_cross_entropy(expected.forward(X[chosen], training=True), LABELS[chosen])
        expected.backward(dlogits)
        stepper.step()
    assert weights(model) == weights(expected)


def test_a_second_interrupt_does_not_wait() -> None:
    def augment(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second interrupt should have left this batch")

    with pytest.raises(KeyboardInterrupt):
        run(augment=augment)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_programs_own_handler_is_kept() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        _, history = run(augment=interrupt_in_batch(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(history) == 4
    assert caught == [signal.SIGINT]


def test_fit_works_in_another_thread() -> None:
    result: list[History] = []
    thread = threading.Thread(target=lambda: result.append(run()[1]))
    thread.start()
    thread.join()
    assert result[0].column("train_loss") == run()[1].column("train_loss")


# --- what is shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_but_to_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    run()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wanted", [True, False])
def test_progress_bar(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", terminal)
    run(progress=wanted)
    assert ("epoch 4/4" in terminal.getvalue()) == wanted


def test_without_rich_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("convnet.training.find_spec", lambda name: None)
    _, history = run()
    assert len(history) == 4
    assert terminal.getvalue() == ""


# --- checkpoints


def deep(seed: int = 0) -> Sequential:
    """With all that a training must not lose: weights, running statistics and generators."""
    rng = np.random.default_rng(seed)
    return Sequential(
        Conv2d(1, 4, 2, rng=rng), BatchNorm2d(4), ReLU(), Flatten(), Sequential(Dropout(0.3, rng=5)),
        Dense(8, 3, rng=rng),
    )  # fmt: skip


def everything(model: Sequential, history: History) -> list[Any]:
    figures = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    return [weights(model), [a.tobytes() for a in model.state.values()], *map(history.column, figures)]


def jitter(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return batch + rng.normal(0, 0.1, batch.shape).astype(batch.dtype)


OPTIMIZERS = {
    "Adam": lambda model: Adam(model, 0.02),
    "SGD": lambda model: SGD(model, cosine_decay(0.1, 24, warmup=3), momentum=0.9, weight_decay=1e-3),
    "RMSprop": lambda model: RMSprop(model, np.float32(0.01), momentum=0.5),
}


def trained(path: Path | None, name: str = "Adam", model: Sequential | None = None, **options: Any) -> Any:
    model = model or deep()
    settings = {
        "epochs": 6,
        "batch_size": 16,
        "validation": (X[:20], LABELS[:20]),
        "augment": jitter,
    } | options
    optimizer = settings.pop("optimizer", None) or OPTIMIZERS[name](model)
    return model, fit(model, X, LABELS, optimizer=optimizer, checkpoint=path, **settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path: Path, name: str, backend: str) -> None:
    """Ctrl-C in the middle of the third epoch; the whole of it is done again."""
    expected = everything(*trained(None, name))
    path = tmp_path / "run"
    press = interrupt_in_batch(10)

    def augment(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return jitter(press(batch, rng), rng)

    with pytest.raises(KeyboardInterrupt):
        trained(path, name, augment=augment)
    seen: list[Epoch] = []
    model, history = trained(path, name, deep(seed=9), on_epoch=seen.append)
    assert everything(model, history) == expected
    assert seen == list(history)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "generator", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]
)
def test_every_generator_goes_on(tmp_path: Path, generator: Any) -> None:
    expected = everything(*trained(None, rng=np.random.Generator(generator(7))))
    path = tmp_path / "run"
    trained(path, epochs=2, rng=np.random.Generator(generator(7)))
    resumed = np.random.Generator(generator(8))
    assert everything(*trained(path, rng=resumed)) == expected
    whole = np.random.Generator(generator(7))
    trained(None, rng=whole)
    assert resumed.random() == whole.random()


def test_more_epochs_go_on_in_the_same_process(tmp_path: Path) -> None:
    model = deep()
    optimizer = OPTIMIZERS["SGD"](model)
    for epochs in (1, 1, 4, 6):
        _, history = trained(tmp_path / "run", model=model, optimizer=optimizer, epochs=epochs)
        assert len(history) == epochs
        assert optimizer.steps == 4 * epochs
    assert everything(model, history) == everything(*trained(None, "SGD"))


def test_a_finished_training_is_read_and_not_run(tmp_path: Path) -> None:
    expected = everything(*trained(tmp_path / "run"))
    before = (tmp_path / "run").read_bytes()

    def never(batch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise AssertionError

    assert everything(*trained(tmp_path / "run", model=deep(3), augment=never)) == expected
    assert (tmp_path / "run").read_bytes() == before


def test_a_checkpoint_changes_nothing_else(tmp_path: Path) -> None:
    assert everything(*trained(tmp_path / "run")) == everything(*trained(None))


def test_a_diverged_training_can_be_kept(tmp_path: Path) -> None:
    model = network()
    x = np.full_like(X, np.nan)
    for epochs in (1, 2):
        history = fit(
            model, x, LABELS, optimizer=SGD(model, 0.1), epochs=epochs, batch_size=16,
            checkpoint=tmp_path / "run",
        )  # fmt: skip
    assert np.isnan(history.column("train_loss")).all()


class Doubled(Layer):
    """A layer of the user's own with a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = np.random.default_rng(2)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x * self.noise.choice(np.array([1, 2], x.dtype)) if training else x

    def backward(self, dy: np.ndarray, input_grad: bool = True) -> np.ndarray | None:
        return dy if input_grad else None


def test_layers_of_ones_own_go_on(tmp_path: Path) -> None:
    def build() -> Sequential:
        return Sequential(Doubled(), *network())

    expected = everything(*trained(None, model=build()))
    trained(tmp_path / "run", model=build(), epochs=3)
    assert everything(*trained(tmp_path / "run", model=build())) == expected


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "batch size": ({"batch_size": 8}, "another batch_size: 16, not 8"),
    "seed": ({"rng": 1}, "another rng: 0, not 1"),
    "epochs": ({"epochs": 1}, "has 2 epochs, more than the 1 asked for"),
    "model": ({"model": network()}, "of another model"),
    "optimizer": ({"name": "RMSprop"}, "another rho|another optimizer|another lr"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_training_is_refused_and_changes_nothing(tmp_path: Path, what: str) -> None:
    trained(tmp_path / "run", epochs=2)
    options, told = OTHERS[what]
    model = options.get("model") or deep(4)
    before = weights(model)
    with pytest.raises(CheckpointError, match=f"run: .*({told})"):
        trained(tmp_path / "run", **{**options, "model": model})
    assert weights(model) == before


def test_other_data_and_rates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    trained(path, "SGD", epochs=2)
    for x, y, told in ((X + 1, LABELS, "another x"), (X, 2 - LABELS, "another y")):
        model = deep()
        with pytest.raises(CheckpointError, match=told):
            fit(model, x, y, optimizer=OPTIMIZERS["SGD"](model), epochs=6, batch_size=16, checkpoint=path)
    for schedule in (0.1, cosine_decay(0.1, 25, warmup=3)):
        model = deep()
        optimizer = SGD(model, schedule, momentum=0.9, weight_decay=1e-3)
        with pytest.raises(CheckpointError, match="another lr"):
            trained(path, model=model, optimizer=optimizer)
        assert optimizer.steps == 0
    model = deep()
    with pytest.raises(CheckpointError, match="another momentum"):
        trained(path, model=model, optimizer=SGD(model, cosine_decay(0.1, 24, warmup=3), weight_decay=1e-3))


def test_a_damaged_checkpoint_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run"
    trained(path, epochs=1)
    whole = path.read_bytes()
    model = deep()
    before = weights(model)
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="run: "):
            trained(path, model=model)
    for position in range(0, len(whole), 89):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(CheckpointError, match="run: "):
            trained(path, model=model)
    model.save(path)
    with pytest.raises(CheckpointError, match="expected convnet training of version 1, got convnet model"):
        trained(path, model=model)
    assert weights(model) == before


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    trained(path, epochs=2)
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            trained(path)
    assert path.read_bytes() == before
    assert everything(*trained(path)) == everything(*trained(None))
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_numpy_reads_a_checkpoint_without_pickle(tmp_path: Path) -> None:
    trained(tmp_path / "run.npz", epochs=1)
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        assert {"header", "params/0.weight", "state/1.mean", "slots/m/0.weight"} <= set(file)
