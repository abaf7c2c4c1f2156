"""`card`: a first card of a data set, and a small suite that uses it."""

import argparse

from sem_bench.data.first_card import first_card


def command(options: argparse.Namespace) -> int:
    """Write both, and say what is left to say."""
    lines = first_card(options.path, name=options.name, size=options.size, root=options.data)
    print("\n".join(lines))  # noqa: T201
    return 0
