"""Photographs that do not fit into memory: reading and cropping JPEG files to 224 px, and a training step beside it."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import resized_crop

from benchmarks import jpegs
from benchmarks.jpegs import VIEW
from benchmarks.networks import Shape, photographs, steps, training
from benchmarks.paired import Case, Contestant, Options
from sem_bench.data.augment import BatchAugment, Parameters, uniform
from sem_bench.data.readers.image_files import read_image
from sem_bench.data.threads import ordered, pieces

OFF = dict.fromkeys(("brightness", "contrast", "saturation", "hue", "jitter", "grey", "blur", "solarize"), 0.0)
SETTINGS: Any = SimpleNamespace(
    size=VIEW, crop_scale=(0.2, 1.0), flip=0.5, interpolation="bilinear", blur_sigma=(0.1, 2.0), **OFF
)
AUGMENT = BatchAugment(SETTINGS, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
Crop = Callable[[Path, Parameters, int], Any]  # the crop of row i, from its file


def cases(options: Options) -> Iterator[Case]:
    """Decoders, whole batches of views, and steps; with one worker and with two."""
    count = 16 if options.quick else 128
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = jpegs.write(folder, count)
        for workers in (1,) if options.quick else (1, 2):
            yield _decoders(paths, workers)
        for workers in (1,) if options.quick else (1, 2):
            yield _batches(folder, count, workers, options)
        shapes = {Shape("resnet18", size=VIEW, batch=32): 2, Shape("resnet50", size=VIEW, batch=16): 1}
        if options.quick:
            shapes = {Shape("resnet10w16s2", size=VIEW, batch=8): 1}
        for shape, few in shapes.items():
            yield _step(folder, count, shape, few, options)


def with_pillow(path: Path, parameters: Parameters, row: int) -> Image.Image:
    """As the suite does it."""
    return AUGMENT.crop(read_image(path), parameters, row)


def with_torchvision(path: Path, parameters: Parameters, row: int) -> Image.Image:
    """Decoded by torchvision.io, the rest as the suite does it."""
    pixels = decode_jpeg(read_file(str(path)), ImageReadMode.RGB)
    return AUGMENT.crop(Image.fromarray(pixels.permute(1, 2, 0).numpy()), parameters, row)


def all_torchvision(path: Path, parameters: Parameters, row: int) -> Tensor:
    """Decoded, cropped and resized by torchvision."""
    return _resized(decode_jpeg(read_file(str(path)), ImageReadMode.RGB), parameters, row)


def with_torchcodec(path: Path, parameters: Parameters, row: int) -> Tensor:
    """Decoded by torchcodec, the rest by torchvision."""
    decode = import_module("torchcodec.decoders").decode_image
    return _resized(decode(str(path)), parameters, row)


def _resized(pixels: Tensor, parameters: Parameters, row: int) -> Tensor:
    top, left, height, width = parameters.box[row].tolist()
    view: Tensor = resized_crop(pixels, top, left, height, width, [VIEW, VIEW], antialias=True)
    return view.flip(2) if parameters.flip[row] else view


def _decoders(paths: list[Path], workers: int) -> Case:
    sides = torch.tensor([[jpegs.HEIGHT, jpegs.WIDTH]]).expand(len(paths), 2)
    parameters = AUGMENT.parameters(uniform(len(paths), torch.Generator().manual_seed(0)), sides)
    rows = pieces(range(len(paths)))
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))

    def in_threads(crop: Crop) -> Callable[[], None]:
        work = partial(_several, crop, paths, parameters)
        return lambda: _all(ordered(work, rows, workers=workers))

    def in_processes() -> None:
        _all(pool.map(partial(_several, with_pillow, paths, parameters), rows))

    def differing(crop: Crop) -> Callable[[], str]:
        return lambda: _difference(crop, paths[:32], parameters)

    each = f"{workers} thread{'s' if workers > 1 else ''}"
    contestants = [
        Contestant(f"ours: Pillow, {each}", in_threads(with_pillow), "ours"),
        Contestant(f"Pillow, {workers} process{'es' if workers > 1 else ''}", in_processes),
        Contestant(
            f"torchvision.io, Pillow's resize, {each}", in_threads(with_torchvision), note=differing(with_torchvision)
        ),
        Contestant(f"all by torchvision, {each}", in_threads(all_torchvision), note=differing(all_torchvision)),
    ]
    if find_spec("torchcodec") is None:
        contestants.append(Contestant("torchcodec", None, note=lambda: "not installed"))
    else:
        contestants.append(
            Contestant(f"torchcodec, {each}", in_threads(with_torchcodec), note=differing(with_torchcodec))
        )
    name = f"JPEG, {jpegs.WIDTH} x {jpegs.HEIGHT} to a crop of {VIEW} px"
    return Case(name, _per_image(contestants, len(paths)), images=1, threads=1, close=pool.shutdown)


def _per_image(contestants: list[Contestant], count: int) -> list[Contestant]:
    for one in contestants:
        one.units = count
    return contestants


def _several(crop: Crop, paths: list[Path], parameters: Parameters, rows: range) -> list[Tensor]:
    """Crops of a few images as tensors, which is what a batch is made of."""
    found = (crop(paths[row], parameters, row) for row in rows)
    return [one if isinstance(one, Tensor) else torch.from_numpy(np.array(one)) for one in found]


def _all(results: Iterator[object]) -> None:
    for _ in results:
        pass


def _difference(crop: Crop, paths: list[Path], parameters: Parameters) -> str:
    """Of the pixels from the suite's own."""
    largest, total = 0, 0.0
    for row, path in enumerate(paths):
        own = np.asarray(with_pillow(path, parameters, row)).astype(int)
        other = crop(path, parameters, row)
        pixels = other.permute(1, 2, 0).numpy() if isinstance(other, Tensor) else np.asarray(other)
        largest, total = max(largest, int(np.abs(own - pixels).max())), total + float(np.abs(own - pixels).mean())
    return f"pixels differ by at most {largest} of 255, {total / len(paths):.3f} on average"


def _batches(folder: Path, count: int, workers: int, options: Options) -> Case:
    """Two views of each image, cropped, flipped and normalised: the whole folder once."""
    batch = 8 if options.quick else 32
    shape = Shape("resnet10w16s2", size=VIEW, batch=batch)
    split = jpegs.split(folder, count, workers)
    views = training(shape, "simclr", "none", split, torch.device("cpu")).views
    numbers = iter(range(10**6))

    def ours() -> None:
        for _ in range(count // batch):
            views.batch(next(numbers))

    each = v2.Compose(
        [
            v2.RandomResizedCrop(VIEW, (0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    images = ImageFolder(str(folder / "train"), transform=lambda image: (each(image), each(image)))
    loader = DataLoader(images, batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=True)
    contestants = [
        Contestant(f"ours, {workers} thread{'s' if workers > 1 else ''}", ours, "ours"),
        Contestant(
            f"torchvision's ImageFolder, {workers} worker{'s' if workers > 1 else ''}",
            lambda: _all(iter(loader)),
            "peer",
        ),
    ]

    def close() -> None:
        views.__exit__()
        contestants.clear()

    return Case("two views as a batch", _per_image(contestants, count), images=1, threads=1, close=close)


def _step(folder: Path, count: int, shape: Shape, few: int, options: Options) -> Case:
    """A step on images that are decoded meanwhile, beside one on images in memory."""
    split = jpegs.split(folder, count, workers=options.threads)
    streamed = training(shape, "simclr", "none", split, options.device)
    held = training(shape, "simclr", "none", photographs(2 * shape.batch, VIEW), options.device)
    contestants = [
        Contestant("ours, decoded meanwhile", lambda: steps(streamed, few), "ours", units=few),
        Contestant("ours, images in memory", lambda: steps(held, few), "floor", units=few),
    ]
    name = f"step of SimCLR, {shape.backbone}, {VIEW} px, batch {shape.batch}"
    repeats = min(3, options.repeats)
    return Case(name, contestants, images=shape.batch, repeats=repeats, close=lambda: streamed.views.__exit__())
