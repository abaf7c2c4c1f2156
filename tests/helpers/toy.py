"""A tiny suite of its own data, so that whole runs take a second or two."""

from pathlib import Path
from textwrap import dedent

TOY_PY = '''
"""Coloured noise: the class is the mean colour."""

import numpy as np


def load(split, *, count, image_size, noise=40):
    rng = np.random.default_rng(["train", "test"].index(split))
    labels = np.arange(count) % 4
    colour = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [150, 150, 150]])[labels]
    pixels = colour[:, None, None] + rng.normal(0, noise, (count, image_size, image_size, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels
'''


TOY_YAML = """
summary: coloured noise
source: {type: python}
splits: {train: 200, test: 80}
image_size: 16
classes: [red, green, blue, grey]
superclasses: {warm: [red, green], cold: [blue, grey]}
normalise: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
licence: none needed
"""


SUITE = """
name: tiny
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {none: {}, sem: {L: 4, V: 3}}
  backbones: [resnet10w16s2]
  datasets: [toy]
pretrain: {recipe: quick, epochs: 2, batch_size: 50}
evaluate:
  probe: {fractions: [1.0, 0.1], tau: [0.3, 1.0], l2: [1e-4, 1e-2]}
  knn: {k: 5}
"""


METHOD_YAML = """
class: {name}
summary: a method of the user's
source: this test
recipes:
  quick:
    source: this test
    epochs: 1
    batch_size: 50
    optimizer: {{name: sgd, lr: 0.1}}
    views: [{{}}, {{flip: 0.5}}]
    parameters: {{{parameters}}}
    sem: {{tau: 1}}
"""
# A sweep of two trials.
TAU = """
summary: the temperature
methods: [simclr]
space:
  tau: {low: 0.03, high: 5, log: true}
tau_d: [0.1, 1, 10]
sampler: random
trials: 2
"""


def method_card(name: str, *, parameters: str = "") -> str:
    """The card of a user's method with that class."""
    return METHOD_YAML.format(name=name, parameters=parameters)


def write(folder: Path, name: str, text: str) -> Path:
    """A file of that text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text).lstrip("\n"))
    return path


def replace_text(path: Path, old: str, new: str) -> None:
    """Change what a file says; `old` must stand there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write_toy(folder: Path) -> None:
    """A user's folder with suite.yaml and the data set toy."""
    write(folder, "suite.yaml", SUITE)
    write(folder, "datasets/toy.yaml", TOY_YAML)
    write(folder, "datasets/toy.py", TOY_PY)


def overlap(folder: Path, *names: str) -> None:
    """Let the colours of the classes overlap in these data sets, so that a probe is sometimes right, and not always."""
    clear = "colour[:, None, None]"
    for name in names:
        code = (folder / f"datasets/{name}.py").read_text()
        assert clear in code
        blurred = f"({clear} + np.random.default_rng(count).normal(0, 60, (count, 1, 1, 3)))"
        write(folder, f"datasets/{name}.py", code.replace(clear, blurred))
