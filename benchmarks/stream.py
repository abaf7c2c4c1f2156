"""How fast are views of photographs that do not fit into memory? Ours against torchvision, one image after another.

    python benchmarks/stream.py [FOLDER]      # FOLDER/train/CLASS/FILE; without it 512 images of 500 x 400 are made

Both decode, crop to 224 px, flip, normalise and stack. Prints images a second, two views each, and the peak memory of
the process.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip, RandomResizedCrop, ToTensor

from sem_bench.data import loading
from sem_bench.data.card import Normalisation
from sem_bench.data.dataset import Place
from sem_bench.data.described import TrainingData
from sem_bench.data.sources.folder import FolderSource
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import Augmentation, Optimizer, Training
from sem_bench.training.job import MethodRef, PretrainJob
from sem_bench.training.views import ViewPlan, Views

BATCH, STEPS = 64, 8


def photographs(folder: Path) -> Path:
    """512 JPEG files of about 70 kB."""
    rng = np.random.default_rng(0)
    (folder / "train/one").mkdir(parents=True)
    for i in range(BATCH * STEPS):
        coarse = Image.fromarray(rng.integers(0, 255, (50, 62, 3), np.uint8)).resize((500, 400))
        coarse.save(folder / f"train/one/{i:04}.jpg", quality=90)
    return folder


def ours(folder: Path, workers: int) -> float:
    """Images a second through Views."""
    view = Augmentation(crop_scale=(0.2, 1.0), flip=0.5)
    optimizer = Optimizer(name="sgd", lr=0.1)
    described = TrainingData(
        name="photographs",
        source=FolderSource(type="folder", path=str(folder)),
        code="",
        train=len(list(folder.glob("train/*/*"))),
        image_size=224,
        normalise=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    )
    job = PretrainJob(
        method=MethodRef(name="none", class_name="None", code=""),
        training=Training(epochs=1, batch_size=BATCH, optimizer=optimizer, views=[view, view]),
        embedding=EmbeddingSettings(type="none"),
        backbone="resnet18",
        data=described,
        seed=0,
    )
    place = Place(name=described.name, splits=("train",), card=Path("card"), code=Path("none"), root=Path())
    split = loading.load(described, "train", place, memory=1, workers=workers)
    began = time.perf_counter()
    with Views(ViewPlan.of(job), split, torch.device("cpu"), last=STEPS) as views:
        for step in range(STEPS):
            views.batch(step)
    return BATCH * STEPS / (time.perf_counter() - began)


def torchvision(folder: Path) -> float:
    """Images a second through ImageFolder and its transforms, without workers."""
    steps = [RandomResizedCrop(224, (0.2, 1.0)), RandomHorizontalFlip(), ToTensor(), Normalize([0.5] * 3, [0.25] * 3)]
    transform = Compose(steps)
    images = ImageFolder(str(folder / "train"), transform=lambda image: (transform(image), transform(image)))
    began = time.perf_counter()
    for step in range(STEPS):
        batch = [images[i][0] for i in range(step * BATCH, (step + 1) * BATCH)]
        for view in zip(*batch, strict=True):
            torch.stack(view)
    return BATCH * STEPS / (time.perf_counter() - began)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else photographs(Path(temporary))
        for label, speed in (
            ("torchvision, no workers", torchvision(folder)),
            ("ours, 1 worker", ours(folder, 1)),
            ("ours, 2 workers", ours(folder, 2)),
        ):
            print(f"{label:24} {speed:6.0f} images/s")  # noqa: T201
    print(f"{'peak memory':24} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:6.0f} MiB")  # noqa: T201
