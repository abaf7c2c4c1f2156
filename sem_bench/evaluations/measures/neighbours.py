"""Weighted k nearest neighbours on frozen features: cosine similarity, votes exp(similarity / temperature).

The protocol of Wu et al. (2018, section 3.4) that self-supervised papers use.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from sem_bench.base.alive import alive
from sem_bench.base.device import precision, rough_products
from sem_bench.base.limits import CHUNK, FLOAT
from sem_bench.evaluations.measures.memory_sizes import NEIGHBOURS

ENTRIES = 2**23  # similarities at a time: 32 MB
WIDE = NEIGHBOURS // FLOAT  # numbers of the queries' representation at a time
ROUGH = 3  # times as many in bfloat16, as nothing else of their size is in memory
PARTS = 8  # the rows that vote come in parts so many times smaller, where all are more than that
SLICE = 8192  # numbers whose products bfloat16 sums up; wider representations are sums of such
Transform = Callable[[Tensor], Tensor]
"""From features (n, d) as they are kept to the representation (n, width) that is compared."""


@torch.no_grad()
def predict(
    train: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    classes: int,
    k: int,
    temperature: float,
    of: Transform = Tensor.float,
) -> Tensor:
    """The class (m,) of each query (m, d), by the votes of its k nearest of train (n, d) with labels (n,).

    What is compared is `of` the features; where that is wide it is computed part by part. A k above n means n.
    Ties are decided: between neighbours by the lower row, between classes by the lower class. A zero vector has
    similarity 0 to everything. ValueError for features that are not finite.
    """
    if k < 1 or not 0 < temperature < float("inf") or not len(train):
        raise ValueError(f"k >= 1, 0 < temperature and rows to vote expected, not {k}, {temperature}, {len(train)}")
    for name, x in (("train", train), ("queries", queries)):
        if not all(torch.isfinite(part).all() for part in x.split(ENTRIES // x.shape[1])):
            raise ValueError(f"features must be finite, but some of {name} are not")
    width = of(train[:1]).shape[1]
    k, rows = min(k, len(train)), max(1, WIDE // width)
    mean, whole = None, None
    if len(train) <= rows:
        whole = _rows(train, of, None)
    elif width > SLICE and train.device.type == "cpu" and precision(train.device) == "bf16":
        mean = normalize(of(train[:CHUNK])).mean(0)
    predicted = []
    for part in queries.split(rows if mean is None else ROUGH * rows):
        asked = _rows(part, of, mean)
        if whole is not None:
            values, nearest = _among(asked, whole, k)
        else:
            values, nearest = _among_parts(asked, train, of, mean, max(1, rows // PARTS), k)
        # Relative to the nearest, so that low temperatures do not overflow.
        weights = ((values - values.amax(1, keepdim=True)) / temperature).exp()
        size = max(1, ENTRIES // (k * classes))
        for voters, votes in zip(nearest.split(size), weights.split(size), strict=True):
            chosen = one_hot(labels[voters], classes).float()  # a product, as scattering on a GPU has no fixed order
            predicted.append((votes[:, None] @ chosen)[:, 0].argmax(1))
    return torch.cat(predicted) if predicted else labels.new_zeros(0)


@torch.no_grad()
def centred(of: Transform, train: Tensor) -> Transform:
    """`of` without its mean over train (n, d): similarities then do not hang on what all images share."""
    sums = (of(part).sum(0, dtype=torch.float64) for part in train.split(CHUNK))
    mean = (sum(sums, start=torch.zeros((), device=train.device)) / len(train)).float()
    return lambda h: of(h) - mean


class _Rows(NamedTuple):
    """Normalised representations: as they are, or without a vector m and in bfloat16."""

    x: Tensor  # (n, width)
    along: Tensor | None = None  # (n,): x . m - m . m / 2 of the representations themselves

    def part(self, rows: slice) -> "_Rows":
        """Some of them."""
        return _Rows(self.x[rows], None if self.along is None else self.along[rows])

    def similarity(self, other: "_Rows") -> Tensor:
        """Their products (n, other n). (x - m) . (y - m) is small where all are alike, and so is its rounding."""
        if self.along is None or other.along is None:
            return self.x @ other.x.T
        found = self.along[:, None] + other.along
        for one, two in zip(self.x.split(SLICE, 1), other.x.split(SLICE, 1), strict=True):
            found += one @ two.T
        return found


def _rows(h: Tensor, of: Transform, mean: Tensor | None) -> _Rows:
    """The rows of features h (n, d); in bfloat16 without `mean` (width,), which is made for some rows at a time."""
    if mean is None:
        return _Rows(normalize(of(h)))
    x = torch.empty(len(h), len(mean), dtype=torch.bfloat16, device=h.device)
    along = torch.empty(len(h), device=h.device)
    for first in range(0, len(h), CHUNK):
        wide = normalize(of(h[first : first + CHUNK]))
        along[first : first + CHUNK] = wide @ mean - mean @ mean / 2
        x[first : first + CHUNK] = wide.sub_(mean)
    return _Rows(x, along)


def _among(queries: _Rows, train: _Rows, k: int) -> tuple[Tensor, Tensor]:
    """The k largest similarities (m, k), and the rows of train that have them."""
    found, size = [], max(1, ENTRIES // len(train.x))
    for first in range(0, max(1, len(queries.x)), size):
        similarity = queries.part(slice(first, first + size)).similarity(train)
        nearest = _nearest(similarity, k)
        found.append((similarity.gather(1, nearest), nearest))
    values, rows = zip(*found, strict=True)
    return torch.cat(values), torch.cat(rows)


def _among_parts(
    queries: _Rows, train: Tensor, of: Transform, mean: Tensor | None, rows: int, k: int
) -> tuple[Tensor, Tensor]:
    """As `_among`, where the representation of all of train does not fit into memory: `rows` at a time."""
    count, device = len(queries.x), queries.x.device
    values = torch.empty(count, 0, device=device)
    nearest = torch.empty(count, 0, dtype=torch.long, device=device)
    for first in range(0, len(train), rows):
        alive()
        part = _rows(train[first : first + rows], of, mean)
        with rough_products(device):  # an error of 1e-5 of a similarity
            found, at = _among(queries, part, min(k, len(part.x)))
        order = at.argsort(1)  # by row, as those before them are: then the first of equal ones is the lowest row
        values, nearest = (
            torch.cat([values, found.gather(1, order)], 1),
            torch.cat([nearest, first + at.gather(1, order)], 1),
        )
        kept = _nearest(values, min(k, values.shape[1])).sort(1).values
        values, nearest = values.gather(1, kept), nearest.gather(1, kept)
    return values, nearest


def _nearest(similarity: Tensor, k: int) -> Tensor:
    """Columns (m, k) of the k largest in each row; of equal ones at the border the first, which topk leaves open."""
    values, nearest = similarity.topk(k)
    border = values[:, -1:]
    tied = ((similarity >= border).sum(1) > k).nonzero()[:, 0]
    for row in tied.split(256):
        above, equal = similarity[row] > border[row], similarity[row] == border[row]
        wanted = k - above.sum(1, keepdim=True)
        nearest[row] = (above | (equal & (equal.cumsum(1) <= wanted))).nonzero()[:, 1].view(-1, k)
    return nearest
