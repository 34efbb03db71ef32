"""Optimizers: steps against plain formulas, arrays changed in place, states that go on exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convnet.layers import Dense, ReLU, Sequential
from convnet.optim import SGD, Adam, AdamW, Optimizer, RMSprop, clip_gradients, cosine_decay, step_decay

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "SGD": lambda model: SGD(model, 0.1),
    "SGD-decay": lambda model: SGD(model, 0.1, weight_decay=0.3),
    "SGD-momentum": lambda model: SGD(model, 0.1, momentum=0.9, weight_decay=0.3),
    "SGD-nesterov": lambda model: SGD(model, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda model: Adam(model, 0.1),
    "AdamW": lambda model: AdamW(model, 0.1, weight_decay=0.3),
    "RMSprop": lambda model: RMSprop(model, 0.1, rho=0.9),
    "RMSprop-momentum": lambda model: RMSprop(model, 0.1, rho=0.9, momentum=0.8, weight_decay=0.3),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


class Arrays:
    """A model is two dicts."""

    def __init__(self, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(0)
        self.params = {
            "a": rng.standard_normal((3, 2)).astype(dtype),
            "b": rng.standard_normal(4).astype(dtype),
        }
        self.grads: dict[str, np.ndarray] = {}

    def draw(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.grads = {k: rng.standard_normal(p.shape).astype(p.dtype) for k, p in self.params.items()}


def by_formula(name: str, param: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    """The papers' update rules, step by step, with nothing done in place."""
    v = m = u = np.zeros_like(param)
    for t, g in enumerate(grads, 1):
        if name.startswith("RMSprop"):
            momentum, decay = (0.8, 0.3) if name == "RMSprop-momentum" else (0, 0)
            g = g + decay * param
            v = 0.9 * v + 0.1 * g**2
            u = momentum * u + g / (np.sqrt(v) + 1e-8)
            param = param - 0.1 * u
            continue
        if name.startswith("Adam"):
            param = param * (1 - 0.1 * 0.3) if name == "AdamW" else param
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g**2
            param = param - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            continue
        if name in ("SGD-decay", "SGD-momentum"):
            g = g + 0.3 * param
        v = 0.9 * v + g
        direction = {"SGD-momentum": v, "SGD-nesterov": g + 0.9 * v}.get(name, g)
        param = param - 0.1 * direction
    return param


@every_optimizer
def test_steps_follow_the_formula_in_place(name: str) -> None:
    model = Arrays()
    arrays, start = dict(model.params), {k: p.copy() for k, p in model.params.items()}
    optimizer = OPTIMIZERS[name](model)
    history: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for seed in range(5):
        model.draw(seed)
        kept = {k: g.copy() for k, g in model.grads.items()}
        optimizer.step()
        for key, grad in kept.items():
            np.testing.assert_array_equal(model.grads[key], grad)
            history[key].append(grad)
    for key, param in model.params.items():
        assert param is arrays[key]
        np.testing.assert_allclose(param, by_formula(name, start[key], history[key]), rtol=1e-12)
    assert optimizer.steps == 5


@every_optimizer
def test_agrees_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    make = {
        "SGD": lambda p: torch.optim.SGD(p, 0.1),
        "SGD-decay": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3),
        "SGD-momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.3),
        "SGD-nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        "Adam": lambda p: torch.optim.Adam(p, 0.1),
        "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.3),
        "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.9),
        "RMSprop-momentum": lambda p: torch.optim.RMSprop(p, 0.1, alpha=0.9, momentum=0.8, weight_decay=0.3),
    }
    model = Arrays()
    tensors = {k: torch.tensor(p.copy(), requires_grad=True) for k, p in model.params.items()}
    ours, theirs = OPTIMIZERS[name](model), make[name](list(tensors.values()))
    for seed in range(10):
        model.draw(seed)
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(model.grads[key])
        ours.step()
        theirs.step()
    for key, tensor in tensors.items():
        np.testing.assert_allclose(model.params[key], tensor.detach().numpy(), rtol=1e-10)


@every_optimizer
def test_dtype_stays(name: str, dtype: np.dtype) -> None:
    model = Arrays(dtype)
    optimizer = OPTIMIZERS[name](model)
    model.draw(0)
    optimizer.step()
    slots = optimizer.state_dict()["slots"].values()
    kept = [*model.params.values(), *(array for slot in slots for array in slot.values())]
    assert {array.dtype for array in kept} == {dtype}


@every_optimizer
def test_a_state_goes_on_exactly(name: str) -> None:
    model = Arrays()
    optimizer = OPTIMIZERS[name](model)
    for seed in range(3):
        model.draw(seed)
        optimizer.step()
    optimizer.lr = 0.05
    state = optimizer.state_dict()
    other = Arrays()
    for key, param in model.params.items():
        other.params[key][...] = param
    resumed = OPTIMIZERS[name](other)
    resumed.load_state_dict(state)
    for seed in range(3, 6):  # the state is a copy: the first optimizer's steps do not reach the second
        for each, its in ((model, optimizer), (other, resumed)):
            each.draw(seed)
            its.step()
    for key, param in model.params.items():
        np.testing.assert_array_equal(other.params[key], param)
    assert (resumed.lr, resumed.steps) == (0.05, 6)


def test_foreign_states_are_refused_and_change_nothing() -> None:
    model = Arrays()
    sgd, adam = SGD(model, 0.1, momentum=0.9), Adam(model)
    good = sgd.state_dict()
    larger = SGD(Sequential(Dense(3, 2), ReLU()), 0.1)
    without_lr = {k: v for k, v in good["hyper_parameters"].items() if k != "lr"}
    for state in (
        adam.state_dict(),
        larger.state_dict(),
        {},
        {**good, "steps": "3"},
        {**good, "hyper_parameters": without_lr},
        {**good, "slots": {}},
        {**good, "slots": {"velocity": {**good["slots"]["velocity"], "b": np.zeros(5)}}},
        {**good, "slots": {"velocity": {**good["slots"]["velocity"], "b": np.zeros(4, np.float32)}}},
        {**good, "slots": None},
    ):
        with pytest.raises(ValueError, match="load_state_dict"):
            sgd.load_state_dict(state)
    after = sgd.state_dict()
    assert after["hyper_parameters"] == good["hyper_parameters"]
    assert not any(array.any() for array in after["slots"]["velocity"].values())
    sgd.load_state_dict(good)


@every_optimizer
def test_a_step_needs_a_backward(name: str) -> None:
    model = Arrays()
    optimizer = OPTIMIZERS[name](model)
    with pytest.raises(RuntimeError, match="no gradient for a, b; call the model's backward first"):
        optimizer.step()
    assert optimizer.steps == 0


@every_optimizer
def test_a_single_layer_is_a_model(name: str) -> None:
    layer = Dense(3, 2, dtype=np.float64, rng=0)
    optimizer = OPTIMIZERS[name](layer)
    before = layer.params["weight"].copy()
    layer.backward(layer.forward(np.ones((1, 3))))
    optimizer.step()
    assert not np.array_equal(layer.params["weight"], before)


# --- schedules


def test_step_decay() -> None:
    schedule = step_decay(0.5, every=3, factor=0.1)
    np.testing.assert_allclose([schedule(step) for step in range(7)], [0.5] * 3 + [0.05] * 3 + [0.005])
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        step_decay(0.5, 0)


def test_cosine_decay() -> None:
    schedule = cosine_decay(1.0, 10, final=0.2, warmup=3)
    np.testing.assert_allclose([schedule(step) for step in range(4)], [0.25, 0.5, 0.75, 1])
    rest = [schedule(step) for step in range(3, 13)]
    assert rest == sorted(rest, reverse=True)
    np.testing.assert_allclose(rest[7:], [0.2] * 3)
    middle = cosine_decay(1.0, 8)
    np.testing.assert_allclose(
        [middle(0), middle(2), middle(4), middle(8)], [1, (1 + 0.5**0.5) / 2, 0.5, 0], atol=1e-15
    )
    for total, warmup in ((0, 0), (5, 5), (5, -1)):
        with pytest.raises(ValueError, match=rf"warmup must be in \[0, total\), got {warmup} of {total}"):
            cosine_decay(1.0, total, warmup=warmup)


@every_optimizer
def test_a_schedule_sets_the_rate_of_each_step(name: str) -> None:
    """As if lr were set by hand before each step; a state goes on where it was."""
    schedule = cosine_decay(0.1, 6, warmup=2)
    scheduled, by_hand, resumed = Arrays(), Arrays(), Arrays()
    ours, theirs, later = (OPTIMIZERS[name](model) for model in (scheduled, by_hand, resumed))
    ours, later = (
        type(each)(each.model, **{**each.state_dict()["hyper_parameters"], "lr": schedule})
        for each in (ours, later)
    )
    for step in range(6):
        for model in (scheduled, by_hand, resumed):
            model.draw(step)
        theirs.lr = schedule(step)
        theirs.step()
        if step < 3:
            ours.step()
        if step == 3:
            later.load_state_dict(ours.state_dict())
            for key, param in scheduled.params.items():
                resumed.params[key][...] = param
        if step >= 3:
            later.step()
        assert (ours if step < 3 else later).lr == schedule(step)
    for key, param in by_hand.params.items():
        np.testing.assert_array_equal(resumed.params[key], param)


# --- clipping


def test_clip_gradients(dtype: np.dtype) -> None:
    model = Arrays(dtype)
    model.draw(0)
    before = {key: grad.copy() for key, grad in model.grads.items()}
    norm = float(np.sqrt(sum(np.sum(grad.astype(np.float64) ** 2) for grad in before.values())))
    assert clip_gradients(model, norm * 2) == pytest.approx(norm)
    for key, grad in before.items():
        np.testing.assert_array_equal(model.grads[key], grad)
    held = dict(model.grads)
    assert clip_gradients(model, 0.5) == pytest.approx(norm)
    for key, grad in before.items():
        assert model.grads[key] is held[key]
        assert held[key].dtype == dtype
        np.testing.assert_allclose(held[key], grad * (0.5 / norm), rtol=1e-6)
    assert clip_gradients(model, 1) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_left_alone(bad: float) -> None:
    model = Arrays()
    model.draw(0)
    model.grads["b"][1] = bad
    before = {key: grad.copy() for key, grad in model.grads.items()}
    assert not np.isfinite(clip_gradients(model, 0.1))
    for key, grad in before.items():
        np.testing.assert_array_equal(model.grads[key], grad)
    for most in (0, -1, np.nan):
        with pytest.raises(ValueError, match="most must be positive"):
            clip_gradients(model, most)
