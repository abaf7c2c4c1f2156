"""The probe: its solver beside scikit-learn's on 2,048 numbers, whether a sketch chooses as all numbers do, and a
whole search on SEM of the paper's width.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.paired import Case, Contestant, Options, Role
from sem_bench.evaluation import FACTORS
from sem_bench.evaluations.measures import logistic, selection
from sem_bench.evaluations.measures.features import Representation
from sem_bench.evaluations.probe import ProbeSettings
from sem_bench.nets.embeddings.sem import SimplicialEmbedding

L2 = [1e-2, 5e-4, 3e-5, 2e-6, 1e-7]  # from strong to weak
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
    factors: Sequence[float] = FACTORS,
    l2: Sequence[float] = ProbeSettings().l2,
) -> tuple[selection.Choice, Callable[[Tensor], Tensor]]:
    """The search of an arm that was pretrained at temperature 1, as the probe does it; and the chosen features of h."""
    known = labels.cpu().numpy()
    chooser = selection.Selection(
        lambda at: known[at], np.arange(len(h)), classes=classes, validation="holdout", seed=0, sketched=sketched
    )

    @cache
    def scaled(tau: float) -> Callable[[Tensor], Tensor]:
        representation = Representation("sem", tau, lambda part: of(part, tau))
        scale = representation.scale(h)
        return lambda part: representation.of(part) * scale

    @cache
    def reader(tau: float) -> selection.FeatureReader:
        return lambda rows: scaled(tau)(h[torch.from_numpy(rows).to(h.device)])

    begin = [(tau, reader(tau)) for tau in factors]
    choice = chooser.choose(begin, l2, preferred=1.0, more=reader)
    assert choice.key is not None
    return choice, scaled(choice.key)


def _chosen(choice: selection.Choice) -> str:
    validated = 100 * (choice.accuracy or 0)
    return f"tau_d {choice.key:g}, l2 {choice.l2:g} of {choice.candidates}, validation {validated:.2f} %"


def _right(head: logistic.Head, features: Callable[[Tensor], Tensor], h: Tensor, labels: Tensor) -> float:
    """Percent of images that a head recognises, 1,024 at a time."""
    parts = zip(h.split(1024), labels.split(1024), strict=True)
    hits = sum(int((head.predict(features(x)).argmax(1) == y.to(x.device)).sum()) for x, y in parts)
    return 100 * hits / len(h)


def cases(options: Options) -> Iterator[Case]:
    """The solver for a grid of penalties, the choice on a sketch at three widths, 65,000 and 120,000 numbers."""
    for what, noise in (("apart", APART), ("overlapping", OVERLAPPING)):
        if options.wants(name := f"{len(L2)} penalties, classes that are {what}"):
            yield _solver(name, noise, options)
    for L in (20,) if options.quick else (1300, 2500, 5000):
        if options.wants(name := f"choice, SEM of {L * 13:,} numbers"):
            yield _choice(name, L, options)
    for L in () if options.quick else (2500, 5000):
        if options.wants(name := f"penalties at tau_d = 1, 20,000 x {L * 13:,}, 100 classes"):
            yield _near(name, 20000, 100, L, 13, options)
    rows, classes, L, V = (1100, 5, 20, 13) if options.quick else (50000, 100, 5000, 13)
    begin = f"{len(FACTORS)} tau_d x {len(ProbeSettings().l2)} l2"
    if options.wants(name := f"search from {begin}, {rows:,} x {L * V:,}, {classes:,} classes"):
        yield _wide(name, rows, classes, L, V, options)
    rows, classes, L, V = (1100, 7, 20, 14) if options.quick else (5000, 1000, 12000, 10)
    if options.wants(name := f"one candidate and its head, {rows:,} x {L * V:,}, {classes:,} classes"):
        yield _wide(name, rows, classes, L, V, options, factors=[1.0], l2=[1e-4])


def _solver(name: str, noise: float, options: Options) -> Case:
    rows, width, classes = (300, 64, 5) if options.quick else (5000, 2048, 20)
    x, y = clusters(rows, classes=classes, width=width, noise=noise)
    x = x * Representation("h", None, Tensor.float).scale(x)
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
    rows, classes = (300, 3) if options.quick else (4500, 20)
    h, labels = (x.to(options.device) for x in clusters(rows * 8 // 3, classes=classes, width=512, noise=OVERLAPPING))
    of = embedding(512, L, 13, options.device)
    said: dict[str, str] = {}

    def work(who: str, sketched: int | None) -> None:
        choice, features = search(h[:rows], labels[:rows], of, classes=classes, sketched=sketched)
        said[who] = f"{_chosen(choice)}, test {_right(choice.head, features, h[rows:], labels[rows:]):.2f} %"

    def contestant(who: str, role: Role, sketched: int | None) -> Contestant:
        return Contestant(who, partial(work, who, sketched), role, note=partial(said.__getitem__, who))

    contestants = [
        contestant(f"ours, on {SKETCHED:,} axes", "ours", SKETCHED),
        contestant("ours, on all numbers", "peer", None),
    ]
    return Case(f"{name}, {rows:,} images", contestants, repeats=1, warm_up=False)


def _near(name: str, rows: int, classes: int, L: int, V: int, options: Options) -> Case:
    """Penalties of one representation judged on the sketch, then on all numbers: the head of each choice on test rows.

    Fits on all numbers start from the sketch here, too, and end at the optimum.
    """
    tests = rows // 2
    h, labels = clusters(rows + tests, classes=classes, width=512, noise=OVERLAPPING)
    of, h = embedding(512, L, V, options.device), h.to(options.device)
    known = labels.numpy()
    chooser = selection.Selection(
        lambda at: known[at], np.arange(rows), classes=classes, validation="holdout", seed=0, sketched=SKETCHED
    )
    scale = Representation("sem", 1.0, lambda part: of(part, 1.0)).scale(h[:rows])

    def features(part: Tensor) -> Tensor:
        return of(part, 1.0) * scale

    def read(at: selection.Rows) -> Tensor:
        return features(h[torch.from_numpy(at).to(h.device)])

    judged: dict[str, dict[float, float]] = {}
    said: dict[str, str] = {}

    def say(who: str) -> None:
        best = max(judged[who], key=lambda l2: (judged[who][l2], l2))
        tested = _right(chooser.final(read, best).heads[0], features, h[rows:], labels[rows:])
        tried = ", ".join(f"{l2:g}: {value:.2f}" for l2, value in judged[who].items())
        said[who] = f"l2 {best:g} of {tried} %, test {tested:.2f} %"

    def sketched(who: str) -> None:
        tried = chooser.choose([(1.0, read)], [1e-6, 3e-6, 1e-5]).tried[1.0]
        judged[who] = {l2: 100 * value for l2, value in tried.items()}
        say(who)

    def exact(who: str) -> None:
        fitted, held = chooser.splits[0]
        judged[who] = {}
        for l2 in judged[names[0]]:
            rough = chooser.sketch(read).at(fitted)
            fit = selection.fit_wide(lambda at: read(fitted[at]), rough, known[fitted], classes, l2)
            judged[who][l2] = _right(fit.heads[0], features, h[torch.from_numpy(held)], labels[held])
        say(who)

    names = [f"ours, on {SKETCHED:,} axes", "ours, on all numbers"]

    def contestant(who: str, work: Callable[[str], None], role: Role) -> Contestant:
        return Contestant(who, partial(work, who), role, note=partial(said.__getitem__, who))

    contestants = [contestant(names[0], sketched, "ours"), contestant(names[1], exact, "peer")]
    return Case(name, contestants, repeats=1, warm_up=False)


def _wide(
    name: str,
    rows: int,
    classes: int,
    L: int,
    V: int,
    options: Options,
    *,
    factors: Sequence[float] = FACTORS,
    l2: Sequence[float] = ProbeSettings().l2,
) -> Case:
    """The search at one width, and the memory that the process takes."""
    h, labels = clusters(rows, classes=classes, width=512, noise=OVERLAPPING)
    of, h = embedding(512, L, V, options.device), h.to(options.device)
    said: list[str] = []

    def ours() -> None:
        chosen = _chosen(search(h, labels, of, classes=classes, factors=factors, l2=l2)[0])
        peak = getrusage(RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
        said[:] = [f"{chosen}, peak memory of the process {peak:.1f} GiB"]

    contestants = [Contestant("ours", ours, "ours", note=lambda: said[0])]
    return Case(name, contestants, images=rows, repeats=1, warm_up=False)
