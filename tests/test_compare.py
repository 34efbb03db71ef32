"""convnet.compare: models, kept trainings, experiments on known answers, and a tiny real comparison."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

import convnet
from convnet.compare import run, study
from convnet.compare.experiments import (
    EXPERIMENTS,
    activation,
    background,
    colour,
    cost,
    efficiency,
    filters,
    notebook,
    shift,
    shuffle,
)
from convnet.compare.models import (
    CNN,
    LENET5,
    MLP,
    NOTEBOOK,
    SMALL,
    Model,
    cnn,
    design_for,
    lineup,
    matched_units,
    mlp,
    nearest,
    own_model,
)
from convnet.compare.results import Key
from convnet.compare.run import Settings, choose_experiments, choose_models, compare
from convnet.compare.study import PLAIN, Recipe, Study, Variant, limited
from convnet.data import Dataset, draw_xo
from convnet.layers import Conv2d, Dense, Flatten, Sequential


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_timed_steps(monkeypatch):
    monkeypatch.setattr(cost, "BUDGET", 0.0)


def drawings(seed, size=12):
    x, y = draw_xo(96, size, seed=seed)
    return Dataset("xo", "drawn X and O", ("X", "O"), -1.0, x[:64], y[:64], x[64:], y[64:], drawn=True)


class TestModels:
    @pytest.mark.parametrize(
        ("build", "options", "shape", "parameters", "macs"),
        [
            (cnn, {}, (1, 28, 28), 61_706, 416_520),
            (cnn, {"head": "gap"}, (1, 28, 28), 15_626, 370_440),
            (cnn, {"pooling": "average"}, (1, 28, 28), 61_706, 416_520),
            (cnn, {"pooling": "strided"}, (1, 28, 28), 61_706, 148_320),
            (cnn, {"pooling": "none"}, (1, 28, 28), 1_119_626, 2_616_840),
            (cnn, {"design": SMALL}, (1, 8, 8), 1_898, 23_680),
            (cnn, {"design": NOTEBOOK}, (3, 32, 32), 167_562, 4_040_704),
            (mlp, {}, (1, 28, 28), 25_450, 25_408),
            (mlp, {"hidden": (3000, 1000)}, (3, 32, 32), 12_230_010, 12_226_000),
        ],
    )
    def test_size_and_cost(self, rng, build, options, shape, parameters, macs):
        network = build(shape, 10, rng, **options)
        summary = network.summary(shape)
        assert (summary.parameters, summary.macs) == (parameters, macs)
        assert network.predict(np.zeros((2, *shape), dtype=np.float32)).shape == (2, 10)

    def test_the_often_quoted_mlp_has_half_the_parameters_said(self, rng):
        assert mlp((1, 28, 28), 2, rng, hidden=(32,)).parameter_count() == 25_186  # and not "about 50,000"

    @pytest.mark.parametrize("target", [1, 2, 3, 1000, 1001, 12_345])
    def test_nearest_is_found_by_search(self, target):
        found = nearest(lambda units: 7 * units + 3, target)
        assert abs(7 * found + 3 - target) == min(abs(7 * units + 3 - target) for units in range(1, 2000))

    def test_matched_mlps_are_the_nearest(self, rng):
        shape = (1, 28, 28)
        by_parameters = matched_units(shape, 10, parameters=61_706)
        by_macs = matched_units(shape, 10, macs=416_520)
        assert (by_parameters, by_macs) == (78, 525)
        for units, target, count in (
            (by_parameters, 61_706, Sequential.parameter_count),
            (by_macs, 416_520, lambda network: network.macs((1, *shape))),
        ):
            miss = {
                u: abs(count(mlp(shape, 10, rng, hidden=(u,))) - target)
                for u in (units - 1, units, units + 1)
            }
            assert min(miss, key=miss.get) == units

    def test_too_small_an_image(self, rng):
        with pytest.raises(ValueError, match=r"LeNet-5: images of shape \(1, 8, 8\) are too small"):
            cnn((1, 8, 8), 10, rng)
        assert design_for((1, 8, 8)) is SMALL
        assert design_for((3, 32, 32)) is LENET5

    def test_lineup_has_one_name_and_title_each(self):
        models = lineup((1, 28, 28), 10, LENET5)
        assert len({model.name for model in models}) == len({model.title for model in models}) == len(models)
        titles = {model.name: model.title for model in models}
        assert (titles[MLP], titles["mlp-macs"], titles[CNN]) == (
            "MLP 784-78-10",
            "MLP 784-525-10",
            "LeNet-5",
        )

    def test_activations_are_where_they_should_be(self, rng):
        def kinds(**options):
            return [type(layer).__name__ for layer in cnn((1, 28, 28), 10, rng, **options)]

        assert "ReLU" not in kinds(activation=None)
        assert kinds(activation=convnet.layers.Tanh).count("Tanh") == kinds().count("ReLU") == 4

    def test_own_model(self, tmp_path, rng):
        file = tmp_path / "net.py"
        file.write_text(
            "from convnet.layers import Dense, Flatten, Sequential\n"
            "def tiny(shape, classes, rng):\n"
            "    return Sequential(Flatten(), Dense(shape[1] * shape[2], classes, rng=rng))\n"
        )
        model = own_model(f"{file}:tiny")
        assert model.build((1, 8, 8), 10, rng).parameter_count() == 650
        with pytest.raises(ValueError, match="defines no function 'huge'"):
            own_model(f"{file}:huge")
        with pytest.raises(ValueError, match="no model file"):
            own_model(f"{tmp_path / 'other.py'}:tiny")


class TestChoice:
    def names(self, *asked):
        return [model.name for model in choose_models(asked, drawings(0))]

    def test_models(self):
        whole = [model.name for model in lineup((1, 12, 12), 2, SMALL)]
        assert self.names() == self.names("small") == whole
        assert self.names("cnn", "mlp") == ["mlp", "cnn"]
        assert self.names("mlp", "small") == ["mlp", "cnn"]
        with pytest.raises(ValueError, match="no model 'transformer'; expected one of mlp, "):
            self.names("transformer")
        with pytest.raises(ValueError, match="one of lenet5, small, notebook at a time"):
            self.names("small", "notebook")

    def test_experiments(self):
        assert choose_experiments(("shift", "growth"), ()) == ("growth", "shift")
        assert choose_experiments((), ()) == tuple(name for name in EXPERIMENTS if name != "notebook")
        assert choose_experiments((), ("notebook",)) == tuple(EXPERIMENTS)
        with pytest.raises(ValueError, match="no experiment 'guess'; expected one of growth, "):
            choose_experiments(("guess",), ())


class TestRecipe:
    def test_rate_falls_along_half_a_cosine(self):
        recipe = Recipe(learning_rate=0.5, epochs=4)
        cosines = [0.5, 0.25 * (1 + 0.5**0.5), 0.25, 0.25 * (1 - 0.5**0.5)]
        np.testing.assert_allclose([recipe.rate(epoch) for epoch in range(4)], cosines, rtol=1e-12)

    def test_the_notebooks_recipes(self):
        ann, network, *_ = (
            notebook.as_it_was(Recipe(), Model(name, "", "", "", mlp), None) for name in ("mlp", CNN)
        )
        assert (ann.optimizer, ann.learning_rate, ann.epochs) == ("SGD", 0.01, 5)
        assert (network.optimizer, network.learning_rate, network.epochs) == ("Adam", 0.001, 10)
        assert ann.rate(4) == 0.01


def tiny_study(seed=0, directory=None, epochs=1, data=None, **options):
    data = data or drawings(seed)
    models = {model.name: model for model in lineup(data.image_shape, len(data.classes), SMALL)}
    return Study(seed, Recipe(epochs=epochs), data, models, directory=directory, **options)


class TestStudy:
    def test_a_training_is_made_once(self):
        finished = []
        one = tiny_study(finished=finished.append)
        assert one.trained(one.models["mlp"]) is one.trained(one.models["mlp"])
        assert [(t.model, t.variant, t.images, t.epochs) for t in finished] == [("mlp", "plain", 64, 1)]

    def test_kept_trainings_are_found_again(self, tmp_path, monkeypatch):
        first = tiny_study(directory=tmp_path)
        trained = first.trained(first.models[CNN])
        monkeypatch.setattr(study, "fit", None)  # would fail, if it were called
        shares = []
        again = tiny_study(directory=tmp_path, advance=lambda what, share: shares.append(share))
        kept = again.trained(again.models[CNN])
        assert kept.training == trained.training
        assert kept.curves == trained.curves
        for name, array in trained.network.params.items():
            np.testing.assert_array_equal(kept.network.params[name], array)
        np.testing.assert_array_equal(kept.first_weights, trained.first_weights)
        assert shares == [again.work(again.models[CNN], PLAIN)]

    @pytest.mark.parametrize(
        "other",
        [
            {"seed": 1},
            {"epochs": 2},
            {"data": drawings(5)},
        ],
    )
    def test_others_are_not_taken_for_them(self, tmp_path, other):
        first = tiny_study(directory=tmp_path)
        first.trained(first.models["mlp"])
        another = tiny_study(directory=tmp_path, **other)
        another.trained(another.models["mlp"])
        assert len(list(tmp_path.glob("*.npz"))) == 2

    @pytest.mark.parametrize(
        "damage", [lambda b: b[: len(b) // 2], lambda b: b[:-30], lambda b: b"", lambda b: b"no"]
    )
    def test_damaged_ones_are_trained_again(self, tmp_path, damage):
        first = tiny_study(directory=tmp_path)
        trained = first.trained(first.models["mlp"])
        (path,) = tmp_path.iterdir()
        path.write_bytes(damage(path.read_bytes()))
        again = tiny_study(directory=tmp_path)
        assert again.trained(again.models["mlp"]).training.weights == trained.training.weights
        assert tiny_study(directory=tmp_path)._load(path, again.models["mlp"], PLAIN) is not None

    def test_variants_change_data_and_recipe(self):
        variant = Variant(
            "half",
            data=lambda data, seed: limited(data, 32),
            recipe=lambda recipe, model, data: replace(recipe, epochs=len(data.y_train) // 16),
        )
        one = tiny_study()
        training = one.trained(one.models["mlp"], variant).training
        assert (training.variant, training.images, training.epochs) == ("half", 32, 2)


class Brightest:
    """Not a network but a rule: the class is the column of the brightest pixel."""

    def predict(self, x):
        return x.max(axis=(1, 2)).argmax(axis=1)


class TestShift:
    def test_moves_every_way_and_counts_right_and_unchanged(self):
        # One faint dot in each column of the middle row, paper at -1. Moved right by one, every answer is one
        # too high, but for the last dot, which is gone: of an empty picture the rule says 0.
        x = np.full((8, 1, 8, 8), -1, dtype=np.float32)
        x[np.arange(8), 0, 4, np.arange(8)] = -0.5
        y = np.array([0, 1, 2, 3, 4, 5, 6, 0])  # the last label disagrees with the unmoved picture
        found = shift.moved(Brightest(), Dataset("dots", "dots", tuple("01234567"), -1.0, x, y, x, y), 2)
        assert len(found) == 25
        assert found[0, 0] == (7 / 8, 1)
        assert found[1, 0] == (1 / 8, 0)
        assert found[0, 2] == (7 / 8, 1)
        assert found[-1, -1] == (1 / 8, 1 / 8)

    def test_by_distance_is_the_mean_over_a_ring(self):
        found = {
            (dx, dy): (float(max(abs(dx), abs(dy)) == 1 and dx == 1), 1.0)
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
        }
        assert shift.by_distance(found) == {0: (0.0, 1.0), 1: (3 / 8, 1.0)}

    def test_convolution_is_equivariant_exactly(self, rng):
        layer = Conv2d(1, 6, 5, padding=2, rng=rng)
        x = rng.random((4, 1, 28, 28), dtype=np.float32)
        assert shift.unequal(layer, x) == 0

    def test_what_depends_on_the_place_is_told_apart(self, rng, monkeypatch):
        monkeypatch.setattr(shift.convnet, "conv2d", lambda x, w: x * np.arange(28, dtype=np.float32))
        layer = Conv2d(1, 6, 5, rng=rng)
        assert shift.unequal(layer, rng.random((4, 1, 28, 28), dtype=np.float32)) > 0


class TestVariants:
    def test_shuffle_moves_all_images_alike(self):
        data = drawings(0)
        shuffled = shuffle.shuffled(data, 3)
        places = np.random.default_rng(3).permutation(144)
        for ours, theirs in ((shuffled.x_train, data.x_train), (shuffled.x_test, data.x_test)):
            np.testing.assert_array_equal(ours.reshape(-1, 144), theirs.reshape(-1, 144)[:, places])

    def test_fewer_takes_as_many_of_each_class_and_grows(self):
        data = drawings(0)
        five, ten = (efficiency.fewer(data, 0, per_class=count) for count in (5, 10))
        assert np.bincount(five.y_train).tolist() == [5, 5]
        assert {x.tobytes() for x in five.x_train} < {x.tobytes() for x in ten.x_train}

    def test_backgrounds_leave_the_strokes_and_tell_the_class(self, rng):
        data = drawings(0)
        kinds = data.y_test
        for pattern in background.VARIANTS:
            placed = background.placed_behind(data.x_test, kinds, data, pattern, rng)
            assert placed.shape == data.x_test.shape
            drawn = background.ink(data.x_test, data)
            assert (background.ink(placed, data) >= drawn - 1e-6).all()
            assert background.ink(placed, data)[drawn == 0].max() <= background.BRIGHTEST + 1e-6
        assert np.ptp(background.fixed(kinds, 2, (12, 12), rng)[kinds == 0], axis=0).max() == 0
        assert np.ptp(background.stripes(kinds, 2, (12, 12), rng)[kinds == 0], axis=0).max() > 0.4

    def test_most_training_backgrounds_are_of_the_class_and_strangers_never(self, rng):
        labels = rng.integers(0, 10, 1000)
        assert (background.others(labels, 10, rng) != labels).all()
        assert set(background.others(labels, 10, rng)) == set(range(10))

    def test_gradient_is_that_of_the_right_output(self, rng):
        network = Sequential(Flatten(), Dense(4, 3, rng=rng))
        trained = study.Trained(network, None, {}, None)
        found = background.gradient(trained, np.zeros((2, 1, 2, 2), np.float32), np.array([2, 0]))
        weight = network.params["1.weight"]
        np.testing.assert_allclose(found.reshape(2, 4), weight[:, [2, 0]].T, rtol=1e-6)

    def test_grey_is_luma(self):
        x = np.zeros((3, 3, 1, 1), np.float32)
        x[[0, 1, 2], [0, 1, 2]] = 1
        np.testing.assert_allclose(colour.grey(x).ravel(), [0.299, 0.587, 0.114], rtol=1e-6)

    def test_tinted_drawings_keep_their_shape_in_grey(self, rng):
        data = drawings(0)
        coloured = colour.in_colour(data, 0)
        assert coloured.image_shape == (3, 12, 12)
        one, drawn = colour.grey(coloured.x_train)[0, 0], background.ink(data.x_train, data)[0, 0]
        assert np.corrcoef(one.ravel(), drawn.ravel())[0, 1] > 0.99

    def test_colour_data_stays_as_it_is(self, rng):
        data = replace(drawings(0), x_train=rng.random((64, 3, 12, 12), dtype=np.float32))
        assert colour.in_colour(data, 0) is data


class TestFilters:
    def test_dense_weights_are_laid_out_as_the_image(self):
        weight = np.arange(12.0).reshape(6, 2)
        assert filters.planes(weight, (1, 2, 3)) == (((0, 2, 4), (6, 8, 10)), ((1, 3, 5), (7, 9, 11)))

    def test_convolution_shows_its_first_units(self, rng):
        weight = rng.normal(size=(16, 1, 3, 3))
        np.testing.assert_allclose(filters.planes(weight, (1, 8, 8)), weight[: filters.UNITS, 0], atol=5e-5)

    def test_smoothness(self, rng):
        ramp = np.linspace(-1, 1, 9)[None, None, :, None] + np.linspace(-1, 1, 9)
        assert filters.smoothness(ramp) > 0.5
        board = (np.indices((9, 9)).sum(axis=0) % 2).astype(float)[None, None]
        assert filters.smoothness(board) < -0.5

    def test_bend_of_a_linear_map_is_none(self, rng):
        x = rng.random((8, 1, 12, 12), dtype=np.float32)
        assert activation.bend(mlp((1, 12, 12), 2, rng, activation=None), x) < 1e-5
        assert activation.bend(mlp((1, 12, 12), 2, rng), x) > 0.01


TINY = Settings(data="drawings", seeds=(0, 1), recipe=Recipe(epochs=2))


@pytest.fixture(scope="module")
def told():
    """What the tiny comparison told of its progress."""
    return []


@pytest.fixture(scope="module")
def tiny(told):
    return compare(TINY, source=drawings, advance=lambda what, share: told.append((what, share)))


def timeless(value):
    """The same JSON without durations and the time of day."""
    if isinstance(value, dict):
        return {
            name: timeless(item)
            for name, item in value.items()
            if name not in ("seconds", "started", "remarks")
        }
    if isinstance(value, list):
        return [
            timeless(item)
            for item in value
            if not (isinstance(item, dict) and "seconds" in item.get("figure", ""))
        ]
    return value


def as_json(comparison):
    return json.loads(json.dumps(comparison.to_json()))


class TestComparison:
    def test_every_claim_gets_a_verdict(self, tiny):
        assert tiny.finished
        assert [claim.id for claim in tiny.claims] == list(range(1, 13))

    def test_every_training_planned_is_made_once_a_seed(self, tiny):
        made = [(t.model, t.variant, t.seed) for t in tiny.results.trainings]
        assert len(set(made)) == len(made)
        planned = {
            (name, variant.name)
            for key, experiment in EXPERIMENTS.items()
            if key != "notebook"
            for names, variant in experiment.trainings
            for name in names
            if name in {model.name for model in tiny.models}
        }
        assert {(model, variant) for model, variant, _ in made} == planned
        assert len(made) == 2 * len(planned)

    def test_networks_learn(self, tiny):
        for model in ("mlp", "mlp-macs", CNN):
            first, last = (
                tiny.results.spread(Key("learning", "train_loss curve", model, at=(epoch,))).mean
                for epoch in (1, 2)
            )
            assert last < first

    def test_unmoved_is_the_test_accuracy(self, tiny):
        for key in tiny.results.keys("learning", "test accuracy"):
            if key.model in (MLP, CNN):
                unmoved = Key("shift", "accuracy", key.model, at=(0.0, 0.0))
                assert tiny.results.values(unmoved) == tiny.results.values(key)

    def test_layers_add_up(self, tiny):
        for figure in ("parameters", "MACs", "activation bytes"):
            layers = [
                tiny.results.spread(key).mean
                for key in tiny.results.keys("cost")
                if key.model == CNN and key.figure.startswith("layer ") and key.figure.endswith(figure)
            ]
            assert sum(layers) == tiny.results.spread(Key("cost", figure, CNN)).mean

    def test_progress_adds_up_to_the_whole(self, told, tiny):
        assert sum(share for _, share in told) == pytest.approx(1)
        assert told[-1][0].endswith("seed 1")

    def test_json_holds_everything(self, tiny):
        results = as_json(tiny)
        assert results["schema"] == 2
        assert results["convnet"] == convnet.__version__
        assert results["finished"] is True
        assert results["settings"]["seeds"] == [0, 1]
        assert {"processor", "cpus", "python", "numpy", "core", "threads"} <= set(results["machine"])
        for claim in results["claims"]:
            assert {"id", "claim", "verdict", "measured", "expected"} <= set(claim)
            assert claim["verdict"] in ("holds", "holds in part", "does not hold")
        experiments = {row["experiment"] for row in results["measurements"]}
        assert experiments == set(EXPERIMENTS) - {"notebook"}
        learned = [row for row in results["measurements"] if row["figure"] == "test accuracy"]
        assert all(set(row["values"]) == {"0", "1"} for row in learned)
        assert all(len(training["weights"]) == 64 for training in results["trainings"])

    def test_one_seed_one_result(self):
        settings = replace(TINY, seeds=(3,), experiments=("learning", "shift", "rotation"))
        first, again = (as_json(compare(settings, source=drawings)) for _ in range(2))
        assert timeless(first) == timeless(again)
        other = as_json(compare(replace(settings, seeds=(4,)), source=drawings))
        weights = [{t["weights"] for t in results["trainings"]} for results in (first, other)]
        assert weights[0].isdisjoint(weights[1])

    def test_a_seed_does_not_depend_on_the_seeds_before_it(self, tiny):
        alone = compare(replace(TINY, seeds=(1,), experiments=("learning",)), source=drawings)
        made = {(t.model, t.variant, t.seed): t.weights for t in tiny.results.trainings}
        for training in alone.results.trainings:
            assert made[training.model, training.variant, 1] == training.weights

    def test_backend_and_threads_are_those_asked_for(self):
        before = convnet.get_num_threads()
        used = []
        settings = replace(
            TINY, seeds=(0,), models=("mlp",), experiments=("learning",), backend="im2col", threads=1
        )
        try:
            comparison = compare(
                settings,
                source=drawings,
                advance=lambda what, share: used.append((convnet.get_backend(), convnet.get_num_threads())),
            )
        finally:
            convnet.set_num_threads(before)
        assert used == [("im2col", 1)] * 2
        assert convnet.get_backend() == "native"
        assert comparison.machine["threads"] == 1
        assert comparison.claims == []

    def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(self, tmp_path, monkeypatch):
        settings = replace(TINY, experiments=("learning", "shuffle"), models=(MLP, CNN))
        calls = []

        def interrupt_the_fourth(what, share):
            calls.append(what)
            if len(calls) == 8:
                signal.raise_signal(signal.SIGINT)

        cut = compare(settings, source=drawings, directory=tmp_path, advance=interrupt_the_fourth)
        assert not cut.finished
        assert [(t.model, t.variant, t.seed) for t in cut.results.trainings] == [
            (MLP, "plain", 0),
            (CNN, "plain", 0),
            (MLP, "shuffled", 0),
        ]
        whole = compare(settings, source=drawings)
        trained = []
        monkeypatch.setattr(study.Study, "_train", noting(study.Study._train, trained))
        resumed = compare(settings, source=drawings, directory=tmp_path)
        assert len(trained) == len(whole.results.trainings) - 3
        assert timeless(as_json(resumed)) == timeless(as_json(whole))

    def test_own_model_joins_the_lineup(self, tmp_path):
        file = tmp_path / "net.py"
        file.write_text(
            "from convnet.layers import Dense, Flatten, Sequential\n"
            "def mine(shape, classes, rng):\n"
            "    return Sequential(Flatten(), Dense(144, classes, rng=rng))\n"
        )
        settings = replace(
            TINY, seeds=(0,), models=("mlp", f"{file}:mine"), experiments=("learning", "shift", "cost")
        )
        comparison = compare(settings, source=drawings)
        for experiment, figure in (("learning", "test accuracy"), ("shift", "accuracy"), ("cost", "MACs")):
            assert "mine" in {key.model for key in comparison.results.keys(experiment, figure)}

    def test_notebook(self):
        data = replace(drawings(0), drawn=False)
        settings = replace(TINY, seeds=(0,), models=("notebook",), experiments=("notebook",))
        comparison = compare(settings, source=lambda seed: data)
        assert [(t.model, t.variant) for t in comparison.results.trainings] == [
            ("mlp", "plain"),
            ("mlp", "as-it-was"),
            ("cnn", "plain"),
            ("cnn", "as-it-was"),
        ]

    def test_photographs_have_no_strokes_to_look_at(self, rng):
        x = rng.random((24, 3, 16, 16), dtype=np.float32)
        y = np.arange(24) % 2
        photographs = Dataset("photos", "photos", ("a", "b"), 0.0, x[:16], y[:16], x[16:], y[16:])
        settings = replace(TINY, seeds=(0,), experiments=("background", "colour"))
        comparison = compare(settings, source=lambda seed: photographs)
        assert [claim.id for claim in comparison.claims] == [12]

    def test_limit(self):
        comparison = compare(
            replace(TINY, seeds=(0,), limit=10, models=("mlp",), experiments=("learning",)), source=drawings
        )
        assert (len(comparison.data.y_train), len(comparison.data.y_test)) == (10, 10)

    def test_default_data_is_found_by_name(self, monkeypatch):
        asked = []
        monkeypatch.setattr(run, "load", lambda name, seed: asked.append((name, seed)) or drawings(seed))
        compare(replace(TINY, data="digits", seeds=(7,), models=("mlp",), experiments=("learning",)))
        assert asked == [("digits", 7)]


def noting(method, made):
    def noted(self, model, variant):
        made.append((model.name, variant.name, self.seed))
        return method(self, model, variant)

    return noted
