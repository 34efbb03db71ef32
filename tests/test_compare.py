"""convnet.compare: models, experiments on networks whose answers are known, and a tiny real comparison."""

import base64
import json
import signal
from html.parser import HTMLParser

import numpy as np
import pytest
from convnet.compare.records import Cost, Filters, Learning, ShiftAccuracy, StepTime

import convnet
from convnet.compare import tables
from convnet.compare.experiments import filters, shift, step_time
from convnet.compare.models import LINEUP, Model, lenet5, mlp, mlp_with_parameters, small_cnn
from convnet.compare.report import answer, save_report, save_results
from convnet.compare.run import Comparison, Settings, compare
from convnet.compare.study import Recipe, Study, first_weights
from convnet.data import Dataset
from convnet.layers import Dense, Flatten, Sequential


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_timed_steps(monkeypatch):
    monkeypatch.setattr(step_time, "BUDGET", 0.0)


class TestModels:
    @pytest.mark.parametrize(
        ("build", "shape", "parameters", "macs"),
        [
            (lenet5, (1, 28, 28), 61_706, 416_520),
            (mlp, (1, 28, 28), 25_450, 25_408),
            (mlp, (1, 8, 8), 2_410, 2_368),
            (small_cnn, (1, 8, 8), 1_898, 23_680),
        ],
    )
    def test_size_and_cost(self, rng, build, shape, parameters, macs):
        network = build(shape, 10, rng)
        summary = network.summary(shape)
        assert (summary.parameters, summary.macs) == (parameters, macs)
        assert network.predict(np.zeros((2, *shape), dtype=np.float32)).shape == (2, 10)

    def test_the_often_quoted_mlp_has_half_the_parameters_said(self, rng):
        network = mlp((1, 28, 28), 2, rng, hidden=32)
        assert network.parameter_count() == 25_186  # and not "about 50,000"

    def test_matched_mlp_is_the_nearest(self, rng):
        matched = mlp_with_parameters((1, 28, 28), 10, rng, parameters=61_706)
        hidden = matched.params["1.bias"].size
        assert hidden == 78
        for other in (hidden - 1, hidden + 1):
            count = mlp((1, 28, 28), 10, rng, hidden=other).parameter_count()
            assert abs(count - 61_706) > abs(matched.parameter_count() - 61_706)

    def test_lenet5_says_which_images_it_takes(self, rng):
        with pytest.raises(ValueError, match=r"expected images of shape \(1, 28, 28\), got \(1, 8, 8\)"):
            lenet5((1, 8, 8), 10, rng)


class TestRecipe:
    def test_rate_falls_along_half_a_cosine(self):
        recipe = Recipe(learning_rate=0.5, epochs=4)
        cosines = [0.5, 0.25 * (1 + 0.5**0.5), 0.25, 0.25 * (1 - 0.5**0.5)]
        np.testing.assert_allclose([recipe.rate(epoch) for epoch in range(4)], cosines, rtol=1e-12)


class KnownStudy:
    """A study of one given network on given images."""

    seed = 7

    def __init__(self, data, trained):
        self._data, self._trained = data, trained

    def pairs(self):
        yield "digits8", Model("known", "Known", "MLP", "", mlp)

    def dataset(self, name):
        return self._data

    def trained(self, dataset, model):
        return self._trained


class Brightest:
    """Not a network but a rule: the class is the column of the brightest pixel."""

    def predict(self, x):
        return x.max(axis=(1, 2)).argmax(axis=1)


def test_shift_moves_every_way_and_counts_right_and_unchanged():
    # One faint dot in each column of the middle row, paper at -1. Moved right by one, every answer is one too
    # high, but for the last dot, which is gone: of an empty picture the rule says 0.
    x = np.full((8, 1, 8, 8), -1, dtype=np.float32)
    x[np.arange(8), 0, 4, np.arange(8)] = -0.5
    y = np.array([0, 1, 2, 3, 4, 5, 6, 0])  # the last label disagrees with the unmoved picture
    data = Dataset("dots", "dots", tuple("01234567"), -1.0, x, y, x, y)
    records = {(r.dx, r.dy): r for r in shift.measure(KnownStudy(data, Brightest()))}

    assert len(records) == 1 + 8 + 8
    assert (records[0, 0].accuracy, records[0, 0].consistency) == (7 / 8, 1)
    assert (records[1, 0].accuracy, records[1, 0].consistency) == (1 / 8, 0)
    assert (records[0, 2].accuracy, records[0, 2].consistency) == (7 / 8, 1)
    assert (records[-1, -1].accuracy, records[-1, -1].consistency) == (1 / 8, 1 / 8)
    assert {r.distance for r in records.values()} == {0, 1, 2}
    assert all((r.model, r.seed) == ("known", 7) for r in records.values())


class TestFilters:
    def test_dense_weights_are_laid_out_as_the_image(self, rng):
        dense = Dense(6, 2, rng=rng)
        dense.params["weight"][...] = np.arange(12).reshape(6, 2)
        weight = first_weights(Sequential(Flatten(), dense))
        assert filters.planes(weight, (1, 2, 3)) == (((0, 2, 4), (6, 8, 10)), ((1, 3, 5), (7, 9, 11)))

    def test_convolution_shows_its_first_units(self, rng):
        weight = first_weights(small_cnn((1, 8, 8), 10, rng))
        planes = filters.planes(weight, (1, 8, 8))
        np.testing.assert_allclose(planes, weight[: filters.UNITS, 0], atol=5e-5)


class TestTables:
    def test_spread(self):
        spread = tables.Spread.of([0.9, 1.0])
        assert (spread.mean, spread.count) == (pytest.approx(0.95), 2)
        assert spread.deviation == pytest.approx(0.0707, abs=1e-4)
        assert spread.percent() == "95.0 ± 7.1"
        assert tables.Spread.of([0.987]).percent() == "98.7"

    def test_shifted_accuracy_is_spread_over_seeds_not_directions(self):
        moved = [
            ShiftAccuracy("digits8", "mlp", seed, dx, 0, accuracy, 1.0)
            for seed, dx, accuracy in [(0, 1, 0.2), (0, -1, 0.4), (1, 1, 0.5), (1, -1, 0.7), (1, 0, 1.0)]
        ]
        comparison = Comparison(Settings(), version="", machine={}, started="", records=list(moved))
        by_distance = tables.shifted_accuracy(comparison, "digits8", "mlp")
        assert list(by_distance) == [0, 1]
        assert by_distance[1].mean == pytest.approx((0.3 + 0.6) / 2)
        assert by_distance[1].deviation == pytest.approx(0.3 / 2**0.5)
        assert by_distance[1].count == 2


TINY = Settings(seeds=(0, 1), recipe=Recipe(epochs=2))


@pytest.fixture(scope="module")
def told():
    """What the tiny comparison told of its progress."""
    return []


@pytest.fixture(scope="module")
def tiny(told):
    return compare(TINY, lambda what, share: told.append((what, share)))


def timeless(value):
    """The same JSON without durations and the time of day."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in ("seconds", "started")}
    if isinstance(value, list):
        return [timeless(item) for item in value]
    return value


def as_json(comparison):
    return json.loads(json.dumps(comparison.to_json()))


class TestComparison:
    def test_every_experiment_for_every_model(self, tiny):
        assert tiny.finished
        pairs = [(dataset, model.name) for dataset, models in LINEUP.items() for model in models]
        for kind, seeds in ((Cost, 1), (StepTime, 1), (Filters, 1), (Learning, 2)):
            assert sorted((r.dataset, r.model) for r in tiny.of(kind)) == sorted(pairs * seeds)
        shifts = tiny.of(ShiftAccuracy)
        assert len(shifts) == 2 * (3 * (1 + 5 * 8) + 2 * (1 + 2 * 8))
        unmoved = {
            (r.dataset, r.model, r.seed): (r.accuracy, r.consistency) for r in shifts if r.distance == 0
        }
        for r in tiny.of(Learning):
            assert unmoved[r.dataset, r.model, r.seed] == (r.test_accuracy, 1.0)

    def test_networks_learn(self, tiny):
        for record in tiny.of(Learning):
            assert len(record.test_accuracy_curve) == TINY.recipe.epochs
            assert record.test_accuracy_curve[-1] == pytest.approx(record.test_accuracy)
            assert record.train_loss_curve[-1] < record.train_loss_curve[0]
            assert record.test_accuracy > 0.5
        for record in tiny.of(Filters):
            assert record.before != record.after

    def test_costs_add_up(self, tiny):
        costs = {(r.dataset, r.model): r for r in tiny.of(Cost)}
        assert costs["digits28", "lenet5"].macs == 416_520
        for cost in costs.values():
            assert cost.parameters == sum(layer.parameters for layer in cost.layers)
            assert cost.macs == sum(layer.macs for layer in cost.layers)
            assert cost.activation_bytes == sum(layer.activation_bytes for layer in cost.layers)

    def test_progress_adds_up_to_the_whole(self, tiny, told):
        assert len(told) == 2 * 5 * TINY.recipe.epochs
        assert sum(share for _, share in told) == pytest.approx(1)
        assert told[-1][0].endswith("seed 1")

    def test_json_holds_everything(self, tiny):
        results = as_json(tiny)
        assert results["schema"] == 1
        assert results["convnet"] == convnet.__version__
        assert results["finished"] is True
        assert results["settings"]["seeds"] == [0, 1]
        assert results["settings"]["recipe"]["epochs"] == 2
        assert {"processor", "cpus", "python", "numpy", "core", "threads"} <= set(results["machine"])
        assert set(results["records"]) == {"cost", "step_time", "learning", "shift", "filters"}
        for kind, count in (("cost", 5), ("step_time", 5), ("learning", 10), ("filters", 5)):
            assert len(results["records"][kind]) == count
        assert all(r["seconds"] > 0 for kind in ("step_time", "learning") for r in results["records"][kind])

    def test_one_seed_one_result(self):
        settings = Settings(seeds=(3,), recipe=Recipe(epochs=1), datasets=("digits8",))
        first, again = as_json(compare(settings)), as_json(compare(settings))
        assert timeless(first) == timeless(again)
        other = Settings(seeds=(4,), recipe=Recipe(epochs=1), datasets=("digits8",))
        assert (
            timeless(as_json(compare(other)))["records"]["learning"] != timeless(first)["records"]["learning"]
        )

    def test_a_seed_does_not_depend_on_the_seeds_before_it(self, tiny):
        study = Study(1, TINY.recipe, ("digits8",), lambda what, share: None)
        model = LINEUP["digits8"][1]
        alone = study.trained("digits8", model)
        beside = next(r for r in tiny.of(Learning) if (r.model, r.seed) == (model.name, 1))
        assert alone.train_loss == beside.train_loss_curve

    def test_backend_and_threads_are_those_asked_for(self):
        before = convnet.get_num_threads()
        used = []

        def note(what, share):
            used.append((convnet.get_backend(), convnet.get_num_threads()))

        settings = Settings((0,), Recipe(epochs=1), ("digits8",), backend="im2col", threads=1)
        try:
            comparison = compare(settings, note)
        finally:
            convnet.set_num_threads(before)
        assert used == [("im2col", 1)] * 2
        assert convnet.get_backend() == "native"
        assert comparison.machine["threads"] == 1

    def test_ctrl_c_keeps_what_is_finished(self, tmp_path):
        calls = []

        def interrupt_the_second_model(what, share):
            calls.append(what)
            if len(calls) == 2:
                signal.raise_signal(signal.SIGINT)

        settings = Settings(seeds=(0,), recipe=Recipe(epochs=1), datasets=("digits8",))
        comparison = compare(settings, interrupt_the_second_model)
        assert not comparison.finished
        assert [r.model for r in comparison.of(Learning)] == ["mlp"]
        assert json.loads(save_results(comparison, tmp_path).read_text())["finished"] is False
        page = save_report(comparison, tmp_path).read_text()
        assert "This run was interrupted" in page
        assert "MLP 64-32-10" in page
        assert "CNN 8C3" not in page


class Page(HTMLParser):
    """What of a page could need a second file, and the pictures' words."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.links, self.tags, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        if tag == "img":
            self.pictures.append(attributes)
        self.links += [attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def directory(tiny, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "new" / "place"
    save_results(tiny, directory)
    save_report(tiny, directory)
    return directory


@pytest.fixture(scope="module")
def text(directory):
    return (directory / "report.html").read_text(encoding="utf-8")


class TestReport:
    def test_files(self, directory):
        assert sorted(path.name for path in directory.iterdir()) == [
            "digits28-filters.png",
            "digits28-learning.png",
            "digits28-shift.png",
            "digits8-filters.png",
            "digits8-learning.png",
            "digits8-shift.png",
            "report.html",
            "results.json",
        ]

    def test_needs_nothing_but_itself(self, text):
        page = Page(text)
        assert page.links
        assert all(link.startswith("data:") for link in page.links)
        assert "script" not in page.tags
        assert "://" not in text
        assert "url(" not in text
        assert "@import" not in text

    def test_pictures_are_the_files_and_have_words(self, text, directory):
        pictures = Page(text).pictures
        shown = [
            base64.b64decode(p["src"].removeprefix("data:image/png;base64,"), validate=True) for p in pictures
        ]
        files = [path.read_bytes() for path in directory.glob("*.png")]
        assert sorted(shown) == sorted(files)
        assert all(png.startswith(b"\x89PNG\r\n\x1a\n") for png in shown)
        for picture in pictures:
            assert len(picture["alt"]) > 60
        assert any("LeNet-5" in p["alt"] and "% at 5" in p["alt"] for p in pictures)

    def test_says_what_the_tables_say(self, text, tiny):
        words = " ".join(Page(text).words)
        assert "61,706" in words
        assert "416,520" in words
        for dataset in ("digits28", "digits8"):
            for table in (tables.overview(tiny, dataset), tables.side_by_side(tiny, dataset)):
                for row in table.rows:
                    assert all(cell in words for cell in row)
        for sentence in answer(tiny):
            assert sentence in words

    def test_can_be_read_on_a_phone(self, text):
        assert 'name="viewport" content="width=device-width, initial-scale=1"' in text
        assert text.count('<div class="scroll">') == text.count("<table>")

    def test_the_same_comparison_gives_the_same_bytes(self, tiny, directory, tmp_path):
        save_report(tiny, tmp_path)
        for path in tmp_path.iterdir():
            assert path.read_bytes() == (directory / path.name).read_bytes()

    def test_nothing_finished(self, tmp_path):
        nothing = Comparison(TINY, version="", machine={}, started="")
        with pytest.raises(ValueError, match="no finished training"):
            save_report(nothing, tmp_path)


class TestAnswer:
    def test_gives_the_figures(self, tiny):
        accuracy, moved, cost = answer(tiny)
        assert tables.accuracy(tiny, "digits28", "lenet5", "test").percent() in accuracy
        assert f"{tables.shifted_accuracy(tiny, 'digits28', 'lenet5')[2].mean:.0%}" in moved
        assert "61,706 parameters and needs 416,520" in cost
        assert "62,020 and 61,932" in cost
