"""Does a run of ImageNet's length stay within a small memory? JPEG files of 16 px, all the way to the tables.

    python benchmarks/scale.py [--images 64000] [--pretrain 8000] [--mebibytes 16] [--folder DIR]

ImageNet has 1281167 images.

The files are made below the folder (default: a temporary one) and kept there with the results, so that a second call
goes on. `--memory` is that many MiB: neither images nor features fit. Prints the peak memory of the process and the
seconds of each job.
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.base.files import read_json
from sem_bench.cli import main as sem_bench

SIDE, CLASSES, TEST = 16, 20, 2000

CARD = """
summary: a stream
source: {{type: folder, path: stream}}
splits: {{train: {images}, test: {test}}}
image_size: {side}
classes: [{classes}]
normalise: {{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
licence: drawn by benchmarks/scale.py
"""

SUITE = """
name: scale
seeds: [0]
grid:
  methods: [simclr]
  embeddings: {{sem: {{L: 16, V: 8}}}}
  backbones: [resnet10w16s2]
  datasets: [stream]
  images: {{pretrain: {pretrain}}}
pretrain: {{recipe: quick, epochs: 1}}
evaluate:
  probe: {{fractions: [{fractions}], tau: [1.0], l2: [1e-4, 1e-2]}}
  knn: {{k: 20}}
  entropy: {{}}
"""


def write_stream(folder: Path, images: int) -> None:
    """FOLDER/stream/{train,test}/CLASS/NNNNNNN.jpg: a pattern for each class under noise; once."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(60, 190, (CLASSES, 4, 4, 3)).repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
    for split, count in (("train", images), ("test", TEST)):
        if (folder / "stream" / split).is_dir():
            continue
        making = folder / "stream" / f".{split}"
        for label in range(CLASSES):
            (making / f"c{label:02}").mkdir(parents=True, exist_ok=True)
        for first in range(0, count, 1000):
            numbers = np.arange(first, min(first + 1000, count))
            noise = rng.normal(0, 90, (len(numbers), SIDE, SIDE, 3))
            pixels = (patterns[numbers % CLASSES] + noise).clip(0, 255).astype(np.uint8)
            for number, image in zip(numbers, pixels, strict=True):
                Image.fromarray(image).save(making / f"c{number % CLASSES:02}" / f"{number:07}.jpg", quality=75)
        making.rename(folder / "stream" / split)


def run(folder: Path, *, images: int, pretrain: int, mebibytes: float, fractions: str) -> None:
    """Make the stream and run a suite on it; results lie in FOLDER/results."""
    write_stream(folder, images)
    (folder / "datasets").mkdir(exist_ok=True)
    names = ", ".join(f"c{label:02}" for label in range(CLASSES))
    card = CARD.format(images=images, test=TEST, side=SIDE, classes=names)
    (folder / "datasets/stream.yaml").write_text(card)
    (folder / "suite.yaml").write_text(SUITE.format(pretrain=pretrain, fractions=fractions))
    places = ["--data", str(folder), "--results", str(folder / "results")]
    if code := sem_bench(["run", str(folder / "suite.yaml"), *places, "--memory", str(mebibytes / 1024)]):
        sys.exit(code)


def main() -> None:
    """Run it, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64000)
    parser.add_argument("--pretrain", type=int, default=8000)
    parser.add_argument("--mebibytes", type=float, default=16)
    parser.add_argument("--fractions", default="1.0, 0.01")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    run(
        folder,
        images=options.images,
        pretrain=min(options.pretrain, options.images),
        mebibytes=options.mebibytes,
        fractions=options.fractions,
    )
    for path in sorted((folder / "results").glob("*/*/result.json")):
        result = read_json(path)
        print(f"{result['provenance']['seconds']:9.1f} s  {result['kind']}/{path.parent.name}")  # noqa: T201
    files = sum(path.stat().st_size for path in (folder / "results/cache/features").iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"{options.images} images, features on disk {files / 2**20:.0f} MiB, peak memory {peak:.0f} MiB")  # noqa: T201


if __name__ == "__main__":
    main()
