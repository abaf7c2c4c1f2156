"""The probe: its solver beside scikit-learn's on 2,048 numbers, and a whole search on SEM of the paper's width."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.paired import Case, Contestant, Options
from sem_bench.evaluations.measures import logistic, selection
from sem_bench.evaluations.probe import ProbeSettings
from sem_bench.nets.embeddings.sem import SimplicialEmbedding

L2 = [1e-2, 5e-4, 3e-5, 2e-6, 1e-7]  # the default grid, from strong to weak
TAU = [0.1, 0.3, 1.0, 3.0, 10.0]


def clusters(rows: int, *, classes: int, width: int) -> tuple[Tensor, Tensor]:
    """Features (n, width) that overlap between classes, as those of a network do: not negative, a falling spectrum."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (rows,), generator=draw)
    centres = torch.randn(classes, width, generator=draw)
    spectrum = torch.arange(1, width + 1) ** -0.5
    mixing = torch.linalg.qr(torch.randn(width, width, generator=draw)).Q
    noise = torch.randn(rows, width, generator=draw)
    return (((centres[labels] + 1.5 * noise) * spectrum) @ mixing).relu(), labels


def embedding(width: int, L: int, V: int, device: torch.device) -> Callable[[Tensor, float], Tensor]:
    """A random SEM layer in eval mode, its BatchNorm at what a batch of features gave: (n, width), tau -> (n, L*V)."""
    torch.manual_seed(0)
    layer = SimplicialEmbedding(width, L=L, V=V, tau=1.0).to(device)
    with torch.no_grad():
        for _ in range(10):
            layer(clusters(1024, classes=100, width=width)[0].to(device))
    layer.eval()
    return lambda h, tau: layer(h, tau).detach()


def search(h: Tensor, labels: Tensor, of: Callable[[Tensor, float], Tensor], *, classes: int) -> selection.Choice:
    """All candidates and the refit, as the probe stage does it: the only place that knows how it is called."""
    keyed: list[tuple[float | None, Callable[[selection.Rows], Tensor]]] = []
    for tau in TAU:
        size = of(h[:1024], tau).square().sum(1).mean().rsqrt()

        def read(rows: selection.Rows, tau: float = tau, size: Tensor = size) -> Tensor:
            return of(h[torch.from_numpy(rows).to(h.device)], tau) * size

        keyed.append((tau, read))
    known, rows = labels.numpy(), np.arange(len(h))
    return selection.select(
        keyed,
        lambda at: known[at],
        rows,
        classes=classes,
        l2=sorted(L2),
        validation="holdout",
        seed=0,
        sketched=ProbeSettings().sketch,
    )


def cases(options: Options) -> Iterator[Case]:
    """The solver for a grid of penalties, then the search at 65,000 numbers."""
    if options.wants("penalties"):
        yield _solver(options)
    if options.wants("search"):
        yield _wide(options)


def _solver(options: Options) -> Case:
    rows, width, classes = (300, 64, 5) if options.quick else (5000, 2048, 20)
    x, y = clusters(rows, classes=classes, width=width)
    x = x / x.square().sum(1).mean().sqrt()
    heads: dict[str, list[float]] = {}
    placed, truth = x.to(options.device), y.to(options.device)

    def ours() -> None:
        found = logistic.fit(placed, truth, classes=classes, l2=L2)
        heads["ours"] = [_objective(x, y, head.weight, head.bias, l2) for head, l2 in zip(found.heads, L2, strict=True)]

    def theirs(tolerance: float, who: str) -> Callable[[], None]:
        def work() -> None:
            model = LogisticRegression(tol=tolerance, max_iter=10000, warm_start=True)
            heads[who] = []
            for l2 in L2:
                model.set_params(C=1 / (rows * l2)).fit(x.numpy(), y.numpy())
                weight, bias = (torch.from_numpy(np.asarray(a)).float() for a in (model.coef_, model.intercept_))
                heads[who].append(_objective(x, y, weight, bias, l2))

        return work

    contestants = [Contestant("ours", ours, "ours", note=lambda: _excess(heads, "ours"))]
    for tolerance in (1e-4, 1e-6):  # its default, and about as near to the optimum as ours
        who = f"scikit-learn's lbfgs, warm starts, tol {tolerance:g}"
        role: Any = "peer" if tolerance == 1e-6 else "other"
        contestants.append(
            Contestant(who, theirs(tolerance, who), role, note=lambda who=who: _excess(heads, who))  # type: ignore[misc]
        )
    return Case(
        f"{len(L2)} penalties, {rows:,} x {width:,}, {classes} classes", contestants, repeats=min(3, options.repeats)
    )


def _objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, l2: float) -> float:
    weight, bias = weight.double().cpu(), bias.double().cpu()
    return float(cross_entropy(x.double() @ weight.T + bias, y) + l2 / 2 * weight.square().sum())


def _excess(heads: dict[str, list[float]], who: str) -> str:
    """How far its objectives lie above the best that any of them reached, at the most."""
    best = [min(values) for values in zip(*heads.values(), strict=True)]
    worst = max(own / least - 1 for own, least in zip(heads[who], best, strict=True))
    return f"objective at most {worst:.1e} above the best"


def _wide(options: Options) -> Case:
    rows, classes, L, V = (1100, 5, 20, 13) if options.quick else (50000, 100, 5000, 13)
    h, labels = clusters(rows, classes=classes, width=512)
    of, h = embedding(512, L, V, options.device), h.to(options.device)
    said: list[str] = []

    def ours() -> None:
        found = search(h, labels, of, classes=classes)
        said[:] = [f"tau_d {found.key:g}, l2 {found.l2:g}, validation {100 * (found.accuracy or 0):.2f} %"]

    contestants = [Contestant("ours", ours, "ours", note=lambda: said[0])]
    name = f"search of {len(TAU)} tau_d x {len(L2)} l2, {rows:,} x {L * V:,}, {classes} classes"
    return Case(name, contestants, images=rows, repeats=1, warm_up=False)
