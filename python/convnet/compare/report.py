"""The comparison as files: ``results.json``, pictures, and ``report.html``, one page complete in itself."""

import json
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from .claims import DOES_NOT, HOLDS, IN_PART
from .experiments import cost, learning, shift
from .models import CNN, MLP
from .results import Key, NotMeasured
from .run import Comparison
from .sections import sections

MARKS = {HOLDS: "✓", IN_PART: "◐", DOES_NOT: "✗"}
"""Verdicts are told apart by sign and words, not by colour alone."""


def save_results(comparison: Comparison, directory: Path) -> Path:
    """Write ``results.json`` into the directory, which is made where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.json"
    path.write_text(json.dumps(comparison.to_json(), indent=1) + "\n", encoding="utf-8")
    return path


def save_report(comparison: Comparison, directory: Path) -> Path:
    """Write the pictures and ``report.html`` into the directory, which is made where it is missing."""
    claims = comparison.claims
    parts = sections(comparison.results, claims)
    pictures = {picture.name: picture for part in parts for picture in part.pictures}
    directory.mkdir(parents=True, exist_ok=True)
    for picture in pictures.values():
        (directory / f"{picture.name}.png").write_bytes(picture.png)
    environment = Environment(
        loader=PackageLoader("convnet.compare", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        comparison=comparison,
        answer=answer(comparison),
        main=pictures.get("shift") or next(iter(pictures.values()), None),
        claims=claims,
        sections=parts,
        marks=MARKS,
    )
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def answer(comparison: Comparison) -> list[str]:
    """The comparison in three sentences: accuracy, shifts, cost. Those not measured are left out."""
    results = comparison.results
    cnn, mlp = results.title(CNN), results.title(MLP)
    sentences = []
    try:
        right = [results.spread(Key(learning.NAME, "test accuracy", model)) for model in (CNN, MLP)]
        sentences.append(
            f"On held-out images {cnn} is right {right[0].percent()} % of the time, an MLP with as many "
            f"parameters ({mlp}) {right[1].percent()} %."
        )
    except NotMeasured:
        pass
    try:
        keys = results.keys(shift.NAME, "accuracy by distance")
        farther = min(4, max((int(key.at[0]) for key in keys), default=0))
        near, far = (
            [
                results.spread(Key(shift.NAME, "accuracy by distance", model, at=(pixels,))).mean
                for model in (CNN, MLP, "cnn-gap")
            ]
            for pixels in (farther // 2, farther)
        )
        sentences.append(
            f"Trained on images in their place and shown others moved by {farther // 2} "
            f"pixel{'s' if farther > 3 else ''}, {cnn} is right on {near[0]:.0%} and the MLP on "
            f"{near[1]:.0%}; moved by {farther}, {far[0]:.0%} and {far[1]:.0%}, but with a global average "
            f"pool for its Flatten {far[2]:.0%}."
        )
    except NotMeasured:
        pass
    try:
        parameters, macs = (
            [results.spread(Key(cost.NAME, figure, model)).mean for model in (CNN, "mlp-macs", MLP)]
            for figure in ("parameters", "MACs")
        )
        step = results.ratio(Key(cost.NAME, "step seconds", CNN), Key(cost.NAME, "step seconds", MLP)).mean
        sentences.append(
            f"It is not the cheaper of the two: with {parameters[0]:,.0f} parameters {cnn} needs "
            f"{macs[0]:,.0f} multiply-accumulates an image, {macs[0] / macs[2]:.1f} times those of the MLP, "
            f"and a step of training takes {step:.1f} times as long; an MLP allowed as many needs "
            f"{parameters[1]:,.0f} parameters."
            if macs[0] > macs[2]
            else f"With {parameters[0]:,.0f} parameters {cnn} needs {macs[0]:,.0f} multiply-accumulates an "
            f"image, the MLP {macs[2]:,.0f}; a step of training takes {step:.1f} times as long."
        )
    except NotMeasured:
        pass
    return sentences
