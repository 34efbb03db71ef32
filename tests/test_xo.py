"""The worked example, against matrices typed from the literature and not computed by anything here."""

import numpy as np
import pytest

import convnet
from convnet import xo


def matrix(text: str) -> np.ndarray:
    return np.array([[float(cell) for cell in line.split()] for line in text.strip().splitlines()])


PICTURE = matrix("""
-1 -1 -1 -1 -1 -1 -1 -1 -1
-1  1 -1 -1 -1 -1 -1  1 -1
-1 -1  1 -1 -1 -1  1 -1 -1
-1 -1 -1  1 -1  1 -1 -1 -1
-1 -1 -1 -1  1 -1 -1 -1 -1
-1 -1 -1  1 -1  1 -1 -1 -1
-1 -1  1 -1 -1 -1  1 -1 -1
-1  1 -1 -1 -1 -1 -1  1 -1
-1 -1 -1 -1 -1 -1 -1 -1 -1
""")

FEATURES = [
    matrix(" 1 -1 -1 \n -1 1 -1 \n -1 -1  1"),
    matrix(" 1 -1  1 \n -1 1 -1 \n  1 -1  1"),
    matrix("-1 -1  1 \n -1 1 -1 \n  1 -1 -1"),
]

MAIN_DIAGONAL = matrix("""
 .78 -.11  .11  .33  .56 -.11  .33
-.11 1.00 -.11  .33 -.11  .11 -.11
 .11 -.11 1.00 -.33  .11 -.11  .56
 .33  .33 -.33  .56 -.33  .33  .33
 .56 -.11  .11 -.33 1.00 -.11  .11
-.11  .11 -.11  .33 -.11 1.00 -.11
 .33 -.11  .56  .33  .11 -.11  .78
""")

THE_X_ITSELF = matrix("""
 .33 -.56  .11 -.11  .11 -.56  .33
-.56  .56 -.56  .33 -.56  .56 -.56
 .11 -.56  .56 -.78  .56 -.56  .11
-.11  .33 -.78 1.00 -.78  .33 -.11
 .11 -.56  .56 -.78  .56 -.56  .11
-.56  .56 -.56  .33 -.56  .56 -.56
 .33 -.56  .11 -.11  .11 -.56  .33
""")

ANTI_DIAGONAL = matrix("""
 .33 -.11  .56  .33  .11 -.11  .78
-.11  .11 -.11  .33 -.11 1.00 -.11
 .56 -.11  .11 -.33 1.00 -.11  .11
 .33  .33 -.33  .56 -.33  .33  .33
 .11 -.11 1.00 -.33  .11 -.11  .56
-.11 1.00 -.11  .33 -.11  .11 -.11
 .78 -.11  .11  .33  .56 -.11  .33
""")

RECTIFIED_MAIN_DIAGONAL = matrix("""
 .78   0  .11  .33  .56   0  .33
   0 1.00   0  .33    0 .11    0
 .11   0 1.00    0  .11   0  .56
 .33 .33    0  .56    0 .33  .33
 .56   0  .11    0 1.00   0  .11
   0 .11    0  .33   0 1.00    0
 .33   0  .56  .33  .11   0  .78
""")

POOLED = [
    matrix("1.00 .33 .56 .33 \n .33 1.00 .33 .56 \n .56 .33 1.00 .11 \n .33 .56 .11 .78"),
    matrix(" .56 .33 .56 .33 \n .33 1.00 .56 .11 \n .56 .56 .56 .11 \n .33 .11 .11 .33"),
    matrix(" .33 .56 1.00 .78 \n .56 .56 1.00 .33 \n 1.00 1.00 .11 .56 \n .78 .33 .56 .33"),
]

POOLED_AGAIN = [
    matrix("1.00 .56 \n .56 1.00"),
    matrix("1.00 .56 \n .56  .56"),
    matrix(" .56 1.00 \n 1.00 .56"),
]

VECTOR = [1, 0.56, 0.56, 1, 1, 0.56, 0.56, 0.56, 0.56, 1, 1, 0.56]
TEMPLATE_O = [0.56, 1, 1, 0.56, 0.56, 0.56, 0.56, 0.56, 1, 0.56, 0.56, 1]
NEW_INPUT = [0.9, 0.65, 0.45, 0.87, 0.96, 0.73, 0.23, 0.63, 0.44, 0.89, 0.94, 0.53]


@pytest.fixture(params=["native", "im2col", "naive"])
def example(request):
    with convnet.backend(request.param):
        return xo.worked_example()


def test_every_matrix(example):
    np.testing.assert_array_equal(example.picture, PICTURE)
    np.testing.assert_array_equal(example.features, FEATURES)
    responses = [MAIN_DIAGONAL, THE_X_ITSELF, ANTI_DIAGONAL]
    np.testing.assert_array_equal(example.responses.round(2), responses)
    np.testing.assert_array_equal(example.rectified[0].round(2), RECTIFIED_MAIN_DIAGONAL)
    np.testing.assert_array_equal(example.rectified.round(2), np.where(np.array(responses) < 0, 0, responses))
    np.testing.assert_array_equal(example.pooled.round(2), POOLED)
    np.testing.assert_array_equal(example.pooled_again.round(2), POOLED_AGAIN)
    np.testing.assert_array_equal(example.vector.round(2), VECTOR)
    np.testing.assert_array_equal(example.templates, [VECTOR, TEMPLATE_O])
    np.testing.assert_array_equal(example.new_input, NEW_INPUT)


def test_scores_and_answer(example):
    np.testing.assert_allclose(example.scores, [0.912, 0.5175], rtol=0, atol=1e-15)
    assert example.answer == "X"


def test_responses_are_exact_ninths(example):
    ninths = example.responses * 9
    np.testing.assert_allclose(ninths, ninths.round(), rtol=0, atol=1e-14)


@pytest.fixture(scope="module")
def trained():
    return xo.train_network()


def test_the_same_network_learns(trained):
    assert trained.parameters == 3 * (3 * 3 + 1) + (12 + 1) * 2
    assert trained.test_accuracy > 0.97
    assert trained.test_accuracy > trained.untrained_accuracy + 0.2
    assert trained.features.shape == (3, 3, 3)
    assert trained.answer == "X"


def test_training_is_reproducible(trained):
    again, other = xo.train_network(), xo.train_network(seed=1)
    np.testing.assert_array_equal(again.features, trained.features)
    assert not np.array_equal(other.features, trained.features)


def test_text_shows_every_step(trained):
    page = xo.text(xo.worked_example(), trained)
    rows = [" ".join(line.split()) for line in page.splitlines()]
    for responses in (MAIN_DIAGONAL, THE_X_ITSELF, ANTI_DIAGONAL):
        for row in responses:
            assert " ".join(f"{value:.2f}" for value in row) in rows
    for matrices in (POOLED, POOLED_AGAIN):
        for row in np.concatenate(matrices, axis=1):
            assert " ".join(f"{value:.2f}" for value in row) in rows
    assert "X: (0.9 + 0.87 + 0.96 + 0.89 + 0.94) / 5 = 0.912" in rows
    assert "O: (0.65 + 0.45 + 0.44 + 0.53) / 4 = 0.5175" in rows
    assert "It is an X." in rows
    assert "-0.00" not in page
    assert max(map(len, page.splitlines())) <= 80
