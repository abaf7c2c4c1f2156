"""What a probe may read on one network: h, its own layer, and layers that were put on after training.

A fresh layer has weights of a stream of its own, which knows the seed, the draw and the layer's two widths, and no
arm: so every network of a seed gets the same ones. BatchNorm of every layer, the trained one too, is settled on the
training features of its network. A layer stands in the place of the encoder's embedding, so the probe reads it as any.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

from torch import Tensor

from sem_bench.base.limits import CHUNK
from sem_bench.base.randomness import initialisation
from sem_bench.embedding import Embedding
from sem_bench.encoder import Encoder
from sem_bench.evaluations.measures import probing
from sem_bench.evaluations.measures.candidates import Contest
from sem_bench.evaluations.measures.features import Features
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.embeddings.linear import LinearEmbedding
from sem_bench.nets.encoder_parts import built_in_embedding
from sem_bench.report.layout import FIXED_TAU
from sem_bench.training.attach_embedding import settle

OWN, FRESH, RELU = "own", "fresh", "relu"


@dataclass(frozen=True)
class Reading:
    """A representation of a network, with the candidates among which its head is chosen."""

    reads: str  # "h", "own", "fresh", "relu"; " z" without the softmax, " searched" with the search of the probe
    found: Features
    contest: Contest
    probe: ProbeJob


def of_network(probe: ProbeJob, found: Features) -> Iterator[Reading]:
    """h, and the trained layer where the network has one."""
    yield from _readings("h", probe, found, found.encoder.embedding, only_h=True)
    if found.encoder.embedding.representation != "h":
        yield from of_layer(OWN, probe, found, settled(deepcopy(found.encoder.embedding), found))


def of_layer(reads: str, probe: ProbeJob, found: Features, layer: Embedding) -> Iterator[Reading]:
    """A layer at the temperature of pretraining, with tau_d searched, and before its nonlinearity; or as it is."""
    yield from _readings(reads, probe, found, layer)
    if layer.temperature is not None:
        yield from without_temperature(f"{reads} z", probe, found, _Before(layer))


def without_temperature(reads: str, probe: ProbeJob, found: Features, layer: Embedding) -> Iterator[Reading]:
    """A layer that has none; nothing is searched for it but the penalty."""
    plain = probe.model_copy(update={"tau": [], "fixed_tau": None})
    yield from (one for one in _readings(reads, plain, found, layer) if one.reads == reads)


def _readings(
    reads: str, probe: ProbeJob, found: Features, layer: Embedding, *, only_h: bool = False
) -> Iterator[Reading]:
    """The probe's own contests, with the layer in the place of the embedding."""
    there = replace(found, encoder=Encoder(found.encoder.backbone, layer))
    for contest in probing.contests(probe, there):
        if (contest.representations[0].name == "h") == only_h:
            yield Reading(reads + " searched" * (not contest.metric.endswith(FIXED_TAU)), there, contest, probe)


def fresh_layer(settings: EmbeddingSettings, found: Features, *, seed: int, draw: int) -> Embedding:
    """An embedding of the package at random weights, on the features that were found."""
    part = built_in_embedding(settings)
    with initialisation(seed, f"fresh layer {draw}"):
        layer: Embedding = part.load()(found.h_train.shape[1], **part.arguments)
    layer.representation = FRESH
    return settled(layer, found)


def fresh_relu(width: int, found: Features, *, seed: int, draw: int) -> Embedding:
    """Linear, BatchNorm and ReLU: as a fresh layer of that width, of the same weights, but for the nonlinearity."""
    with initialisation(seed, f"fresh layer {draw}"):
        layer = LinearEmbedding(found.h_train.shape[1], L=width, V=1)
    return _Rectified(settled(layer, found))


def settled(layer: Embedding, found: Features) -> Embedding:
    """The layer, frozen; its BatchNorm knows the training features."""
    layer = layer.to(found.h_train.device).eval().requires_grad_(False)
    settle(layer, found.h_train.split(CHUNK))
    return layer


class _Before(Embedding):
    """z of a layer: what stands before its nonlinearity."""

    representation = "z"

    def __init__(self, layer: Embedding) -> None:
        super().__init__()
        self.layer, self.out_dim = layer, layer.out_dim

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, d) -> z (B, out_dim)."""
        return self.layer.raw(h)


class _Rectified(_Before):
    """max(z, 0)."""

    representation = "relu"

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, d) -> (B, out_dim)."""
        return self.layer.raw(h).relu()
