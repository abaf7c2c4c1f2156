"""`export`: write a trained encoder with a model card, for use elsewhere."""

import argparse

from sem_bench.trained.export import export


def command(options: argparse.Namespace) -> int:
    """Write the files and print their paths; returns the exit code."""
    chosen = {"arm": options.arm, "seed": options.seed, "suite": options.suite}
    for path in export(options.results, options.folder, **chosen):
        print(path)  # noqa: T201
    return 0
