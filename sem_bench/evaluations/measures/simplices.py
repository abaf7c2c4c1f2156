"""Statistics of simplices over many images, in one pass: how far from one-hot and from uniform they are."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

ENTRIES = 2**20  # logits at a time: larger temporary results cost more time than they save
EDGE = 1e-5  # of a bin: 8 equal probabilities of 16 lie on an edge, and rounding must not choose their bin


@dataclass(frozen=True)
class Simplices:
    """Entropies are in nats; normalised ones are divided by log V, so 0 is one-hot and 1 is uniform."""

    images: int
    entropy: float  # mean over images and simplices
    entropy_std: float  # over images and simplices
    normalised: float  # entropy / log V
    normalised_min: float  # smallest mean over the images of one simplex
    normalised_max: float  # largest
    largest_probability: float  # mean over images and simplices
    dead: float  # share of the simplices whose largest probability is the same one for all images
    histogram: list[int]  # of normalised entropies in equal bins over [0, 1]; the last bin holds 1


@torch.no_grad()
def measure(
    chunks: Iterable[Tensor], *, tau: float, bins: int, log_probabilities: Callable[[Tensor, float], Tensor]
) -> Simplices:
    """The statistics at temperature tau of logits that come in chunks (n, V, L), the modules' own order.

    `log_probabilities` is that of their embedding, which keeps the order of the V numbers. A few numbers are kept for
    each simplex and none for each image. ValueError for V < 2, chunks that differ in V or L, no images, and logits
    that are not finite or overflow when divided by tau.
    """
    if not 0 < tau < float("inf") or bins < 1:
        raise ValueError(f"0 < tau and at least 1 bin expected, not {tau}, {bins}")
    total: _Total | None = None
    for z in chunks:
        if not len(z):
            continue
        if total is None:
            total = _Total(z, tau, bins, log_probabilities)
        total.add(z)
    if total is None:
        raise ValueError("no images")
    return total.result()


class _Total:
    """Sums so far, started with the first images z (n, V, L), which are not yet in them."""

    def __init__(self, z: Tensor, tau: float, bins: int, logs: Callable[[Tensor, float], Tensor]) -> None:
        if z.ndim != 3 or z.shape[1] < 2 or not z.shape[2]:
            raise ValueError(f"logits have the shape (images, V >= 2, L >= 1), not {tuple(z.shape)}")
        self.shape, self.tau, self.bins, self.logs = z.shape[1:], tau, bins, logs
        self.log_V = math.log(z.shape[1])
        self.images, self.squares, self.largest = 0, 0.0, 0.0
        self.entropy = z.new_zeros(z.shape[2], dtype=torch.float64)
        self.histogram = z.new_zeros(bins, dtype=torch.int64)
        self.always_largest = torch.ones_like(z[0], dtype=torch.bool)

    def add(self, z: Tensor) -> None:
        if z.shape[1:] != self.shape:
            raise ValueError(f"chunks of logits differ: {tuple(z.shape[1:])} after {tuple(self.shape)}")
        for part in z.split(max(1, ENTRIES // self.shape.numel())):
            self._add(part)

    def _add(self, z: Tensor) -> None:
        logs = self.logs(z, self.tau)
        entropy = -logs.exp().mul_(logs).sum(1).double().clamp(-self.log_V)
        if not torch.isfinite(entropy).all():
            raise ValueError(f"logits must be finite, also when divided by tau = {self.tau}")
        self.images += len(z)
        self.entropy += entropy.sum(0)
        self.squares += float(entropy.square().sum())
        self.largest += float(logs.amax(1).exp().sum(dtype=torch.float64))
        bin_of = (entropy * (self.bins / self.log_V) + EDGE).long().clamp(max=self.bins - 1)
        self.histogram += torch.bincount(bin_of.flatten(), minlength=self.bins)
        self.always_largest &= (z == z.amax(1, keepdim=True)).all(0)

    def result(self) -> Simplices:
        means = self.entropy / self.images
        mean, count = float(means.mean()), self.images * len(means)
        return Simplices(
            images=self.images,
            entropy=mean,
            entropy_std=math.sqrt(max(self.squares / count - mean**2, 0.0)),
            normalised=mean / self.log_V,
            normalised_min=float(means.min()) / self.log_V,
            normalised_max=float(means.max()) / self.log_V,
            largest_probability=self.largest / count,
            dead=float(self.always_largest.any(0).double().mean()),
            histogram=self.histogram.tolist(),
        )
