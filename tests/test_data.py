"""convnet.data: the digits, the drawings, and moving images about."""

import numpy as np
import pytest

from convnet.data import centre_on_canvas, digits, draw_xo, shift, stratified_split
from convnet.data.digits import enlarge


class TestDigits:
    @pytest.mark.parametrize("size", [8, 28])
    def test_shapes_dtypes_and_range(self, size):
        data = digits(size)
        for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
            assert x.shape == (len(y), 1, size, size)
            assert x.dtype == np.float32
            assert y.dtype == np.int64
            assert x.min() == 0.0
            assert 0.9 < x.max() <= 1.0
        assert len(data.x_train) + len(data.x_test) == 1797
        assert data.image_shape == (1, size, size)
        assert data.classes == tuple("0123456789")

    def test_small_digits_are_the_bundled_ones(self):
        from sklearn.datasets import load_digits

        data = digits(8)
        bundled = sorted(image.tobytes() for image in load_digits().images.astype(np.float32))
        ours = np.concatenate([data.x_train, data.x_test]) * 16
        assert sorted(image.tobytes() for image in ours) == bundled

    def test_both_sizes_show_the_same_digits_in_the_same_order(self):
        small, large = digits(8, seed=3), digits(28, seed=3)
        np.testing.assert_array_equal(small.y_train, large.y_train)
        np.testing.assert_array_equal(small.y_test, large.y_test)
        np.testing.assert_allclose(
            large.x_test.sum(axis=(1, 2, 3)), 6.25 * small.x_test.sum(axis=(1, 2, 3)), rtol=0.05
        )

    def test_seed_decides_the_split(self):
        first, again, other = digits(8, seed=1), digits(8, seed=1), digits(8, seed=2)
        np.testing.assert_array_equal(first.x_train, again.x_train)
        assert not np.array_equal(first.x_test, other.x_test)

    def test_canvas_is_centred_by_mass(self):
        data = digits(28)
        x = np.concatenate([data.x_train, data.x_test])[:, 0].astype(np.float64)
        mass = x.sum(axis=(1, 2))
        down = (x.sum(axis=2) @ np.arange(28)) / mass
        right = (x.sum(axis=1) @ np.arange(28)) / mass
        assert abs(down - 13.5).max() <= 0.5 + 1e-6
        assert abs(right - 13.5).max() <= 0.5 + 1e-6

    def test_shifts_by_five_pixels_keep_the_ink(self):
        x = digits(28).x_test
        kept = [shift(x, dx, dy).sum() / x.sum() for dx in (-5, 0, 5) for dy in (-5, 0, 5)]
        assert np.mean(kept) > 0.96

    def test_unknown_size(self):
        with pytest.raises(ValueError, match="size must be 8 or 28, got 32"):
            digits(32)


class TestEnlarge:
    def test_linear_between_pixel_centres(self):
        ramp = np.broadcast_to(np.arange(4, dtype=np.float32), (1, 4, 4))
        # Twice the size: target centres lie a quarter of a source pixel off its centre; edges are held.
        expected = np.array([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], dtype=np.float32)
        np.testing.assert_array_equal(enlarge(ramp, 8), np.broadcast_to(expected, (1, 8, 8)))
        np.testing.assert_array_equal(
            enlarge(ramp.transpose(0, 2, 1), 8), np.broadcast_to(expected[:, None], (1, 8, 8))
        )

    def test_not_square(self):
        with pytest.raises(ValueError, match=r"square images .* got \(1, 4, 5\)"):
            enlarge(np.zeros((1, 4, 5), dtype=np.float32), 8)


class TestCentreOnCanvas:
    def test_a_dot_goes_to_the_middle(self):
        glyphs = np.zeros((2, 3, 3), dtype=np.float32)
        glyphs[0, 0, 2] = glyphs[1, 1, 1] = 1
        canvas = centre_on_canvas(glyphs, 7)
        assert np.argwhere(canvas).tolist() == [[0, 3, 3], [1, 3, 3]]

    def test_no_ink(self):
        with pytest.raises(ValueError, match="glyph 1 has no ink"):
            centre_on_canvas(np.stack([np.ones((2, 2)), np.zeros((2, 2))]).astype(np.float32), 4)

    def test_would_fall_off(self):
        glyph = np.zeros((1, 5, 5), dtype=np.float32)
        glyph[0, 4, 4] = 1
        with pytest.raises(ValueError, match="would begin at pixel -1 of a canvas of 7"):
            centre_on_canvas(glyph, 7)


class TestStratifiedSplit:
    def test_every_class_in_proportion_and_every_example_once(self):
        labels = np.repeat([0, 1, 2], [10, 20, 50])
        train, test = stratified_split(labels, 0.2, seed=0)
        assert np.bincount(labels[test]).tolist() == [2, 4, 10]
        assert sorted([*train, *test]) == list(range(80))
        assert list(test) != sorted(test)

    @pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
    def test_bad_share(self, share):
        with pytest.raises(ValueError, match="test_share must lie between 0 and 1"):
            stratified_split(np.zeros(4), share, seed=0)


class TestShift:
    PICTURE = np.arange(1, 7).reshape(1, 1, 2, 3)

    @pytest.mark.parametrize(
        ("dx", "dy", "expected"),
        [
            (0, 0, [[1, 2, 3], [4, 5, 6]]),
            (1, 0, [[9, 1, 2], [9, 4, 5]]),
            (-2, 0, [[3, 9, 9], [6, 9, 9]]),
            (0, 1, [[9, 9, 9], [1, 2, 3]]),
            (0, -1, [[4, 5, 6], [9, 9, 9]]),
            (-1, 1, [[9, 9, 9], [2, 3, 9]]),
            (3, 0, [[9, 9, 9], [9, 9, 9]]),
            (0, -7, [[9, 9, 9], [9, 9, 9]]),
        ],
    )
    def test_pixels(self, dx, dy, expected):
        moved = shift(self.PICTURE, dx, dy, fill=9)
        assert moved.tolist() == [[expected]]
        assert moved.dtype == self.PICTURE.dtype

    def test_does_not_touch_its_input(self):
        before = self.PICTURE.copy()
        shift(self.PICTURE, 0, 0)[...] = 0
        np.testing.assert_array_equal(self.PICTURE, before)

    def test_needs_two_axes(self):
        with pytest.raises(ValueError, match=r"got shape \(3,\)"):
            shift(np.zeros(3), 1, 1)


class TestDrawXO:
    def test_shapes_and_balance(self):
        x, y = draw_xo(101, 9, seed=0)
        assert x.shape == (101, 1, 9, 9)
        assert x.dtype == np.float32
        assert np.bincount(y).tolist() == [51, 50]

    def test_one_seed_one_result(self):
        for first, again, other in zip(
            draw_xo(20, seed=1), draw_xo(20, seed=1), draw_xo(20, seed=2), strict=True
        ):
            np.testing.assert_array_equal(first, again)
            assert not np.array_equal(first, other)

    def test_an_x_has_ink_where_an_o_has_none(self):
        x, y = draw_xo(400, 15, seed=0, noise=0)
        assert x.min() == -1
        assert x.max() == 1
        ink = (x[:, 0] + 1) / 2
        mass = ink.sum(axis=(1, 2))
        centres = np.stack(
            [ink.sum(axis=2) @ np.arange(15) / mass, ink.sum(axis=1) @ np.arange(15) / mass], axis=1
        )
        down, right = np.rint(centres).astype(int).T
        middle = ink[np.arange(400), down, right]
        assert middle[y == 0].min() > 0.5  # the strokes of an X cross there
        assert middle[y == 1].max() < 0.1
        assert np.ptp(centres, axis=0).min() > 1  # and the figures lie in many places

    def test_noise_has_the_deviation_asked_for(self):
        clean, _ = draw_xo(300, seed=0, noise=0)
        noisy, _ = draw_xo(300, seed=0, noise=0.25)
        assert (noisy - clean).std() == pytest.approx(0.25, rel=0.02)

    @pytest.mark.parametrize(("count", "size", "noise"), [(-1, 9, 0), (1, 4, 0), (1, 9, -0.1)])
    def test_bad_arguments(self, count, size, noise):
        with pytest.raises(ValueError, match="expected count >= 0, size >= 5 and noise >= 0"):
            draw_xo(count, size, noise=noise)
