"""SEM's softmax beside torch's over the last axis, at the paper's size: 256 images, L = 5,000, V = 13."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.paired import Case, Contestant, Options
from sem_bench.nets.embeddings.sem import simplex_softmax

TAU = 0.5


def cases(options: Options) -> Iterator[Case]:
    """Forward, and forward with backward. The floor reads and writes the same numbers once a pass."""
    batch, L, V = (8, 100, 13) if options.quick else (256, 5000, 13)
    z = torch.randn(batch, V * L, device=options.device)
    slope, out = torch.randn_like(z), torch.empty_like(z)

    def ours(z: Tensor) -> Tensor:
        return simplex_softmax(z, L=L, V=V, tau=TAU)

    def last_axis(z: Tensor) -> Tensor:
        return torch.softmax(z.view(batch, L, V) / TAU, -1).view(batch, -1)

    def forward(softmax: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        return lambda: _run(lambda: softmax(z))

    def both(softmax: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def work() -> None:
            leaf = z.detach().requires_grad_()
            softmax(leaf).backward(slope)

        return work

    def copies() -> None:
        torch.add(z, 1, out=out)
        torch.mul(out, slope, out=out)

    passes: list[tuple[str, Callable[[Callable[[Tensor], Tensor]], Callable[[], None]], Callable[[], None]]]
    passes = [
        ("forward", forward, lambda: _run(lambda: torch.add(z, 1, out=out))),
        ("forward and backward", both, copies),
    ]
    for name, way, floor in passes:
        contestants = [
            Contestant("ours", way(ours), "ours"),
            Contestant("torch.softmax, last axis", way(last_axis), "peer"),
            Contestant("one elementwise operation a pass", floor, "floor"),
        ]
        yield Case(f"{name}, ({batch}, {L}, {V})", contestants, images=batch)


def _run(work: Callable[[], object]) -> None:
    with torch.no_grad():
        work()
