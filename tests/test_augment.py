"""Random changes to batches: what they do to pixels, and that a seed decides them."""

import numpy as np
import pytest

from convnet.data import shift
from convnet.data.augment import (
    Chain,
    RandomAffine,
    RandomBackground,
    RandomFlip,
    RandomNoise,
    RandomShift,
    affine,
)


@pytest.fixture
def x():
    return np.random.default_rng(0).random((12, 3, 9, 9), dtype=np.float32)


ALL = [
    RandomShift(2, fill=-1),
    RandomAffine(30, (0.8, 1.2)),
    RandomFlip(),
    RandomNoise(0.1),
    RandomBackground(0.5),
    Chain((RandomShift(1), RandomFlip())),
]


@pytest.mark.parametrize("augment", ALL, ids=lambda a: type(a).__name__)
class TestEach:
    def test_one_seed_one_result(self, x, augment):
        first, again, other = (augment(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_shape_and_dtype_stay_and_the_batch_is_untouched(self, x, augment):
        before = x.copy()
        for dtype in (np.float32, np.float64):
            changed = augment(x.astype(dtype), np.random.default_rng(0))
            assert (changed.shape, changed.dtype) == (x.shape, dtype)
            assert not np.shares_memory(changed, x)
        augment(x, np.random.default_rng(0))[...] = 0
        np.testing.assert_array_equal(x, before)

    def test_each_image_in_its_own_way(self, x, augment):
        changed = augment(np.repeat(x[:1], 64, axis=0), np.random.default_rng(0))
        assert len({image.tobytes() for image in changed}) > 1

    def test_no_images(self, x, augment):
        assert augment(x[:0], np.random.default_rng(0)).shape == (0, 3, 9, 9)


class TestAffine:
    def test_nothing_to_do(self, x):
        np.testing.assert_array_equal(affine(x), x)

    @pytest.mark.parametrize("turns", [1, 2, 3, -1])
    def test_right_angles_are_exact(self, x, turns):
        np.testing.assert_array_equal(affine(x, 90.0 * turns), np.rot90(x, turns, axes=(2, 3)))

    def test_oblong_images_turn_about_their_centre(self):
        x = np.arange(15, dtype=np.float64).reshape(1, 1, 3, 5)
        np.testing.assert_allclose(affine(x, 180), x[..., ::-1, ::-1], atol=1e-4)
        turned = affine(x, 90, fill=-9)[0, 0]
        assert (turned[:, [0, 4]] == -9).all()
        np.testing.assert_allclose(turned[:, 1:4], np.rot90(x[0, 0, :, 1:4]), atol=1e-4)

    def test_enlarged_by_two(self):
        x = np.zeros((1, 1, 9, 9))
        x[0, 0, 4, 6] = 1  # two right of the middle
        assert affine(x, 0, 2)[0, 0].max() == affine(x, 0, 2)[0, 0, 4, 8] == 1

    def test_agrees_with_scipy(self, x):
        ndimage = pytest.importorskip("scipy.ndimage")
        for angle, scale in ((30, 1.0), (-17, 0.8), (45, 1.3)):
            cosine, sine = (f(np.deg2rad(angle)) / scale for f in (np.cos, np.sin))
            matrix = np.array([[cosine, sine], [-sine, cosine]])
            expected = ndimage.affine_transform(
                np.pad(x[0, 0].astype(float), 10),
                matrix,
                offset=np.array([14, 14]) - matrix @ np.array([14, 14]),
                order=1,
            )[10:-10, 10:-10]
            np.testing.assert_allclose(affine(x[:1, :1], angle, scale)[0, 0], expected, atol=1e-5)

    def test_each_image_has_its_own_angle(self, x):
        turned = affine(x[:2], np.array([0.0, 90.0]), np.array([1.0, 1.0]))
        np.testing.assert_array_equal(turned[0], x[0])
        np.testing.assert_array_equal(turned[1], np.rot90(x[1], axes=(1, 2)))

    def test_scale_must_be_positive(self, x):
        with pytest.raises(ValueError, match="scale must be positive, got 0"):
            affine(x, 0, 0)


def test_shifts_are_whole_and_within_reach(x):
    moved = RandomShift(2, fill=7)(x, np.random.default_rng(0))
    places = [(dx, dy) for dx in range(-2, 3) for dy in range(-2, 3)]
    for before, after in zip(x, moved, strict=True):
        assert sum(np.array_equal(shift(before, dx, dy, fill=7), after) for dx, dy in places) == 1


def test_flips_are_mirror_images_about_as_often_as_asked():
    x = np.arange(1000 * 4, dtype=np.float32).reshape(1000, 1, 2, 2)
    flipped = RandomFlip(0.25)(x, np.random.default_rng(0))
    mirrored = (flipped == x[..., ::-1]).all(axis=(1, 2, 3))
    assert ((flipped == x).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.25, abs=0.05)


def test_noise_has_the_deviation_asked_for(x):
    difference = RandomNoise(0.3)(np.zeros((100, 1, 20, 20), np.float32), np.random.default_rng(0))
    assert difference.std() == pytest.approx(0.3, rel=0.02)


def test_background_leaves_what_is_brighter(x):
    changed = RandomBackground(0.5)(x, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[x > 0.5], x[x > 0.5])
    assert (changed >= x).all()
