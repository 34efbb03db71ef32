"""A claim is made of parts, each a figure with the bound it must keep; the verdict follows from the parts.

Bounds are fixed before a run and not fitted to it. A figure that misses its bound is a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from .results import Spread

HOLDS, IN_PART, DOES_NOT = "holds", "holds in part", "does not hold"

UNITS = {"points": (100.0, "{:+.1f}", " points"), "x": (1.0, "{:.2f}", " x")}
"""How a figure is written: its factor, its digits and its sign. Points are differences of percentages."""


@dataclass(frozen=True)
class Part:
    """One figure of a claim, which holds where its mean lies from ``least`` to ``most``.

    A bound that asks for an effect (a least above ``neutral``, a most below it) also asks that the effect be
    no accident of the seeds: more than two standard errors away from ``neutral``, which is no difference (0)
    or, for a ratio, no change (1).
    """

    statement: str
    measured: Spread
    unit: str = ""
    least: float = -inf
    most: float = inf

    @property
    def neutral(self) -> float:
        return 1.0 if self.unit == "x" else 0.0

    @property
    def holds(self) -> bool:
        mean, doubt = self.measured.mean, 2 * self.measured.error
        if not self.least <= mean <= self.most:
            return False
        if self.least > self.neutral:
            return mean - doubt > self.neutral
        if self.most < self.neutral:
            return mean + doubt < self.neutral
        return True

    @property
    def bound(self) -> str:
        if self.least == self.most:
            return f"exactly {self._write(self.least)}"
        bounds = []
        if self.least > -inf:
            bounds.append(f"at least {self._write(self.least)}")
        if self.most < inf:
            bounds.append(f"at most {self._write(self.most)}")
        return " and ".join(bounds)

    @property
    def figure(self) -> str:
        """The mean, with its standard deviation over the seeds where there are several."""
        mean, deviation = self.measured.mean, self.measured.deviation
        if self.unit not in UNITS:
            return f"{self._write(mean)} ± {deviation:.2g}" if deviation else self._write(mean)
        factor, form, sign = UNITS[self.unit]
        spread = f" ± {form.format(factor * deviation).lstrip('+')}" if deviation else ""
        return form.format(factor * mean) + spread + sign

    def _write(self, value: float) -> str:
        if self.unit in UNITS:
            factor, form, sign = UNITS[self.unit]
            return form.format(factor * value) + sign
        return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"

    def to_json(self) -> dict[str, Any]:
        return {
            "statement": self.statement,
            "holds": self.holds,
            "mean": self.measured.mean,
            "deviation": self.measured.deviation,
            "count": self.measured.count,
            "unit": self.unit,
            "least": None if self.least == -inf else self.least,
            "most": None if self.most == inf else self.most,
        }


def verdict(parts: Sequence[Part]) -> str:
    """All parts hold: the claim holds. None does: it does not. Some do: it holds in part."""
    if not parts:
        raise ValueError("verdict: a claim needs at least one part")
    held = sum(part.holds for part in parts)
    return HOLDS if held == len(parts) else IN_PART if held else DOES_NOT


@dataclass(frozen=True)
class Claim:
    """What is said, and what was found; ``remarks`` correct figures often quoted or add what else was."""

    id: int
    name: str
    claim: str
    parts: tuple[Part, ...]
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return verdict(self.parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "claim": self.claim,
            "verdict": self.verdict,
            "measured": "; ".join(f"{part.statement}: {part.figure}" for part in self.parts),
            "expected": "; ".join(f"{part.statement}: {part.bound}" for part in self.parts),
            "parts": [part.to_json() for part in self.parts],
            "remarks": list(self.remarks),
        }
