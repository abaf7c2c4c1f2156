"""What a view costs, operation by operation, and next to torchvision's transforms image by image.

    python benchmarks/augment.py [--size 32] [--batch 256] [--threads 1] [--device cpu]

The fastest of many runs: other processes only add to it. torchvision gets one thread, as in a worker of a data
loader.
"""

# ruff: noqa: T201

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from sem_bench.data.augment import BatchAugment

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
CROP = {"crop_scale": (0.08, 1.0), "flip": 0.5}
JITTER = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
OFF = dict.fromkeys((*JITTER, "grey", "blur", "solarize"), 0.0) | {
    "interpolation": "bilinear",
    "blur_sigma": (0.1, 2.0),
}


def milliseconds(work: Callable[[], object], *, seconds: float = 1.5) -> float:
    """The time of the fastest run, of as many as fit, five at least."""
    for _ in range(3):
        work()
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def batched(images: Tensor, changes: dict[str, Any]) -> Callable[[], Tensor]:
    """One view of the batch by sem_bench, the drawing of its parameters included."""
    size = images.shape[2]
    augment = BatchAugment(SimpleNamespace(size=size, **OFF | CROP | changes), mean=MEAN, std=STD)
    generator = torch.Generator().manual_seed(0)
    return lambda: augment(images, augment.sample(len(images), height=size, width=size, generator=generator))


def one_by_one(images: list[Any], size: int, *, extra: bool) -> Callable[[], Tensor]:
    """The same view by torchvision; of uint8 tensors or of PIL images."""
    blur = v2.RandomApply([v2.GaussianBlur(max(3, size // 20 * 2 + 1), (0.1, 2.0))], p=0.5)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=CROP["crop_scale"], antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            *([blur, v2.RandomSolarize(128, 0.2)] if extra else []),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return lambda: torch.stack([transform(image) for image in images])


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    # glibc gives freed memory back, and faults it in again, until it has seen a large block freed. Training has.
    for _ in range(3):
        torch.ones(30 * 2**18)
    noise = torch.randint(0, 256, (args.batch, 3, args.size, args.size), dtype=torch.uint8)
    images = v2.functional.gaussian_blur(noise, [5, 5])
    torch.set_num_threads(args.threads)
    placed = images.to(args.device)

    done: dict[str, Any] = {}
    steps = {"crop, flip, normalise": {}, "jitter": JITTER, "grey": {"grey": 0.2}}
    steps |= {"blur half": {"blur": 0.5}, "solarise a fifth": {"solarize": 0.2}}
    costs: list[float] = []
    for settings in steps.values():
        done |= settings
        costs.append(milliseconds(batched(placed, done)))
    print(f"{args.batch} images of {args.size} px, {args.threads} threads, {args.device}; ms a view")
    for name, cost, before in zip(steps, costs, [0.0, *costs], strict=False):
        share = (cost - before) / costs[-1]
        print(f"  {'+ ' if before else ''}{name:<24}{cost - before:8.2f}  {share:5.0%}  sum {cost:.2f}")

    torch.set_num_threads(1)
    print("torchvision v2, one thread; ratio to the above")
    pictures = [v2.functional.to_pil_image(image) for image in images]
    for kind, given in (("tensors", list(images)), ("PIL", pictures)):
        for name, extra, cost in (("to grey", False, costs[2]), ("all", True, costs[-1])):
            theirs = milliseconds(one_by_one(given, args.size, extra=extra))
            print(f"  {kind:<8}{name:<18}{theirs:8.1f}  {theirs / cost:5.1f} x")


if __name__ == "__main__":
    main()
