"""A fixed share of a plan for each of several runs that do not look at each other."""

from collections.abc import Sequence

from sem_bench.runs.estimate import work
from sem_bench.runs.job import Job


def shard(jobs: Sequence[Job], number: int, count: int) -> list[Job]:
    """The jobs of share `number` of 1 to `count`: whole families of jobs that build on each other, long ones first.

    It follows from the plan alone, so every machine finds the same shares.
    """
    families = _families(jobs)
    seconds = {family: sum(map(work, members)) for family, members in families.items()}
    loads = [0.0] * count
    mine: set[str] = set()
    for family in sorted(families, key=lambda name: (-seconds[name], name)):
        least = loads.index(min(loads))
        loads[least] += seconds[family]
        if least == number - 1:
            mine.update(job.digest for job in families[family])
    return [job for job in jobs if job.digest in mine]


def _families(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Jobs that share an input, directly or not, by the digest of the first."""
    family: dict[str, str] = {}
    members: dict[str, list[Job]] = {}
    for job in jobs:  # inputs first
        known = sorted({family[digest] for digest in job.inputs.values() if digest in family})
        name = known[0] if known else job.digest
        members.setdefault(name, [])
        for other in known[1:]:
            members[name] += members.pop(other)
        members[name].append(job)
        for one in members[name] if len(known) > 1 else [job]:
            family[one.digest] = name
    return members
