"""The ``convnet`` command. Results go to standard output, everything else to standard error.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C. Each command imports what it needs when
it runs.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare.run import Comparison
    from .compare.tables import Table

OK, FAILED, INTERRUPTED = 0, 1, 130

EXTRAS = {"jinja2", "matplotlib", "rich", "sklearn"}
"""Packages that ``convnet[compare]`` brings, by the name they are imported under."""

QUICK_SEEDS, QUICK_EPOCHS = 2, 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Wrong usage leaves by SystemExit with status 2."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        return _fail(f'{options.name} needs {package}: pip install "convnet[compare]"')
    except BrokenPipeError:
        # Whoever read the results has seen enough. Python's own flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convnet",
        description="Convolutional networks on NumPy arrays. Why a CNN and not an MLP? Measured here.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="name")

    compare = _command(
        commands,
        "compare",
        _compare,
        "train MLPs and CNNs on handwritten digits by one recipe and compare them",
        """
        Trains MLPs and CNNs on real handwritten digits, 8x8 and on a 28x28 canvas, by
        one recipe over several seeds. Prints what they cost, how well they do, and what
        is left of it when the test images move. Writes results.json, pictures and
        report.html.
        """,
        """
        convnet compare                        5 seeds, 30 epochs: some minutes
        convnet compare --quick                2 seeds, 10 epochs: a minute's look
        convnet compare --seeds 10 --out ten   more seeds, into the directory ten
        convnet compare --json > results.json  results for a program
        """,
    )
    compare.add_argument("--quick", action="store_true", help="fewer seeds and epochs, for a first look")
    compare.add_argument(
        "--seeds", type=_at_least_1, metavar="N", help=f"train with N seeds (5; quick: {QUICK_SEEDS})"
    )
    compare.add_argument(
        "--epochs", type=_at_least_1, metavar="N", help=f"train for N epochs (30; quick: {QUICK_EPOCHS})"
    )
    compare.add_argument(
        "--backend",
        choices=("native", "im2col", "naive"),
        default="native",
        help="what computes: the compiled core (native), vectorised NumPy or plain loops",
    )
    compare.add_argument("--threads", type=_at_least_1, metavar="N", help="threads of the native backend")
    compare.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("convnet-results"),
        help="where the files go (convnet-results)",
    )

    xo = _command(
        commands,
        "xo",
        _xo,
        "the worked example, step by step: is this picture an X or an O?",
        """
        Takes a 9x9 picture of an X through convolution, ReLU, pooling and scoring, and
        shows every matrix on the way. Then trains the same network on drawn X and O.
        """,
        """
        convnet xo
        convnet xo --seed 3    train from other first weights, on other drawings
        convnet xo --json      every matrix in full, for a program
        """,
    )
    xo.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the training (0)")

    _command(
        commands,
        "info",
        _info,
        "versions, instruction set and threads in use",
        "Tells which convnet, Python and NumPy run here, and how the compiled core was built.",
        """
        convnet info
        convnet info --json
        """,
    )
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=_flush_left(description),
        epilog="examples:\n" + _flush_left(examples, indent="  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(command=command)
    return parser


def _flush_left(text: str, indent: str = "") -> str:
    return "\n".join(indent + line.strip() for line in text.strip().splitlines())


def _at_least_1(text: str) -> int:
    return _integer(text, 1)


def _natural(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
    return int(text)


def _compare(options: argparse.Namespace) -> int:
    from .compare.report import save_report, save_results
    from .compare.run import Settings, compare
    from .compare.study import Recipe
    from .compare.tables import datasets_in

    # Found out now, not after minutes of training.
    options.out.mkdir(parents=True, exist_ok=True)
    usual = Settings()
    seeds = options.seeds or (QUICK_SEEDS if options.quick else len(usual.seeds))
    epochs = options.epochs or (QUICK_EPOCHS if options.quick else usual.recipe.epochs)
    settings = Settings(
        seeds=tuple(range(seeds)),
        recipe=Recipe(epochs=epochs),
        backend=options.backend,
        threads=options.threads,
    )
    with _progress() as advance:
        comparison = compare(settings, advance)

    files = [save_results(comparison, options.out)]
    if datasets_in(comparison):
        files.append(save_report(comparison, options.out))
    if options.json:
        print(json.dumps(comparison.to_json()))
    else:
        _print_comparison(comparison, files)
    if not comparison.finished:
        return _fail(f"interrupted; what was finished is in {options.out}", INTERRUPTED)
    return OK


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar with the time left, on standard error and only where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left; {task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, advance=share, description=what)


def _print_comparison(comparison: "Comparison", files: Sequence[Path]) -> None:
    from rich.console import Console

    from .compare.report import answer
    from .compare.tables import datasets_in, overview, side_by_side

    console = Console(highlight=False)
    datasets = datasets_in(comparison)
    for dataset in datasets:
        for table in (overview(comparison, dataset), side_by_side(comparison, dataset)):
            if not table.rows:  # not reached before Ctrl-C
                continue
            console.print(table.title, style="bold")
            console.print(_rich_table(table), end="")
            console.print(table.note, style="dim")
            console.print()
    if datasets:
        for sentence in answer(comparison):
            console.print(sentence)
        console.print()
    console.print("Files: " + ", ".join(map(str, files)), soft_wrap=True)


def _rich_table(table: "Table") -> Any:
    from rich import box
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD)
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="right" if column else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _xo(options: argparse.Namespace) -> int:
    from . import xo

    example = xo.worked_example()
    trained = xo.train_network(seed=options.seed)
    if options.json:
        print(json.dumps({"worked_example": example.to_json(), "trained": trained.to_json()}))
    else:
        print(xo.text(example, trained))
    return OK


def _info(options: argparse.Namespace) -> int:
    import numpy as np

    import convnet

    facts = {
        **convnet.build_info(),
        "backend": convnet.get_backend(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }
    if options.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            print(f"{name:{width}}  {shown}")
    return OK


def _fail(message: str, status: int = FAILED) -> int:
    print(f"convnet: {message}", file=sys.stderr)
    return status
