"""The ``convnet`` command. Results go to standard output, everything else to standard error.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C. Each command imports what it needs when
it runs.
"""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare.run import Comparison
    from .compare.sections import Table
    from .data import Dataset
    from .layers import Sequential

OK, FAILED, INTERRUPTED = 0, 1, 130

EXTRAS = {"jinja2", "matplotlib", "rich", "sklearn"}
"""Packages that ``convnet compare`` needs, by the name they are imported under."""

SOMETIMES = {"PIL", "pooch"}
"""Packages that pictures and downloads need. ``convnet[compare]`` brings all."""

QUICK_SEEDS, QUICK_EPOCHS = 1, 5

DATA_HELP = """a name or a directory. Names: digits (real digits on a 28x28 canvas; the default), digits8 (as
    they come, 8x8), xo (drawn X and O); mnist, fashion-mnist, cifar10 (downloaded on first use). Directories:
    IDX files like MNIST's (.gz too), CIFAR-10 (binary or Python version), class folders of pictures
    (cats/1.jpg, dogs/1.jpg, also below train/ and test/)"""


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
        if package not in EXTRAS | SOMETIMES:
            raise
        return _fail(f'{options.name} needs {package}: pip install "convnet[compare]"')
    except BrokenPipeError:
        # Whoever read the results has seen enough. Python's own flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OSError, WrongUse) as error:
        return _fail(str(error))


class WrongUse(Exception):
    """What was asked for cannot be done, for a reason to be told in one line."""


@contextmanager
def _told() -> Iterator[None]:
    """A ValueError in here is about what the user gave: a name, a path, a damaged file."""
    try:
        yield
    except ValueError as error:
        raise WrongUse(str(error)) from error


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
        "measure twelve claims about MLPs and CNNs on images",
        """
        Measures what is said of MLPs and CNNs on images, claim by claim, and gives each
        a verdict: holds, holds in part, or does not hold. Prints a table and writes
        results.json, pictures and report.html.

        What is compared? LeNet-5 (the small CNN where images are under 16 pixels) and its
        variants with the usual MLP, one with as many parameters and one with as many
        multiply-accumulates.

        Is it fair? All are trained by one recipe (optimizer, schedule, epochs, batches, loss)
        on the same images, over several seeds; figures are means with their spread.

        My own data? --data DIRECTORY. My own model? --models FILE.py:FUNCTION, called as
        FUNCTION(shape, classes, rng) with the image's (C, H, W); it returns a
        convnet.layers.Sequential, which joins the line-up.
        """,
        """
        convnet compare                           5 seeds, all claims: some minutes
        convnet compare --quick                   1 seed, 5 epochs: a minute's look
        convnet compare --experiments shift,cost  only these
        convnet compare --data mnist --limit 5000 5,000 images of MNIST, downloaded once
        convnet compare --data photos/ --size 48  class folders, pictures made 48x48
        convnet compare --models net.py:build     with a model of your own
        convnet compare --data cifar10 --models notebook --experiments learning,notebook
        convnet compare --json > results.json     results for a program
        """,
    )
    _data_options(compare)
    compare.add_argument(
        "--models",
        type=_names,
        metavar="NAME,...",
        default=(),
        help="only these: mlp, mlp-parameters, mlp-macs, cnn, cnn-gap, cnn-average, cnn-strided, cnn-none, "
        "...; a design with all its variants: lenet5, small, notebook; FILE.py:FUNCTION for your own",
    )
    compare.add_argument(
        "--experiments",
        type=_names,
        metavar="NAME,...",
        default=(),
        help="only these: growth, cost, learning, shift, shuffle, background, efficiency, pooling, "
        "activation, rotation, filters, colour, notebook (all but the last)",
    )
    compare.add_argument("--quick", action="store_true", help="fewer seeds and epochs, for a first look")
    compare.add_argument(
        "--seeds", type=_at_least_1, metavar="N", help=f"train with N seeds (5; quick: {QUICK_SEEDS})"
    )
    compare.add_argument(
        "--epochs", type=_at_least_1, metavar="N", help=f"train for N epochs (20; quick: {QUICK_EPOCHS})"
    )
    _backend_options(compare, threads=1)
    compare.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("convnet-results"),
        help="where the files go (convnet-results). Finished trainings are kept below it, so that the same "
        "command goes on where Ctrl-C ended it",
    )

    train = _command(
        commands,
        "train",
        _train,
        "train a model on a data set and save it",
        "Trains one of the comparison's models, by its recipe, and writes it to a file. Ctrl-C keeps what "
        "was learned; with --checkpoint the same command then goes on, to the same weights as without it.",
        """
        convnet train --out digits.npz
        convnet train --data xo --model mlp --epochs 5 --out xo.npz
        convnet train --data mnist --checkpoint mnist.run --out mnist.npz
        """,
    )
    _data_options(train)
    train.add_argument("--model", metavar="NAME", default="cnn", help="as in convnet compare --models (cnn)")
    train.add_argument("--epochs", type=_at_least_1, metavar="N", default=10, help="(10)")
    train.add_argument(
        "--seed", type=_natural, metavar="N", default=0, help="of weights, order and split (0)"
    )
    train.add_argument("--out", type=Path, metavar="FILE", default=Path("model.npz"), help="(model.npz)")
    train.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="keep all it takes to go on in FILE, epoch by epoch, and go on from there where it exists",
    )
    _backend_options(train)

    evaluate = _command(
        commands,
        "evaluate",
        _evaluate,
        "accuracy of a saved model on the held-out images of a data set",
        "Loss and accuracy on the held-out half, over all and class by class.",
        "convnet evaluate digits.npz --data digits",
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="a file of convnet train")
    _data_options(evaluate)
    evaluate.add_argument(
        "--seed", type=_natural, metavar="N", default=0, help="of the split, as in training (0)"
    )
    _backend_options(evaluate)

    predict = _command(
        commands,
        "predict",
        _predict,
        "what a saved model sees in pictures",
        "Names each picture's most likely class. Pictures are brought to the size and colours of the data.",
        """
        convnet predict digits.npz seven.png --invert    dark ink on white paper
        convnet predict pets.npz --data photos/ my-cat.jpg
        """,
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="a file of convnet train")
    predict.add_argument("images", type=Path, metavar="IMAGE", nargs="+")
    predict.add_argument("--invert", action="store_true", help="exchange dark and light first")
    _data_options(predict)
    _backend_options(predict)

    picture = _command(
        commands,
        "filter",
        _filter,
        "Sobel and other filters over a picture",
        """
        Filters a picture, grey or RGB, 8 or 16 bits (16 in grey), and saves the result at the
        same depth. Of sobel and prewitt it is the gradient's magnitude; of other kernels that
        sum to 0 the response's.
        """,
        """
        convnet filter photo.jpg                                writes photo-sobel.png
        convnet filter photo.jpg --kernel gaussian --out soft.png
        convnet filter photo.jpg --kernel "0 1 0; 1 -4 1; 0 1 0" --stretch
        """,
    )
    picture.add_argument("image", type=Path, metavar="IMAGE")
    picture.add_argument(
        "--kernel",
        metavar="NAME|ROWS",
        default="sobel",
        help="sobel, sobel-x, sobel-y, prewitt, gaussian, laplacian, sharpen, box, emboss, or rows of "
        "numbers (sobel)",
    )
    picture.add_argument("--out", type=Path, metavar="FILE", help="where to (IMAGE-KERNEL.png)")
    picture.add_argument("--grey", action="store_true", help="make it grey first")
    picture.add_argument("--stretch", action="store_true", help="spread the result over the whole range")

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


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="SOURCE", default="digits", help=" ".join(DATA_HELP.split()))
    parser.add_argument(
        "--limit", type=_at_least_1, metavar="N", help="use at most N training and N test images"
    )
    parser.add_argument(
        "--size", type=_at_least_1, metavar="N", default=32, help="pictures in class folders become NxN (32)"
    )


def _backend_options(parser: argparse.ArgumentParser, threads: int | None = None) -> None:
    parser.add_argument(
        "--backend",
        choices=("native", "im2col", "naive"),
        default="native",
        help="what computes: the compiled core (native), vectorised NumPy or plain loops",
    )
    # Small networks gain little from a second thread, and lose much where other programs want it too.
    usual = "all the machine has" if threads is None else f"{threads}: more pay on large images"
    parser.add_argument(
        "--threads",
        type=_at_least_1,
        metavar="N",
        default=threads,
        help=f"threads of the native backend ({usual})",
    )


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


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names with commas between them, got {text!r}")
    return names


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
    from .data import load

    # Found out now, not after minutes of training.
    options.out.mkdir(parents=True, exist_ok=True)
    usual = Settings()
    seeds = options.seeds or (QUICK_SEEDS if options.quick else len(usual.seeds))
    epochs = options.epochs or (QUICK_EPOCHS if options.quick else usual.recipe.epochs)
    settings = Settings(
        data=options.data,
        models=options.models,
        experiments=options.experiments,
        seeds=tuple(range(seeds)),
        recipe=Recipe(epochs=epochs),
        limit=options.limit,
        backend=options.backend,
        threads=options.threads,
    )
    with _told(), _progress() as advance:
        comparison = compare(
            settings,
            source=lambda seed: load(options.data, seed=seed, size=options.size),
            directory=options.out / "trainings",
            advance=advance,
        )

    files = [save_results(comparison, options.out), save_report(comparison, options.out)]
    if options.json:
        print(json.dumps(comparison.to_json()))
    else:
        _print_comparison(comparison, files)
    if not comparison.finished:
        return _fail(
            f"interrupted; what was finished is in {options.out}, and the same command goes on", INTERRUPTED
        )
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
    from rich.markup import escape

    from .compare.report import MARKS, answer
    from .compare.sections import Table, accuracy_table

    console = Console(highlight=False)
    claims = comparison.claims
    tables = [accuracy_table(comparison.results)]
    if claims:
        tables.append(
            Table(
                f"{len(claims)} claims, measured on {comparison.data.title}",
                ("Claim", "Verdict"),
                tuple(
                    (f"{claim.id}. {claim.claim}", f"{MARKS[claim.verdict]} {claim.verdict}")
                    for claim in claims
                ),
                "Figures, bounds and how they were measured: see report.html.",
            )
        )
    for table in tables:
        if table.rows:  # else not asked for, or not reached before Ctrl-C
            console.print(escape(table.title), style="bold")
            console.print(_rich_table(table), end="")
            console.print(escape(table.note), style="dim")
            console.print()
    if comparison.caution:
        console.print(comparison.caution, style="bold")
        console.print()
    for sentence in answer(comparison):
        console.print(escape(sentence))
        console.print()
    console.print("Files: " + escape(", ".join(map(str, files))), soft_wrap=True)


def _rich_table(table: "Table") -> Any:
    from rich import box
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD)
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="right" if column else "left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _load_data(options: argparse.Namespace, seed: int = 0) -> "Dataset":
    from .compare.study import limited
    from .data import load

    return limited(load(options.data, seed=seed, size=options.size), options.limit)


@contextmanager
def _computing(options: argparse.Namespace) -> Iterator[None]:
    import convnet

    if options.threads is not None:
        convnet.set_num_threads(options.threads)
    with convnet.backend(options.backend):
        yield


def _train(options: argparse.Namespace) -> int:
    import numpy as np

    from .compare.models import CNN
    from .compare.run import choose_models
    from .compare.study import Recipe
    from .training import Epoch, fit

    with _told(), _computing(options):
        options.out.parent.mkdir(parents=True, exist_ok=True)
        if options.checkpoint:
            options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        data = _load_data(options, options.seed)
        models = choose_models((options.model,), data)
        # Of a whole line-up a design's name means the network itself; one's own model comes after the others.
        is_own = ":" in options.model
        chosen = models[-1] if is_own else next((m for m in models if m.name == CNN), models[0])
        network = chosen.build(data.image_shape, len(data.classes), np.random.default_rng(options.seed))
        recipe = Recipe(epochs=options.epochs)
        steps = math.ceil(len(data.x_train) / recipe.batch_size)  # of an epoch
        optimizer = recipe.make_optimizer(network, lambda step: recipe.rate(step // steps))
        epochs: list[Epoch] = []

        def told(epoch: Epoch) -> None:
            epochs.append(epoch)
            print(
                f"epoch {epoch.epoch}/{recipe.epochs}  loss {epoch.train_loss:.4f}  "
                f"held-out accuracy {epoch.validation_accuracy:.1%}",
                file=sys.stderr,
            )

        interrupted = False
        try:
            fit(
                network,
                data.x_train,
                data.y_train,
                optimizer=optimizer,
                epochs=recipe.epochs,
                batch_size=recipe.batch_size,
                validation=(data.x_test, data.y_test),
                rng=options.seed,
                checkpoint=options.checkpoint,
                on_epoch=told,
                progress=False,
            )
        except KeyboardInterrupt:
            interrupted = True
        network.save(options.out)
    last = epochs[-1].validation_accuracy if epochs else None
    if options.json:
        print(
            json.dumps(
                {"model": chosen.name, "file": str(options.out), "epochs": len(epochs), "accuracy": last}
            )
        )
    else:
        accuracy = "" if last is None else f", right on {last:.1%} of the held-out images"
        print(f"{chosen.title}, {network.parameter_count():,} parameters{accuracy}: {options.out}")
    if not interrupted:
        return OK
    more = ", and the same command goes on" if options.checkpoint else ""
    return _fail(f"interrupted; what was learned is saved{more}", INTERRUPTED)


def _load_model(path: Path, data: "Dataset") -> "Sequential":
    import convnet

    network: Sequential = convnet.load(path)
    outputs = network.output_shape((1, *data.image_shape))
    if outputs != (1, len(data.classes)):
        raise WrongUse(
            f"{path} puts out {outputs[1:]} for images {data.image_shape}; the data has {len(data.classes)} "
            f"classes"
        )
    return network


def _evaluate(options: argparse.Namespace) -> int:
    from .training import evaluate

    with _told(), _computing(options):
        data = _load_data(options, options.seed)
        network = _load_model(options.model, data)
        loss, accuracy = evaluate(network, data.x_test, data.y_test)
        right = network.predict(data.x_test).argmax(axis=1) == data.y_test
    by_class = {
        name: float(right[data.y_test == label].mean())
        for label, name in enumerate(data.classes)
        if (data.y_test == label).any()
    }
    if options.json:
        print(json.dumps({"images": len(right), "loss": loss, "accuracy": accuracy, "classes": by_class}))
    else:
        print(f"{data.title}: {accuracy:.1%} of {len(right):,} held-out images right, loss {loss:.4f}")
        width = max(map(len, by_class))
        for name, share in by_class.items():
            print(f"  {name:{width}}  {share:6.1%}")
    return OK


def _predict(options: argparse.Namespace) -> int:
    import numpy as np

    from .data.folder import read_picture
    from .functional import softmax_cross_entropy

    found = []
    with _told(), _computing(options):
        data = _load_data(options)
        network = _load_model(options.model, data)
        channels, height, width = data.image_shape
        for path in options.images:
            pixels = (
                read_picture(path, "RGB" if channels == 3 else "L", (height, width)).astype(np.float32) / 255
            )
            if options.invert:
                pixels = 1 - pixels
            pixels = data.background + (1 - data.background) * pixels
            x = pixels.reshape(height, width, channels).transpose(2, 0, 1)[None].astype(np.float32)
            outputs = network.predict(x)
            best = int(outputs[0].argmax())
            loss, _ = softmax_cross_entropy(outputs, np.array([best]))
            found.append(
                {"image": str(path), "class": data.classes[best], "probability": float(np.exp(-loss))}
            )
    if options.json:
        print(json.dumps(found))
    else:
        for one in found:
            print(f"{one['image']}: {one['class']} ({one['probability']:.1%})")
    return OK


def _filter(options: argparse.Namespace) -> int:
    import numpy as np
    from PIL import Image

    from .data.folder import open_picture
    from .filters import KERNELS, filter_image, finds_edges, parse_kernel, to_depth

    with _told():
        named = options.kernel in KERNELS
        kernels = KERNELS[options.kernel] if named else (parse_kernel(options.kernel),)
        image = open_picture(options.image)
        if options.grey and image.ndim == 3:
            image = np.rint(image @ np.array([0.299, 0.587, 0.114])).astype(image.dtype)  # ITU-R BT.601
        filtered = filter_image(image, *kernels)
        if finds_edges(*kernels):
            filtered = abs(filtered)
        result = to_depth(filtered, image.dtype, stretch=options.stretch)
        name = options.kernel if named else "filtered"
        out = options.out or options.image.with_name(f"{options.image.stem}-{name}.png")
        Image.fromarray(result).save(out)
    facts = {
        "file": str(out),
        "shape": list(result.shape),
        "bits": 8 * result.dtype.itemsize,
        "kernel": [kernel.tolist() for kernel in kernels],
        "largest": float(filtered.max()),
        "mean": float(filtered.mean()),
    }
    if options.json:
        print(json.dumps(facts))
    else:
        size = "x".join(map(str, result.shape[1::-1]))
        print(
            f"{out}: {size} pixels, {facts['bits']} bits; mean {facts['mean']:.1f}, largest "
            f"{facts['largest']:.1f}"
        )
    return OK


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
