"""The arguments of every command. Nothing is imported that takes time: `--help` answers at once."""

import argparse
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import sem_bench
from sem_bench.report import formats
from sem_bench.runs import loggers

DAY, YEAR = 1440.0, 525_600.0  # minutes
LISTS = ("suites", "methods", "datasets", "backbones", "embeddings", "evaluations", "sweeps", "keys")


def parser() -> argparse.ArgumentParser:
    """Of all commands. `command` of what it parses is the module that does it."""
    parser = _Parser(prog="sem_bench", description="Do Simplicial Embeddings improve a self-supervised method?")
    parser.add_argument("--version", action="version", version=f"sem-bench {sem_bench.__version__}")
    with suppress(ImportError):  # the extra `completion`
        import shtab

        what = "print what completes commands and options in bash, zsh, tcsh, fish or powershell"
        shtab.add_argument_to(parser, help=what)
        parser._actions[-1].metavar = "SHELL"  # not all of them in every usage line
    commands = parser.add_subparsers(metavar="COMMAND")

    run = _command(commands, "run", "run all missing jobs of a suite and print its tables", "run suite.yaml")
    _suite_arguments(run)
    _machine_arguments(run)
    run.add_argument(
        "--only",
        metavar="TEXT",
        type=_text,
        nargs="+",
        action="extend",
        help="only jobs whose name contains a TEXT, with their inputs",
    )
    run.add_argument(
        "--rerun",
        choices=("missing", "failed", "all"),
        default="missing",
        help="missing (default): whatever has no result; failed: only failures; all: everything anew",
    )
    run.add_argument(
        "--shard",
        metavar="I/N",
        type=_share,
        help="do a fixed share of the jobs, number I of N; without it, runs on one folder share by themselves",
    )
    run.add_argument("--quiet", action="store_true", help="say only what failed, and at the end what came out")
    run.add_argument("--allow-missing", action="store_true", help="go on without the cells whose data are absent")

    plan = _command(commands, "plan", "show a suite's jobs, their state and the time they take", "plan suite.yaml")
    _suite_arguments(plan)
    plan.add_argument("--format", choices=("text", "json"), default="text")
    _jobs_arguments(plan)
    plan.add_argument("--on", metavar="NAME", help="the time of pretraining on a measured device, such as cpu_2cores")
    plan.add_argument(
        "--all", dest="every", action="store_true", help="a line for every job, also where there are more than 40"
    )

    what = "try settings of an embedding or recipe, and confirm the best with other seeds"
    sweep = _command(commands, "sweep", what, "sweep tau --trials 10")
    sweep.set_defaults(quiet=False)
    sweep.add_argument("name", metavar="NAME", help="such as tau, L, V, LV, recipe; `list sweeps` says more")
    sweep.add_argument("--suite", metavar="SUITE", type=_path, help="the suite to start from (default: the sweep's)")
    sweep.add_argument("--trials", metavar="N", type=_count, help="finished trials of each method in all")
    sweep.add_argument("--methods", metavar="M", nargs="+", action="extend", help="of the suite (default: the sweep's)")
    sweep.add_argument(
        "--storage", metavar="URL", type=_url, help="a database for the trials (default: a file in the results)"
    )
    sweep.add_argument(
        "--timeout", metavar="SECONDS", type=_positive, help="begin no trial after so long; one that runs is finished"
    )
    sweep.add_argument("--export", metavar="FILE", type=_path, help="write a suite with the chosen values")
    _common_arguments(sweep)
    _machine_arguments(sweep)

    table = _command(commands, "table", "print the tables of a results folder", "table results --summary")
    table.add_argument("results", metavar="DIR", type=_path, help="a results folder or record")
    part = table.add_mutually_exclusive_group()
    part.add_argument("--table", metavar="NAME", help="this table whole; all: every one")
    part.add_argument(
        "--summary", action="store_true", help="only what came out, in sentences; also with --format json"
    )
    which = table.add_mutually_exclusive_group()
    which.add_argument("--suite", metavar="NAME", help="of this suite (default: the last one run)")
    which.add_argument("--all", action="store_true", help="of all suites")
    table.add_argument("--notes", action="store_true", help="with intervals, spreads and all notes")
    table.add_argument("--format", choices=formats.names(), default="compact", help="default: compact, for a terminal")
    table.add_argument("--out", metavar="DIR", type=_path, help="write the tables there instead of printing them")

    what = "write a suite's results as one HTML page"
    report = _command(commands, "report", what, "report results --out report.html")
    report.add_argument("results", metavar="DIR", type=_path, help="a results folder or record")
    report.add_argument("--suite", metavar="NAME", help="of this suite (default: the last one run)")
    report.add_argument("--out", metavar="FILE", type=_path, help="default: DIR/tables/SUITE.html; a record needs it")
    _data_argument(report)

    what = "keep the results behind a suite's tables in one file"
    keep = _command(commands, "record", what, "record results docs/records/mine")
    keep.add_argument("results", metavar="DIR", type=_path, help="a results folder or record")
    what = "the file to write, such as docs/records/NAME (.tar.xz is added); what it holds already is kept"
    keep.add_argument("into", metavar="INTO", type=_path, help=what)
    which = keep.add_mutually_exclusive_group()
    which.add_argument("--suite", metavar="NAME", help="this suite (default: the last one run)")
    which.add_argument("--all", action="store_true", help="all suites")

    what = "write a trained encoder with a model card, for use elsewhere"
    export = _command(commands, "export", what, "export results --arm byol/sem encoders/byol_sem")
    export.add_argument("results", metavar="DIR", type=_path, help="a results folder")
    export.add_argument("folder", metavar="OUT", type=_path, help="the folder to write, such as encoders/NAME")
    export.add_argument("--arm", metavar="ARM", help="METHOD/EMBEDDING, such as byol/sem")
    export.add_argument("--seed", metavar="N", type=_seed, help="default: the suite's first")
    export.add_argument("--suite", metavar="NAME", help="of this suite (default: the last one run)")

    verify = _command(commands, "verify", "check a results folder or record for damage", "verify results --repair")
    verify.add_argument("results", metavar="DIR", type=_path, help="a results folder or record")
    verify.add_argument("--of", metavar="SUITE", type=_path, help="hold its results against the data, too")
    verify.add_argument(
        "--repair", action="store_true", help="set aside what cannot be believed, so that `run` makes it anew"
    )
    verify.add_argument("--prune", action="store_true", help="say what caches and orphans take; with --yes free it")
    verify.add_argument("--yes", action="store_true", help="with --prune: delete them")
    _data_argument(verify)

    what = "write a first card of a data set from what lies in a folder, table or file"
    card = _command(commands, "card", what, "card data/birds")
    card.add_argument(
        "path", metavar="PATH", type=_path, help="a folder of images, a .csv or .tsv, a .npz, or an archive"
    )
    card.add_argument("--name", metavar="NAME", help="of the card (default: that of PATH)")
    card.add_argument("--size", metavar="PX", type=_count, help="what a network sees (default: from the images)")
    _data_argument(card)

    listing = _command(commands, "list", "list what a suite can name", "list methods byol")
    listing.set_defaults(command="listing")
    listing.add_argument("what", metavar="KIND", choices=LISTS, help=f"which list: {', '.join(LISTS)}")
    listing.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="one of it: its file, settings and source; of keys: suite, dataset, method, ...",
    )

    what = "check versions, devices, disk space, and a suite's methods and data"
    doctor = _command(commands, "doctor", what, "doctor suite.yaml")
    doctor.add_argument("suite", metavar="SUITE", type=_path, nargs="?", help="whose methods and data to try")
    _common_arguments(doctor)
    return parser


def _command(commands: Any, name: str, what: str, example: str) -> argparse.ArgumentParser:
    """The parser of a command, whose module has its name."""
    described = f"{what[0].upper()}{what[1:]}."
    parser = commands.add_parser(
        name, help=what, description=described, epilog=f"example: python -m sem_bench {example}"
    )
    parser.set_defaults(command=name)
    return cast(argparse.ArgumentParser, parser)


def _suite_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", metavar="SUITE", type=_path, help="a YAML file, such as suite.yaml")
    _common_arguments(parser)


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of pretraining; auto (default): bf16 where the hardware multiplies it faster than fp32",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let torch compile the backbone in trainings of 5,000 steps or more: a minute more at the start",
    )
    parser.add_argument(
        "--patience",
        metavar="MINUTES",
        type=_minutes,
        default=DAY,
        help="end a job, as failed, whose code gives no sign of life for so long (a step, a part of the images, a pass "
        "of a solver); from ten minutes on a line says that it gives none; default: a day",
    )
    parser.add_argument(
        "--executor",
        choices=("processes", "ray"),
        default="processes",
        help="processes (default): of this machine; ray: tasks of a Ray cluster, a job each",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="with --executor ray: of a running cluster, such as 10.0.0.1:6379 or auto; default: $RAY_ADDRESS, else a "
        "cluster of this machine alone, while the run lasts",
    )
    parser.add_argument(
        "--memory",
        metavar="GIB",
        type=_positive,
        default=2.0,
        help="images of a split that stay in memory; larger data are read while they are used; default: 2",
    )
    parser.add_argument(
        "--log",
        metavar="NAME",
        nargs="+",
        action="extend",
        choices=loggers.NAMES,
        default=[],
        help="show the curves of pretrainings there, too: tensorboard, wandb, mlflow (DIR/logs)",
    )
    _jobs_arguments(parser)
    parser.add_argument(
        "--workers", metavar="N", type=_count, help="threads that read images, of a job; default: the cores"
    )


def _jobs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        help="jobs at a time, each in a process with its share of the cores; default: what suits machine or cluster",
    )
    parser.add_argument(
        "--jobs-per-device", metavar="N", type=_count, default=1, help="of small jobs on a GPU at a time; default: 1"
    )
    parser.add_argument(
        "--devices",
        metavar="K",
        type=_count,
        default=1,
        help="of a pretraining, a process each, with the numbers of one; default: 1",
    )


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    _data_argument(parser)
    parser.add_argument("--results", metavar="DIR", type=_path, default=Path("results"), help="default: results")
    parser.add_argument(
        "--set",
        metavar="KEY=YAML",
        dest="assignments",
        action="append",
        default=[],
        help="set a value of the suite, such as pretrain.epochs=5; may be given again",
    )


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=_path,
        default=Path(os.environ.get("SEM_BENCH_DATA") or "data"),
        help="where the cards' paths start; default: $SEM_BENCH_DATA, else data",
    )


def _path(text: str) -> Path:
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"no path holds a NUL byte, found {text!r}")
    return Path(text)


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text, which every name contains")
    return text


def _url(text: str) -> str:
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"no URL holds such characters, found {text!a}")
    return text


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"must be a number above 0, found {text!r}")


def _minutes(text: str) -> float:
    if (value := _positive(text)) > YEAR:
        raise argparse.ArgumentTypeError(f"must be a year at the most, {YEAR:.0f}, found {text!r}")
    return value


def _seed(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) >= 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a whole number, found {text!r}")


def _share(text: str) -> tuple[int, int]:
    with suppress(ValueError):
        number, count = map(int, text.split("/"))
        if 1 <= number <= count:
            return number, count
    raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/4, found {text!r}")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a whole number above 0, found {text!r}")


class _Parser(argparse.ArgumentParser):
    """Mistakes on the command line print as one line, like all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")
