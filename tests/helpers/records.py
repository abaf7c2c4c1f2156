"""The records of the docs."""

from sem_bench.runs.record_file import ENDING
from tests.helpers.places import REPOSITORY

PLACE = REPOSITORY / "docs/records"
RECORDS = sorted(path for path in PLACE.iterdir() if path.suffix != ".md")


def names() -> list[str]:
    """What they are called."""
    return [path.name.removesuffix(ENDING) for path in RECORDS]
