"""Weighted k nearest neighbours on frozen features: cosine similarity, votes exp(similarity / temperature).

The protocol of Wu et al. (2018, section 3.4) that self-supervised papers use.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

ENTRIES = 2**25  # similarities, or votes of neighbours, at a time: 128 MB


@torch.no_grad()
def predict(train: Tensor, labels: Tensor, queries: Tensor, *, classes: int, k: int, temperature: float) -> Tensor:
    """The class (m,) of each query (m, d), by the votes of its k nearest of train (n, d) with labels (n,).

    A k above n means n. Ties are decided: between neighbours by the lower row, between classes by the lower class. A
    zero vector has similarity 0 to everything. ValueError for features that are not finite.
    """
    if k < 1 or not 0 < temperature < float("inf") or not len(train):
        raise ValueError(f"k >= 1, 0 < temperature and rows to vote expected, not {k}, {temperature}, {len(train)}")
    for name, x in (("train", train), ("queries", queries)):
        if not torch.isfinite(x).all():
            raise ValueError(f"features must be finite, but some of {name} are not")
    k = min(k, len(train))
    train = normalize(train.float())
    votes = one_hot(labels, classes).float()
    predicted = []
    for part in queries.split(max(1, ENTRIES // max(len(train), k * classes))):
        similarity = normalize(part.float()) @ train.T
        nearest = _nearest(similarity, k)
        values = similarity.gather(1, nearest)
        # Relative to the nearest, so that low temperatures do not overflow.
        weights = ((values - values.amax(1, keepdim=True)) / temperature).exp()
        predicted.append((weights[:, None] @ votes[nearest])[:, 0].argmax(1))
    return torch.cat(predicted) if predicted else labels.new_zeros(0)


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
