"""Optimizers: steps against plain formulas, arrays changed in place, states that go on exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convnet
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
def test_steps_follow_the_formula_in_place(name: str, backend: str) -> None:
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
def test_agrees_with_torch(name: str, backend: str) -> None:
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


# --- the compiled steps


class One:
    """A model of one array, which may be strange."""

    def __init__(self, param: np.ndarray, grad: np.ndarray) -> None:
        self.params = {"a": param}
        self.grads = {"a": grad}


def after(name: str, backend: str, param: np.ndarray, grads: list[np.ndarray]) -> list[np.ndarray]:
    """The parameter and what is kept beside it after steps on copies that lie as the originals do."""
    model = One(param.copy("K"), grads[0])
    optimizer = OPTIMIZERS[name](model)
    with convnet.backend(backend):
        for grad in grads:
            model.grads["a"] = grad
            optimizer.step()
    return [model.params["a"], *(slots["a"] for slots in optimizer.state_dict()["slots"].values())]


def drawn(shape: Any, dtype: Any, count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(count)]


# Sizes about whole vectors of every instruction set, and about the blocks that threads share.
@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 8, 15, 16, 17, 33, 32767, 32768, 32769, 100_003])
@every_optimizer
def test_compiled_steps_are_the_formula_to_rounding(name: str, size: int, dtype: np.dtype) -> None:
    rng = np.random.default_rng(2)
    # Gradients of one sign an element, away from zero: a sum that cancels would show its terms' rounding.
    sign = np.where(rng.random(size) < 0.5, -1, 1)
    param, *grads = (np.asarray(sign * rng.uniform(0.5, 1.5, size), dtype) for _ in range(5))
    unit = np.finfo(dtype).eps
    for ours, formula in zip(
        after(name, "native", param, grads), after(name, "im2col", param, grads), strict=True
    ):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, formula, rtol=16 * unit, atol=8 * unit)


@every_optimizer
def test_compiled_steps_have_the_same_bits_on_any_number_of_threads(name: str, dtype: np.dtype) -> None:
    param, *grads = drawn(200_001, dtype)
    threads = convnet.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5):
            convnet.set_num_threads(count)
            found.append(after(name, "native", param, grads))
    finally:
        convnet.set_num_threads(threads)
    for others in found[1:]:
        for first, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(first, other)


@every_optimizer
def test_compiled_steps_pass_on_what_is_not_finite(name: str, dtype: np.dtype) -> None:
    param, *grads = drawn(40, dtype)
    grads[1][[3, 17, 39]] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        formula = after(name, "im2col", param, grads)
    for ours, expected in zip(after(name, "native", param, grads), formula, strict=True):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(ours), np.isinf(expected))


@pytest.mark.parametrize("name", ["SGD-momentum", "SGD-nesterov", "Adam", "AdamW", "RMSprop-momentum"])
def test_what_is_kept_ends_at_zero_and_not_among_the_subnormals(name: str, dtype: np.dtype) -> None:
    """Without a gradient a running mean shrinks step by step."""
    param = np.ones(37, dtype)
    model = One(param, np.full_like(param, 1e-3))
    optimizer = OPTIMIZERS[name](model)
    optimizer.lr = 0.0
    if hasattr(optimizer, "weight_decay"):
        optimizer.weight_decay = 0.0
    optimizer.step()
    model.grads["a"] = np.zeros_like(param)
    least = 4 * np.finfo(dtype).tiny
    first = {"Adam": "m", "AdamW": "m"}.get(name, "velocity")
    for _ in range(9000):
        optimizer.step()
        kept = optimizer._slots[first]["a"]
        assert ((kept == 0) | (abs(kept) >= least)).all()
        if not kept.any():
            break
    assert not kept.any()


STRANGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed": lambda a: np.asfortranarray(a),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "misaligned": lambda a: (
        np.frombuffer(b"\0" + a.tobytes(), np.uint8).copy()[1:].view(a.dtype).reshape(a.shape)
    ),
    "float16": lambda a: a.astype(np.float16),
}


@pytest.mark.parametrize("which", ["param", "grad"])
@pytest.mark.parametrize("how", STRANGE)
@every_optimizer
def test_strange_arrays_take_the_formula(name: str, how: str, which: str) -> None:
    param, *grads = drawn((5, 6), np.float32)
    if which == "param":
        param = STRANGE[how](param)
    else:
        grads = [STRANGE[how](grad) for grad in grads]
    found = []
    for backend in ("native", "im2col"):
        model = One(STRANGE[how](param) if which == "param" else param.copy(), grads[0])
        optimizer = OPTIMIZERS[name](model)
        held = model.params["a"]
        with convnet.backend(backend):
            for grad in grads:
                model.grads["a"] = grad
                optimizer.step()
        assert model.params["a"] is held
        found.append(held)
    np.testing.assert_array_equal(*found)


def test_a_read_only_parameter_is_refused() -> None:
    param, grad = drawn(5, np.float32, 2)
    param.flags.writeable = False
    before = param.copy()
    with pytest.raises(ValueError, match="read-only"):
        Adam(One(param, grad)).step()
    np.testing.assert_array_equal(param, before)


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        SGD(One(np.zeros((2, 3)), np.zeros((3, 2))), 0.1).step()


def test_items_of_a_network_are_those_of_its_keys() -> None:
    network = Sequential(Dense(3, 2), Sequential(ReLU(), Dense(2, 2)))
    assert [(key, network.params[key].shape) for key in network.params] == [
        (key, array.shape) for key, array in network.params.items()
    ]
    assert dict(network.params.items()).keys() == {"0.weight", "0.bias", "1.1.weight", "1.1.bias"}
    assert len(network.params.items()) == 4


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
