"""Pictures of results: lines, bars, heat maps and small images. They see numbers and names, and nothing else.

Pictures are 5.5 inches wide, so that their letters can still be read on a phone. Colours are told apart by
colour-blind readers too (after Okabe and Ito, "Color Universal Design", 2008); line style, marker and
hatching say the same again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from .models import CNN, MLP
from .results import Plane, Spread

WIDTH = 5.5  # inches
DPI = 150

STYLES: dict[str, dict[str, Any]] = {
    "mlp": {"color": "#D55E00", "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    MLP: {"color": "#D55E00", "linestyle": ":", "marker": "s", "markersize": 4},
    "mlp-macs": {"color": "#A3457A", "linestyle": "-.", "marker": "D", "markersize": 4},
    CNN: {"color": "#0072B2", "linestyle": "-", "marker": "^"},
    "cnn-gap": {"color": "#00795A", "linestyle": "--", "marker": "v"},
    "cnn-average": {"color": "#4D4D4D", "linestyle": "-.", "marker": "x"},
    "cnn-strided": {"color": "#8F7A00", "linestyle": ":", "marker": "+"},
}
OTHER = {"color": "#1a1a1a", "linestyle": "-", "marker": "*"}
FILLS = (("#D55E00", ""), ("#0072B2", "//"), ("#00795A", ".."), ("#999999", "xx"))


@dataclass(frozen=True)
class Line:
    """One model's figure along x; ``faint`` draws the second of two lines of the same model."""

    label: str
    model: str
    x: Sequence[float]
    y: Sequence[Spread]
    faint: bool = False


def lines(
    panels: Sequence[tuple[str, Sequence[Line]]],
    ylabel: str,
    *,
    percent: bool = True,
    log: bool = False,
    guessing: float | None = None,
    zoom: bool = False,
    height: float = 3.5,
) -> Figure:
    """Panels of lines, one under another: (x label, lines) each. Bands: one standard deviation either way."""
    figure = Figure(figsize=(WIDTH, height * len(panels)), dpi=DPI, layout="constrained")
    for axes, (xlabel, drawn) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        _plain(axes)
        for line in drawn:
            style = STYLES.get(line.model, OTHER)
            if line.faint:
                style = {**style, "linestyle": "-", "alpha": 0.55, "linewidth": 3.5, "marker": ""}
            mean = np.array([spread.mean for spread in line.y])
            spread = np.array([spread.deviation for spread in line.y])
            # At most about ten markers, or a line disappears under them.
            axes.plot(
                line.x,
                mean,
                label=line.label,
                markevery=max(1, len(line.x) // 10),
                **{"linewidth": 1.8, **style},
            )
            axes.fill_between(line.x, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0)
        if guessing is not None:
            axes.axhline(guessing, color="0.45", linewidth=1)
            axes.annotate(
                "guessing", (0, guessing), (4, 4), ("axes fraction", "data"), "offset points",
                color="0.35", fontsize=9,
            )  # fmt: skip
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.set_ylim(0 if not zoom else None, 1.02)
        if log:
            axes.set(xscale="log", yscale="log")
        elif all(float(x).is_integer() for line in drawn for x in line.x):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel=xlabel, ylabel=ylabel)
    # Above the lines, where it hides none.
    names, handles = {}, []
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in names:
                names[label] = handle
                handles.append(handle)
    figure.legend(handles, names, loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def bars(
    groups: Sequence[str],
    series: Sequence[tuple[str, Sequence[Spread]]],
    xlabel: str,
    *,
    percent: bool = True,
    log: bool = False,
) -> Figure:
    """Horizontal bars: for each group one of each series, with one standard deviation either way."""
    thick = 0.8 / len(series)
    figure = Figure(
        figsize=(WIDTH, 1.1 + 0.32 * len(groups) * max(len(series), 1.6)), dpi=DPI, layout="constrained"
    )
    axes = figure.subplots()
    _plain(axes, "x")
    for row, ((label, spreads), (color, hatch)) in enumerate(zip(series, FILLS, strict=False)):
        places = np.arange(len(groups)) + (row - (len(series) - 1) / 2) * thick
        means = [spread.mean for spread in spreads]
        deviations = [spread.deviation for spread in spreads]
        axes.barh(
            places, means, thick * 0.92, xerr=deviations if any(deviations) else None, label=label,
            color=color, hatch=hatch, edgecolor="white", linewidth=0.5, error_kw={"ecolor": "#1a1a1a",
            "linewidth": 1.2},
        )  # fmt: skip
        for place, mean, deviation in zip(places, means, deviations, strict=True):
            written = f"{100 * mean:.1f}%" if percent else f"{mean:,.3g}" if mean < 1000 else f"{mean:,.0f}"
            axes.annotate(
                written,
                (mean + deviation, place),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    axes.set(xlabel=xlabel, yticks=np.arange(len(groups)), yticklabels=groups)
    axes.invert_yaxis()
    if log:
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.xaxis.set_minor_locator(NullLocator())
    if percent:
        axes.set_xlim(0, 1.15)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    if len(series) > 1:
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def heat_maps(panels: Sequence[tuple[str, Sequence[Sequence[float]]]], columns: int) -> Figure:
    """Accuracy by (dx, dy), the image in its place in the middle; light is right, dark is wrong."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.05 * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    image = None
    for axes, (title, values) in zip(grid.flat, panels, strict=False):
        reach = len(values) // 2
        extent = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, extent=extent)
        axes.set_title(title, fontsize=9)
        axes.set(xticks=(-reach, 0, reach), yticks=(-reach, 0, reach))
        axes.tick_params(labelsize=8)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    if image is not None:
        bar = figure.colorbar(
            image, ax=grid, location="bottom", shrink=0.6, aspect=30, format=PercentFormatter(1)
        )
        bar.set_label("accuracy; axes: pixels moved right and down", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


def images(
    rows: Sequence[tuple[str, Sequence[Plane], Sequence[str]]], *, signed: bool = False, cell: float = 0.8
) -> Figure:
    """Rows of small images: (label, planes, captions or none). Signed ones are centred on 0, each on its own
    scale.
    """
    columns = max(len(planes) for _, planes, _ in rows)
    captioned = any(captions for _, _, captions in rows)
    size = min(cell, (WIDTH - 1.2) / columns)
    figure = Figure(
        figsize=(WIDTH, len(rows) * (size + (0.25 if captioned else 0.08))), dpi=DPI, layout="constrained"
    )
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes_row, (label, planes, captions) in zip(grid, rows, strict=True):
        axes_row[0].set_ylabel(label, fontsize=8.5, rotation=0, ha="right", va="center")
        for axes, plane in zip(axes_row, planes, strict=False):
            values = np.array(plane)
            if signed:
                most = abs(values).max() or 1.0
                axes.imshow(values, cmap="PuOr", vmin=-most, vmax=most, interpolation="nearest")
            else:
                axes.imshow(values, cmap="gray", interpolation="nearest")
        for axes, caption in zip(axes_row, captions, strict=False):
            axes.set_title(caption, fontsize=8, pad=2)
    return figure


def _plain(axes: Axes, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.88", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
