"""A user's own embeddings and backbone: cards and code, as they write them."""

from pathlib import Path

from tests.helpers.toy import SUITE, write

WHITE_YAML = """
class: White
summary: a BatchNorm of h and a linear map to so many numbers
parameters: {size: {from: 2, to: 64, whole: true}, gain: {from: 0, default: 1.5}, sign: {choices: [plus, minus],
  default: plus}}
width: [size]
"""
WHITE_PY = '''
"""No softmax, no groups."""

from torch import nn

from sem_bench.embedding import Embedding


class White(Embedding):
    def __init__(self, in_dim, *, size, gain, sign):
        super().__init__()
        self.out_dim = size
        self.map = nn.Linear(in_dim, size)
        self.norm = nn.BatchNorm1d(size)
        self.gain = gain if sign == "plus" else -gain

    def forward(self, h, temperature=None):
        return self.gain * self.norm(self.map(h))
'''
SQUARED_YAML = """
class: Squared
code: softs.py
summary: as sem, each probability squared and normed again
temperature: true
parameters: {L: {from: 1, whole: true}, V: {from: 3, whole: true}}
groups: [L, V]
representation: p
marker: P
"""
TANH_YAML = """
class: Tanh
code: softs.py
summary: tanh of z over a temperature
temperature: true
parameters: {codes: {from: 2, whole: true}}
width: [codes]
"""
SOFTS_PY = """
from torch import nn

from sem_bench.embedding import Embedding
from sem_bench.nets.embeddings.sem import SimplicialEmbedding


class Squared(SimplicialEmbedding):
    def forward(self, h, temperature=None):
        p = super().forward(h, temperature).square().unflatten(1, (self.V, self.L))
        return (p / p.sum(1, keepdim=True)).flatten(1)


class Tanh(Embedding):
    def __init__(self, in_dim, *, codes, tau, tau_target=None):
        super().__init__()
        self.out_dim, self.temperature = codes, tau
        self.target_temperature = tau if tau_target is None else tau_target
        self.map = nn.Linear(in_dim, codes)

    def raw(self, h):
        return self.map(h)

    def forward(self, h, temperature=None):
        return (self.raw(h) / (self.temperature if temperature is None else temperature)).tanh()
"""
CONV_YAML = """
build: conv
summary: two convolutions
arguments: {width: 8}
features: 16
cost: {speed: 5000, weights: 0.01}
"""
CONV_PY = """
from torch import nn

from sem_bench.backbone import Backbone


def conv(*, image_size, zero_init_residual, width):
    layers = [nn.Conv2d(3, width, 3, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.Conv2d(width, 2 * width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Backbone(nn.Sequential(*layers), 2 * width)
"""
EMBEDDINGS = "{none: {}, white: {size: 6}, squared: {L: 4, V: 3}, soft: {type: tanh, codes: 5, tau: 0.5}}"
OWN_SUITE = SUITE.replace("{none: {}, sem: {L: 4, V: 3}}", EMBEDDINGS).replace("resnet10w16s2", "conv")


def write_own(folder: Path) -> None:
    """Three embeddings, a backbone, and a suite of them."""
    for name, text in (("white.yaml", WHITE_YAML), ("white.py", WHITE_PY), ("squared.yaml", SQUARED_YAML)):
        write(folder, f"embeddings/{name}", text)
    for name, text in (("tanh.yaml", TANH_YAML), ("softs.py", SOFTS_PY)):
        write(folder, f"embeddings/{name}", text)
    for name, text in (("conv.yaml", CONV_YAML), ("conv.py", CONV_PY)):
        write(folder, f"backbones/{name}", text)
    write(folder, "suite.yaml", OWN_SUITE)
