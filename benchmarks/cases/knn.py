"""k nearest neighbours on SEM of the paper's width, L x V = 65,000: made block by block, beside the product alone."""

from collections.abc import Iterator

import torch

from benchmarks.cases.probe import clusters, embedding
from benchmarks.paired import Case, Contestant, Options
from sem_bench.evaluations.measures.neighbours import predict


def cases(options: Options) -> Iterator[Case]:
    """A part of a data set, whose representation fits into memory, as the floor needs it there; then CIFAR's size."""
    L, V = (50, 13) if options.quick else (5000, 13)
    sizes = [(256, 64)] if options.quick else [(4096, 1024), (50000, 10000)]
    for train, test in sizes:
        h, labels = clusters(train + test, classes=100, width=512)
        h, labels = h.to(options.device), labels.to(options.device)
        of = embedding(512, L, V, options.device)
        asked = h[train:]

        def ours(h: torch.Tensor = h[:train], y: torch.Tensor = labels[:train], q: torch.Tensor = asked) -> None:
            predict(h, y, q, classes=100, k=20, temperature=0.1, of=lambda part: of(part, 1.0))

        contestants = [Contestant("ours, by blocks", ours, "ours")]
        whole = len(sizes) == 1 or train == sizes[0][0]
        if whole:
            one, other = of(h[:train], 1.0), of(asked, 1.0)

            def product(one: torch.Tensor = one, other: torch.Tensor = other) -> None:
                other @ one.T

            contestants.append(Contestant("the product alone, float32", product, "floor"))
        name = f"{train:,} x {test:,} images, {L * V:,} numbers"
        yield Case(name, contestants, images=test, repeats=None if whole else 1, warm_up=whole)
