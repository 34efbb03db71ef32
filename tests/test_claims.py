"""Verdicts: how they follow from figures, and that every claim can come out all three ways."""

import pytest

from convnet.compare.claims import DOES_NOT, HOLDS, IN_PART, Claim, Part, verdict
from convnet.compare.experiments import EXPERIMENTS, judge
from convnet.compare.experiments.efficiency import PER_CLASS
from convnet.compare.experiments.growth import SIZES
from convnet.compare.models import CNN, MLP
from convnet.compare.results import Key, Measurement, NotMeasured, Results, Spread

GAP = "cnn-gap"


class TestSpread:
    def test_mean_deviation_and_error(self):
        spread = Spread.of([0.9, 1.0])
        assert (spread.mean, spread.count) == (pytest.approx(0.95), 2)
        assert spread.deviation == pytest.approx(0.0707, abs=1e-4)
        assert spread.error == pytest.approx(0.05)
        assert spread.percent() == "95.0 ± 7.1"
        assert Spread.of([0.987]).percent() == "98.7"


class TestPart:
    @pytest.mark.parametrize(
        ("measured", "least", "most", "holds"),
        [
            (Spread(0.05), 0.05, 1, True),
            (Spread(0.0499), 0.05, 1, False),
            (Spread(0.5), -1, 0.4, False),
            (
                Spread(0.06, 0.02, 4),
                0.05,
                1,
                True,
            ),  # three standard errors of 0.02 from 0 and above the bound
            (Spread(0.06, 0.08, 4), 0.05, 1, False),  # above the bound, but only 1.5 standard errors from 0
            (Spread(0.0, 0.5, 4), -0.02, 0.02, True),  # no effect is asked for
            (Spread(-0.06, 0.02, 4), -1, -0.05, True),
            (Spread(-0.06, 0.08, 4), -1, -0.05, False),
        ],
    )
    def test_holds(self, measured, least, most, holds):
        assert Part("", measured, "points", least, most).holds is holds

    def test_a_ratio_is_compared_with_no_change(self):
        assert not Part("", Spread(1.2, 0.3, 4), "x", least=1.1).holds
        assert Part("", Spread(1.2, 0.1, 4), "x", least=1.1).holds

    def test_is_written_with_its_unit(self):
        part = Part("", Spread(0.0512, 0.01, 5), "points", 0.05)
        assert (part.figure, part.bound) == ("+5.1 ± 1.0 points", "at least +5.0 points")
        part = Part("", Spread(691_200_000), least=691_200_000, most=691_200_000)
        assert (part.figure, part.bound) == ("691,200,000", "exactly 691,200,000")


class TestVerdict:
    yes, no = Part("", Spread(1.0), least=1), Part("", Spread(0.0), least=1)

    @pytest.mark.parametrize(
        ("parts", "expected"),
        [
            ((yes,), HOLDS),
            ((yes, yes), HOLDS),
            ((yes, no), IN_PART),
            ((no, yes, no), IN_PART),
            ((no,), DOES_NOT),
            ((no, no), DOES_NOT),
        ],
    )
    def test_all_some_none(self, parts, expected):
        assert verdict(parts) == expected

    def test_needs_a_part(self):
        with pytest.raises(ValueError, match="at least one part"):
            verdict(())

    def test_json(self):
        claim = Claim(3, "name", "What is said.", (self.yes, self.no), ("remark",))
        told = claim.to_json()
        assert told["verdict"] == IN_PART
        assert [part["holds"] for part in told["parts"]] == [True, False]
        assert told["measured"] == ": 1; : 0"
        assert told["expected"] == ": at least 1; : at least 1"


def accuracies(experiment, values, figure="accuracy", at=()):
    """Figures by (model, variant)."""
    return {Key(experiment, figure, model, variant, at): value for (model, variant), value in values.items()}


def growth(weights, dense, conv, first, gap):
    small, large = ((float(h), float(w)) for h, w in (SIZES[0], SIZES[-1]))
    figures = dict(weights)
    for what, factor in (
        ("dense layer of 1,000 units", dense),
        ("first convolution", conv),
        ("LeNet-5, Flatten head", first),
        ("LeNet-5, GAP head", gap),
    ):
        figures[Key("growth", "parameters", what, at=small)] = 100
        figures[Key("growth", "parameters", what, at=large)] = 100 * factor
    return figures


QUOTED = {
    "inputs, 28x28 grey": 784,
    "weights a neuron, 28x28 RGB": 2_352,
    "weights a neuron, 200x200 RGB": 120_000,
    "weights, 32x32 to 1,000 units": 1_024_000,
    "weights, 720x960 to 1,000 units": 691_200_000,
    "parameters, 784-32-2": 25_186,
    "parameters, ten 3x3 filters on RGB": 280,
    "output height, ten 3x3 filters on 50x50 RGB": 48,
    "outputs, ten 3x3 filters on 50x50 RGB": 23_040,
    "inputs, 50x50 RGB": 7_500,
}


def paper(off=0, dense=880, conv=1):
    return growth(
        {Key("growth", figure): value + off for figure, value in QUOTED.items()}, dense, conv, 1318, 1
    )


def shifts(mlp, cnn, same, unequal):
    figures = {Key("shift", "unequal", CNN): unequal}
    for model, (near, far) in {MLP: mlp, CNN: cnn}.items():
        figures[Key("shift", "accuracy by distance", model, at=(0,))] = near
        figures[Key("shift", "accuracy by distance", model, at=(2,))] = far
        figures[Key("shift", "accuracy by distance", model, "shifted", (2,))] = 0.9
    for model, share in zip((CNN, GAP), same, strict=True):
        figures[Key("shift", "consistency by distance", model, at=(2,))] = share
    return figures


def backgrounds(mlp, cnn, look):
    figures = {}
    for kind in ("background-fixed", "background-stripes"):
        for model, (own, another), share in zip((MLP, CNN), (mlp, cnn), look, strict=True):
            figures[Key("background", "accuracy, own background", model, kind)] = own
            figures[Key("background", "accuracy, another's background", model, kind)] = another
            figures[Key("background", "gradient outside the strokes", model, kind)] = share
    return figures


def efficiencies(mlp, cnn, gaps):
    figures = {}
    for model, tests, gap in zip((MLP, CNN), (mlp, cnn), gaps, strict=True):
        for count, test in zip(PER_CLASS, tests, strict=True):
            figures[Key("efficiency", "test accuracy", model, at=(count,))] = test
            figures[Key("efficiency", "gap", model, at=(count,))] = gap
    return figures


def costs(dense, wide, equal):
    """MACs of a dense layer, parameters of the MLP of as many MACs, MACs of that of as many parameters."""
    return {
        Key("cost", "dense layer between the same maps MACs", CNN): dense,
        Key("cost", "first convolution MACs", CNN): 100,
        Key("cost", "parameters", "mlp-macs"): wide,
        Key("cost", "parameters", CNN): 100,
        Key("cost", "MACs", MLP): equal,
        Key("cost", "MACs", CNN): 100,
        Key("cost", "step seconds", MLP): 1,
        Key("cost", "step seconds", "mlp-macs"): 1,
        Key("cost", "step seconds", CNN): 1,
    }


def pools(macs, memory, same, accuracy):
    figures = {}
    models = (CNN, "cnn-average", "cnn-strided", "cnn-none")
    for figure, values in (
        ("MACs", macs),
        ("activation bytes", memory),
        ("consistency moved", same),
        ("accuracy", accuracy),
    ):
        for model, value in zip(models, values, strict=True):
            figures[Key("pooling", figure, model)] = value
    return figures


def activations(relu, linear, others):
    bends = {MLP: relu, "mlp-linear": linear, CNN: 0.5, "cnn-linear": 0.4}
    figures = {Key("activation", "bend", model): value for model, value in bends.items()}
    scores = {MLP: 0.9, CNN: 0.9} | dict.fromkeys(
        ("mlp-linear", "cnn-linear", "cnn-tanh", "cnn-sigmoid"), others
    )
    return figures | {Key("activation", "accuracy", model): value for model, value in scores.items()}


def rotations(far, augmented):
    figures = {}
    for figure, at, upright in (("angle", 45, 0), ("scale", 0.7, 1.0)):
        for variant, value in (("plain", far), ("turned", augmented)):
            figures[Key("rotation", f"accuracy by {figure}", CNN, variant, (at,))] = value
            figures[Key("rotation", f"accuracy by {figure}", CNN, variant, (upright,))] = 0.95
    return figures


def filters(change, without, smoother):
    return {
        Key("filters", "relative change", CNN): change,
        Key("filters", "accuracy", CNN): 0.95,
        Key("filters", "accuracy with the filters of before", CNN): without,
        Key("filters", "smoothness before", CNN): 0.0,
        Key("filters", "smoothness after", CNN): smoother,
    }


def colours(first, parameters, rgb):
    figures = {}
    for model in ("mlp", CNN):
        for variant, weights, size, accuracy in (("rgb", first, parameters, rgb), ("grey", 100, 100, 0.9)):
            figures[Key("colour", "first layer's weights", model, variant)] = weights
            figures[Key("colour", "parameters", model, variant)] = size
            figures[Key("colour", "MACs", model, variant)] = size
            figures[Key("colour", "accuracy", model, variant)] = accuracy
    return figures


def shuffles(mlp, cnn):
    return accuracies(
        "shuffle",
        {(MLP, "plain"): 0.95, (MLP, "shuffled"): mlp, (CNN, "plain"): 0.98, (CNN, "shuffled"): cnn},
    )


# For each claim: figures under which it holds, and figures under which nothing of it does.
WORLDS = {
    1: (paper(), paper(off=1, dense=1)),
    2: (paper(), paper(off=1, conv=880)),
    3: (shuffles(0.95, 0.90), shuffles(0.60, 0.98)),
    4: (
        shifts((0.96, 0.50), (0.98, 0.95), (0.5, 0.9), 0),
        shifts((0.96, 0.95), (0.98, 0.70), (0.9, 0.5), 0.1),
    ),
    5: (
        backgrounds((0.99, 0.4), (0.98, 0.9), (0.7, 0.4)),
        backgrounds((0.99, 0.98), (0.98, 0.4), (0.4, 0.7)),
    ),
    6: (
        efficiencies((0.5, 0.6, 0.7, 0.8, 0.9), (0.6, 0.7, 0.85, 0.9, 0.95), (0.2, 0.1)),
        efficiencies((0.6, 0.7, 0.8, 0.9, 0.95), (0.5, 0.6, 0.7, 0.8, 0.9), (0.1, 0.2)),
    ),
    7: (costs(3000, 600, 200), costs(100, 100, 20)),
    8: (
        pools((1, 1, 1, 6), (1, 1, 1, 2), (0.9, 0.9, 0.8, 0.8), (0.98, 0.98, 0.97, 0.98)),
        pools((6, 1, 1, 1), (2, 1, 1, 1), (0.7, 0.7, 0.8, 0.8), (0.90, 0.98, 0.97, 0.98)),
    ),
    9: (activations(0.4, 0.0, 0.8), activations(0.0, 0.4, 0.95)),
    10: (rotations(0.4, 0.9), rotations(0.95, 0.9)),
    11: (filters(0.5, 0.5, 0.3), filters(0.0, 0.95, 0.0)),
    12: (colours(300, 101, 0.9), colours(100, 300, 0.99)),
}


def claim_in(figures, number, seeds=(0, 1, 2)):
    results = Results()
    for key, value in figures.items():
        for seed in seeds:
            results.add(Measurement(key, seed, value))
    return next(claim for claim in judge(results) if claim.id == number)


class TestEveryClaim:
    @pytest.mark.parametrize("number", WORLDS)
    def test_comes_out_all_three_ways(self, number):
        good, bad = WORLDS[number]
        assert claim_in(good, number).verdict == HOLDS
        assert claim_in(bad, number).verdict == DOES_NOT
        assert good.keys() == bad.keys()
        mixed = {claim_in(good | {key: bad[key]}, number).verdict for key in good}
        assert IN_PART in mixed

    @pytest.mark.parametrize("number", WORLDS)
    def test_says_what_is_expected_of_each_part(self, number):
        told = claim_in(WORLDS[number][0], number).to_json()
        assert told["id"] == number
        assert len(told["claim"]) > 20
        for part in told["parts"]:
            assert part["statement"] in told["measured"]
            assert part["statement"] in told["expected"]
            assert part["least"] is not None or part["most"] is not None

    def test_there_are_twelve(self):
        results = Results()
        for good, _ in WORLDS.values():
            for key, value in good.items():
                results.add(Measurement(key, 0, value))
        assert [claim.id for claim in judge(results)] == list(range(1, 13))

    def test_a_claim_with_a_figure_missing_is_left_out(self):
        figures = dict(WORLDS[3][0])
        figures.popitem()
        results = Results()
        for key, value in figures.items():
            results.add(Measurement(key, 0, value))
        assert judge(results) == []
        with pytest.raises(NotMeasured):
            EXPERIMENTS["shuffle"].judge(results)

    @pytest.mark.parametrize(
        ("lost", "smoother", "expected"),
        [(0.05, 0.1, HOLDS), (0.049, 0.1, IN_PART), (0.05, 0.099, IN_PART)],
    )
    def test_learned_filters_keep_the_bounds_first_set(self, lost, smoother, expected):
        assert claim_in(filters(0.5, 0.95 - lost - 1e-9, smoother + 1e-9), 11).verdict == expected

    def test_wrong_figures_often_quoted_are_put_right(self):
        remarks = " ".join(claim_in(WORLDS[1][0], 1).remarks)
        assert "about 50,000 parameters: it has 25,186" in remarks
        assert "about 500 million weights: they are 691,200,000" in remarks


class TestResults:
    def test_differences_are_taken_seed_by_seed(self):
        results = Results()
        for seed, ours, theirs in ((0, 0.9, 0.8), (1, 0.5, 0.4)):
            results.add(Measurement(Key("e", "a"), seed, ours))
            results.add(Measurement(Key("e", "b"), seed, theirs))
        results.add(Measurement(Key("e", "b"), 2, 0.0))  # a seed that only one of them reached
        difference = results.difference(Key("e", "a"), Key("e", "b"))
        assert (difference.mean, difference.count) == (pytest.approx(0.1), 2)
        assert difference.deviation == pytest.approx(0, abs=1e-12)
        assert results.ratio(Key("e", "a"), Key("e", "b")).mean == pytest.approx((0.9 / 0.8 + 0.5 / 0.4) / 2)

    def test_no_seed_in_common(self):
        results = Results()
        results.add(Measurement(Key("e", "a"), 0, 1.0))
        results.add(Measurement(Key("e", "b"), 1, 1.0))
        with pytest.raises(NotMeasured):
            results.difference(Key("e", "a"), Key("e", "b"))
