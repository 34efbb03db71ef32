"""Filters over pictures: by name, by hand, at every depth."""

import numpy as np
import pytest

from convnet.filters import KERNELS, filter_image, finds_edges, parse_kernel, to_depth


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (12, 15)).astype(np.uint8)


class TestKernels:
    def test_those_of_the_books(self):
        gx, gy = KERNELS["sobel"]
        assert gx.tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
        assert gy.tolist() == [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
        assert KERNELS["prewitt"][0].tolist() == [[-1, 0, 1]] * 3
        assert (KERNELS["gaussian"][0] * 16).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]

    @pytest.mark.parametrize("name", KERNELS)
    def test_even_areas_stay_or_become_nothing(self, name):
        kernels = KERNELS[name]
        filtered = filter_image(np.full((5, 6), 100.0), *kernels)
        np.testing.assert_allclose(filtered, 0 if finds_edges(*kernels) else 100, atol=1e-12)


class TestFilterImage:
    @pytest.mark.parametrize("name", KERNELS)
    def test_agrees_with_scipy(self, picture, name):
        ndimage = pytest.importorskip("scipy.ndimage")
        responses = [
            ndimage.correlate(picture.astype(float), kernel, mode="nearest") for kernel in KERNELS[name]
        ]
        expected = responses[0] if len(responses) == 1 else np.hypot(*responses)
        np.testing.assert_allclose(filter_image(picture, *KERNELS[name]), expected, atol=1e-9)

    def test_channel_by_channel(self, picture):
        colour = np.stack([picture, picture[::-1], 255 - picture], axis=-1)
        filtered = filter_image(colour, *KERNELS["sobel"])
        assert filtered.shape == colour.shape
        for channel in range(3):
            np.testing.assert_array_equal(
                filtered[..., channel], filter_image(colour[..., channel], *KERNELS["sobel"])
            )

    def test_an_edge_is_found_where_it_is(self):
        step = np.zeros((6, 6))
        step[:, 3:] = 1
        assert filter_image(step, *KERNELS["sobel"])[2].tolist() == [0, 0, 4, 4, 0, 0]

    def test_a_kernel_larger_than_the_picture(self):
        np.testing.assert_allclose(filter_image(np.ones((2, 2)), np.ones((5, 7)) / 35), 1)

    @pytest.mark.parametrize("kernel", [np.ones((2, 2)), np.ones(3), np.ones((3, 4)), np.ones((1, 1, 1))])
    def test_kernels_with_no_middle(self, picture, kernel):
        with pytest.raises(ValueError, match="odd sides"):
            filter_image(picture, kernel)

    @pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 2, 3, 4)])
    def test_no_picture(self, shape):
        with pytest.raises(ValueError, match="expected a picture"):
            filter_image(np.zeros(shape), np.ones((3, 3)))


class TestParseKernel:
    @pytest.mark.parametrize(
        "text", ["-1 0 1; -2 0 2; -1 0 1", "-1,0,1;-2,0,2;-1,0,1", " -1, 0, 1 ;-2 0 2.0; -1 0 1e0 "]
    )
    def test_rows(self, text):
        assert parse_kernel(text).tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]

    @pytest.mark.parametrize("text", ["", "sobol", "1 2; 3", "1 2; x y", "nan", "1;;2"])
    def test_nonsense(self, text):
        with pytest.raises(ValueError, match="kernel"):
            parse_kernel(text)


class TestToDepth:
    @pytest.mark.parametrize(("dtype", "most"), [(np.uint8, 255), (np.uint16, 65535)])
    def test_rounded_and_clipped(self, dtype, most):
        values = to_depth(np.array([-5, 0.5, 1.4, 1.6, 1e9]), np.dtype(dtype))
        assert values.tolist() == [0, 0, 1, 2, most]
        assert values.dtype == dtype

    def test_stretched(self):
        values = np.array([-4.0, 0, 4])
        assert to_depth(values, np.dtype(np.uint8), stretch=True).tolist() == [0, 128, 255]
        assert to_depth(np.full(3, 7.0), np.dtype(np.uint8), stretch=True).tolist() == [0, 0, 0]
