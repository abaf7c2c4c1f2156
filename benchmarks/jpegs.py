"""A folder of JPEG files like photographs, about 500 x 375 pixels and 40 kB each, and how the suite reads it."""

from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.data import loading
from sem_bench.data.card import Normalisation
from sem_bench.data.dataset import Place
from sem_bench.data.described import TrainingData
from sem_bench.data.sources.folder import FolderSource
from sem_bench.data.split import Split

WIDTH, HEIGHT, VIEW = 500, 375, 224


def write(folder: Path, count: int) -> list[Path]:
    """FOLDER/train/one/NNNN.jpg: clouds of several sizes and a little noise; every second file without subsampling."""
    random = np.random.default_rng(0)
    (folder / "train/one").mkdir(parents=True)
    paths = [folder / f"train/one/{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        pixels = 120 + random.normal(0, 4, (HEIGHT, WIDTH, 3))
        for size in (4, 8, 16, 32, 64, 128):
            clouds = random.normal(0, 40 * (4 / size) ** 0.7, (3, size * 3 // 4, size)).astype(np.float32)
            large = [Image.fromarray(one).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC) for one in clouds]
            pixels += np.stack([np.asarray(one) for one in large], 2)
        subsampling = 2 if number % 2 else 0
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85, subsampling=subsampling)
    return paths


def split(folder: Path, count: int, workers: int) -> Split:
    """The folder as pretraining reads it where it does not fit into memory."""
    described = TrainingData(
        name="photographs",
        source=FolderSource(type="folder", path=str(folder)),
        code="",
        train=count,
        image_size=VIEW,
        normalise=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    )
    place = Place(name=described.name, splits=("train",), card=Path("card"), code=Path("none"), root=Path())
    return loading.load(described, "train", place, memory=1, workers=workers)
