"""Training: records, determinism, augmentation, interruption, and what is shown."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import Any

import numpy as np
import pytest

from convnet.layers import Dense, Flatten, ReLU, Sequential
from convnet.losses import softmax_cross_entropy
from convnet.optim import SGD, Adam
from convnet.training import History, evaluate, fit

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
