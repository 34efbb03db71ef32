"""Pictures of records. Each function draws one, and sees nothing but the comparison's records.

Pictures are 5.5 inches wide, so that their letters can still be read on a phone. Colours are told apart by
colour-blind readers too (after Okabe and Ito, "Color Universal Design", 2008); line style and marker say the
same again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .models import Model
from .records import Filters, Learning, Plane
from .run import Comparison
from .tables import models_in, shifted_accuracy

WIDTH = 5.5  # inches
DPI = 180

# The two MLPs often lie on each other: an open ring under a small square shows both.
STYLES: dict[str, dict[str, Any]] = {
    "mlp": {
        "color": "#D55E00",
        "linestyle": "--",
        "marker": "o",
        "markersize": 7,
        "markerfacecolor": "white",
    },
    "mlp-matched": {"color": "#A3457A", "linestyle": ":", "marker": "s", "markersize": 4},
    "lenet5": {"color": "#0072B2", "linestyle": "-", "marker": "^", "markersize": 6},
    "small-cnn": {"color": "#0072B2", "linestyle": "-", "marker": "^", "markersize": 6},
}


def accuracy_against_shift(comparison: Comparison, dataset: str) -> Figure:
    """One line a model: accuracy on test images moved by 0, 1, 2 ... pixels; bands are spreads over seeds."""
    figure, axes = _figure(3.6)
    for model in models_in(comparison, dataset):
        spreads = shifted_accuracy(comparison, dataset, model.name)
        means = np.array([spread.mean for spread in spreads.values()])
        deviations = np.array([spread.deviation for spread in spreads.values()])
        _line(axes, model, list(spreads), means, means - deviations, means + deviations)
    axes.axhline(0.1, color="0.45", linewidth=1)
    axes.annotate("guessing", (0, 0.1), xytext=(2, 4), textcoords="offset points", color="0.35", fontsize=9.5)
    axes.set(
        xlabel="test images moved by (pixels; mean of 8 directions)",
        ylabel="accuracy on the moved images",
        ylim=(0, 1.02),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(frameon=False, loc="upper right")
    return figure


def learning_curves(comparison: Comparison, dataset: str) -> Figure:
    """Accuracy on held-out images after each epoch; the band reaches from the worst seed to the best."""
    figure, axes = _figure(3.6)
    lowest = 1.0
    for model in models_in(comparison, dataset):
        curves = np.array(
            [
                record.test_accuracy_curve
                for record in comparison.of(Learning)
                if (record.dataset, record.model) == (dataset, model.name)
            ]
        )
        epochs = range(1, curves.shape[1] + 1)
        means = curves.mean(axis=0)
        _line(axes, model, epochs, means, curves.min(axis=0), curves.max(axis=0))
        # The first few epochs would squeeze all others together at the top.
        lowest = min(lowest, *means[min(2, len(means) - 1) :])
    axes.set(
        xlabel="epoch (once through the training images)",
        ylabel="accuracy on held-out images",
        ylim=(max(0.0, np.floor(lowest * 20) / 20 - 0.05), 1.0),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))  # whole percents
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.legend(frameon=False, loc="lower right")
    return figure


def first_filters(comparison: Comparison, dataset: str) -> Figure:
    """The first layer's weights before and after training: two rows a model, one square a unit."""
    titles = {model.name: model.title for model in models_in(comparison, dataset)}
    shown = [
        record for record in comparison.of(Filters) if record.dataset == dataset and record.model in titles
    ]
    columns = max(len(record.after) for record in shown)
    figure = Figure(figsize=(WIDTH, 2.2 * len(shown)), dpi=DPI, layout="constrained")
    for part, record in zip(figure.subfigures(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        height, width = len(record.after[0]), len(record.after[0][0])
        part.suptitle(
            f"{titles[record.model]}: {len(record.after)} of {record.of} units, "
            f"{height}x{width} weights each",
            fontsize=10.5,
        )
        rows = part.subplots(2, columns, squeeze=False)
        for axes_row, planes, stage in zip(
            rows, (record.before, record.after), ("before", "after"), strict=True
        ):
            _planes(axes_row, planes)
            axes_row[0].set_ylabel(stage, fontsize=10)
    return figure


def _planes(axes_row: Sequence[Axes], planes: Sequence[Plane]) -> None:
    for axes in axes_row:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, plane in zip(axes_row, planes, strict=False):
        weights = np.array(plane)
        most = abs(weights).max() or 1.0
        axes.imshow(weights, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _line(
    axes: Axes,
    model: Model,
    x: Sequence[int],
    mean: np.ndarray[tuple[int], np.dtype[np.float64]],
    low: np.ndarray[tuple[int], np.dtype[np.float64]],
    high: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    style = STYLES[model.name]
    # At most about ten markers, or a line disappears under them.
    axes.plot(x, mean, label=model.title, linewidth=1.8, markevery=max(1, len(x) // 10), **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
