"""k nearest neighbours on SEM of the paper's width, L x V = 65,000: made block by block, beside the product alone."""

from collections.abc import Iterator

from benchmarks.cases.probe import clusters, embedding
from benchmarks.paired import Case, Contestant, Options
from sem_bench.evaluations.measures.neighbours import predict


def cases(options: Options) -> Iterator[Case]:
    """A part of a data set, whose representation fits into memory, as the floor needs it there; then CIFAR's size."""
    sizes = [(256, 64)] if options.quick else [(4096, 1024), (50000, 10000)]
    for train, test in sizes:
        if options.wants(name := f"{train:,} x {test:,} images"):
            yield _case(name, train, test, options, whole=(train, test) == sizes[0])


def _case(name: str, train: int, test: int, options: Options, *, whole: bool) -> Case:
    L, V = (50, 13) if options.quick else (5000, 13)
    h, labels = (found.to(options.device) for found in clusters(train + test, classes=100, width=512))
    of = embedding(512, L, V, options.device)
    voters, asked = h[:train], h[train:]

    def ours() -> None:
        predict(voters, labels[:train], asked, classes=100, k=20, temperature=0.1, of=lambda part: of(part, 1.0))

    contestants = [Contestant("ours, by blocks", ours, "ours")]
    if whole:
        one, other = of(voters, 1.0), of(asked, 1.0)

        def product() -> None:
            other @ one.T

        contestants.append(Contestant("the product alone, float32", product, "floor"))
    return Case(name, contestants, images=test, repeats=None if whole else 1, warm_up=whole)
