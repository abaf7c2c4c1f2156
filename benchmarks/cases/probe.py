"""The probe: its solver beside scikit-learn's on 2,048 numbers, whether a sketch chooses as all numbers do, and a
whole search on SEM of the paper's width.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.paired import Case, Contestant, Options, Role
from sem_bench.evaluations.measures import logistic, selection
from sem_bench.evaluations.probe import ProbeSettings
from sem_bench.nets.embeddings.sem import SimplicialEmbedding

L2 = [1e-2, 5e-4, 3e-5, 2e-6, 1e-7]  # from strong to weak
TAU = [0.1, 0.3, 1.0, 3.0, 10.0]
SKETCHED = ProbeSettings().sketch
APART, OVERLAPPING = 1.5, 7.0  # noise with which all and about half of the images are recognised


def clusters(rows: int, *, classes: int, width: int, noise: float = APART) -> tuple[Tensor, Tensor]:
    """Features (n, width) that overlap between classes, as those of a network do: not negative, a falling spectrum."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (rows,), generator=draw)
    centres = torch.randn(classes, width, generator=draw)
    spectrum = torch.arange(1, width + 1) ** -0.5
    mixing = torch.linalg.qr(torch.randn(width, width, generator=draw)).Q
    beside = torch.randn(rows, width, generator=draw)
    return (((centres[labels] + noise * beside) * spectrum) @ mixing).relu(), labels


def embedding(width: int, L: int, V: int, device: torch.device) -> Callable[[Tensor, float], Tensor]:
    """A random SEM layer in eval mode, its BatchNorm at what a batch of features gave: (n, width), tau -> (n, L*V)."""
    torch.manual_seed(0)
    layer = SimplicialEmbedding(width, L=L, V=V, tau=1.0).to(device)
    with torch.no_grad():
        for _ in range(10):
            layer(clusters(1024, classes=100, width=width)[0].to(device))
    layer.eval()
    return lambda h, tau: layer(h, tau).detach()


def search(
    h: Tensor,
    labels: Tensor,
    of: Callable[[Tensor, float], Tensor],
    *,
    classes: int,
    sketched: int | None = SKETCHED,
) -> selection.Choice:
    """All candidates and the refit, as the probe stage does it: the only place that knows how it is called."""
    keyed: list[tuple[float | None, Callable[[selection.Rows], Tensor]]] = []
    for tau in TAU:
        size = _size(of(h[:1024], tau))

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
        sketched=sketched,
    )


def _size(x: Tensor) -> Tensor:
    """What features are multiplied with, so that their root mean square norm is 1."""
    return x.square().sum(1).mean().rsqrt()


def cases(options: Options) -> Iterator[Case]:
    """The solver for a grid of penalties, the choice on a sketch at three widths, the search at 65,000 numbers."""
    for what, noise in (("apart", APART), ("overlapping", OVERLAPPING)):
        if options.wants(name := f"{len(L2)} penalties, classes that are {what}"):
            yield _solver(name, noise, options)
    for L in (20,) if options.quick else (350, 700, 1000):
        if options.wants(name := f"choice among {len(TAU)} tau_d x {len(L2)} l2, SEM of {L * 13:,} numbers"):
            yield _choice(name, L, options)
    if options.wants("search"):
        yield _wide(options)


def _solver(name: str, noise: float, options: Options) -> Case:
    rows, width, classes = (300, 64, 5) if options.quick else (5000, 2048, 20)
    x, y = clusters(rows, classes=classes, width=width, noise=noise)
    x = x * _size(x)
    heads: dict[str, list[float]] = {}
    placed, truth = x.to(options.device), y.to(options.device)

    def ours(tolerance: float, who: str) -> None:
        found = logistic.fit(placed, truth, classes=classes, l2=L2, tolerance=tolerance)
        heads[who] = [_objective(x, y, head.weight, head.bias, l2) for head, l2 in zip(found.heads, L2, strict=True)]

    def theirs(tolerance: float, who: str) -> None:
        model = LogisticRegression(tol=tolerance, max_iter=10000, warm_start=True)
        heads[who] = []
        for l2 in L2:
            model.set_params(C=1 / (rows * l2)).fit(x.numpy(), y.numpy())
            weight, bias = (torch.from_numpy(np.asarray(a)).float() for a in (model.coef_, model.intercept_))
            heads[who].append(_objective(x, y, weight, bias, l2))

    def contestant(fit: Callable[[float, str], None], tolerance: float, name: str, role: Role) -> Contestant:
        who = f"{name}, tol {tolerance:g}"
        return Contestant(who, partial(fit, tolerance, who), role, note=partial(_excess, heads, who))

    peer = "scikit-learn's lbfgs, warm starts"
    contestants = [
        contestant(ours, selection.ROUGH, "ours, as candidates", "ours"),
        contestant(ours, selection.EXACT, "ours, as the chosen head", "ours"),
        contestant(theirs, 1e-4, peer, "other"),  # its default
        contestant(theirs, 1e-6, peer, "peer"),  # its objectives lie about as near to the best as those of candidates
    ]
    return Case(f"{name}, {rows:,} x {width:,}", contestants, repeats=min(3, options.repeats))


def _objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, l2: float) -> float:
    weight, bias = weight.double().cpu(), bias.double().cpu()
    return float(cross_entropy(x.double() @ weight.T + bias, y) + l2 / 2 * weight.square().sum())


def _excess(heads: dict[str, list[float]], who: str) -> str:
    """How far its objectives lie above the best that any of them reached, at the most."""
    best = [min(values) for values in zip(*heads.values(), strict=True)]
    worst = max(own / least - 1 for own, least in zip(heads[who], best, strict=True))
    return f"objective at most {worst:.1e} above the best"


def _choice(name: str, L: int, options: Options) -> Case:
    """Candidates judged on all numbers and on the sketch; test rows that neither saw."""
    rows, classes = (300, 3) if options.quick else (10000, 20)
    h, labels = (x.to(options.device) for x in clusters(rows * 7 // 5, classes=classes, width=512, noise=OVERLAPPING))
    of = embedding(512, L, 13, options.device)
    said: dict[str, str] = {}

    def work(who: str, sketched: int | None) -> None:
        found = search(h[:rows], labels[:rows], of, classes=classes, sketched=sketched)
        assert found.key is not None
        size = _size(of(h[:1024], found.key))
        right = [
            (found.head.predict(of(x, found.key) * size).argmax(1) == y).sum()
            for x, y in zip(h[rows:].split(1024), labels[rows:].split(1024), strict=True)
        ]
        validated, tested = 100 * (found.accuracy or 0), 100 * float(sum(right)) / (len(h) - rows)
        said[who] = f"tau_d {found.key:g}, l2 {found.l2:g}, validation {validated:.2f} %, test {tested:.2f} %"

    def contestant(who: str, role: Role, sketched: int | None) -> Contestant:
        return Contestant(who, partial(work, who, sketched), role, note=partial(said.__getitem__, who))

    contestants = [
        contestant(f"ours, on {SKETCHED:,} axes", "ours", SKETCHED),
        contestant("ours, on all numbers", "other", None),
    ]
    return Case(name, contestants, repeats=1, warm_up=False)


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
