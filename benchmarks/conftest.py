"""Collects what the benchmarks measure into one table: every row a layer, native beside naive and im2col."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import convnet

BACKENDS = ("naive", "im2col", "native")
# (operation, layer) -> backend -> median seconds
Medians = dict[tuple[str, str], dict[str, float]]
MEDIANS = pytest.StashKey[Medians]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--markdown", type=Path, metavar="FILE", help="also write the summary table to FILE")
    parser.addoption(
        "--picture", metavar="FILE", help="also draw how time grows with each size (test_scaling)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEDIANS] = {}
    config.option.benchmark_columns = ["min", "median", "rounds"]


def pytest_report_header() -> str:
    info = convnet.build_info()
    return f"convnet {info['version']}: isa {info['isa']}, {info['threads']} threads"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with convnet.backend(request.param):
        yield request.param


@pytest.fixture
def measure(request: pytest.FixtureRequest, backend: str, benchmark: BenchmarkFixture) -> Callable[..., None]:
    """``measure(operation, layer, function, *arguments)``: naive loops take seconds, and are timed once."""

    def run(operation: str, layer: str, function: Callable[..., Any], *arguments: Any) -> None:
        benchmark.group = f"{operation} {layer}"
        if backend == "naive":
            benchmark.pedantic(function, arguments, rounds=1)
        else:
            benchmark(function, *arguments)
        if benchmark.stats is not None:  # None under --benchmark-disable
            row = request.config.stash[MEDIANS].setdefault((operation, layer), {})
            row[backend] = benchmark.stats["median"]

    return run


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, scale in (("s", 1), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def ratio(row: dict[str, float], other: str) -> str:
    if other not in row or "native" not in row:
        return "-"
    times = row[other] / row["native"]
    return f"{times:,.0f}x" if times >= 10 else f"{times:.1f}x"


def table(medians: Medians) -> list[list[str]]:
    head = ["operation", "layer", *BACKENDS, "naive / native", "im2col / native"]
    body = [
        [*key, *(duration(row.get(name)) for name in BACKENDS), ratio(row, "naive"), ratio(row, "im2col")]
        for key, row in medians.items()
    ]
    return [head, *body]


def aligned(rows: list[list[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def as_markdown(rows: list[list[str]]) -> str:
    rule = ["---" if place < 2 else "--:" for place in range(len(rows[0]))]
    head, line, *body = aligned([rows[0], rule, *rows[1:]])
    info = convnet.build_info()
    note = (
        f"float32, medians; naive timed once. {platform.machine()}, {os.cpu_count()} cores, "
        f"{info['isa']}, {info['threads']} threads, convnet {info['version']}, {info['compiler']}."
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, line, *body]) + f"\n\n{note}\n"


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's own tables
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    medians = config.stash[MEDIANS]
    if not medians:
        return
    rows = table(medians)
    terminalreporter.section("native beside naive and im2col (median times)")
    for row in aligned(rows):
        terminalreporter.write_line("  ".join(row))
    if path := config.getoption("--markdown"):
        path.write_text(as_markdown(rows), encoding="utf-8")
        terminalreporter.write_line(f"\nwritten to {path}")
