"""Pretraining: our step beside lightly's documented pipeline, and beside the bare backbone, which is the floor."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks import lightly_loop
from benchmarks.networks import VIT, Bare, ReadyViews, Shape, ViewsInStep, photographs, steps, training
from benchmarks.paired import Case, Contestant, Options, drop
from sem_bench.base import machine
from sem_bench.errors import one_line
from sem_bench.training.views import Views

METHODS = ("byol", "simclr")
SHAPES = {  # and the steps of a repetition
    Shape("resnet18", batch=128): 2,
    Shape("resnet10w16"): 4,
    Shape("resnet10w16s2"): 8,
    Shape(VIT, batch=128): 2,
}
ON_GPU = {replace(shape, batch=256): 20 for shape in SHAPES} | {Shape("resnet50", size=224, batch=64): 10}
QUICK = {Shape("resnet10w16s2", batch=16): 1, Shape(VIT, batch=4): 1}


def cases(options: Options) -> Iterator[Case]:
    """Each network under each method; and the two views alone."""
    if options.wants("two views"):
        yield _views(options)
    shapes = QUICK if options.quick else ON_GPU if options.device.type == "cuda" else SHAPES
    for shape, count in shapes.items():
        for method in METHODS if not options.quick else ("simclr",) if shape.backbone == VIT else ("byol",):
            if options.wants(name := f"{method}, {shape.backbone}, {shape.size} px, batch {shape.batch}"):
                yield _case(name, shape, method, count, options)


def _case(name: str, shape: Shape, method: str, count: int, options: Options) -> Case:
    if shape.backbone == VIT and find_spec("timm") is None:
        return Case(name, [Contestant("ours", None, "ours", note=lambda: "timm is not installed")])
    images = photographs(2 * shape.batch, shape.size)
    workers = 0 if options.quick else min(8, machine.cores())
    loop = lightly_loop.Loop(shape, method, images, options.device, steps=count, workers=workers)
    ours = partial(_ours, shape, method, images, count, options)
    contestants = [
        ours("ours"),
        Contestant("lightly", loop.epoch, "peer", units=count),
        _bare(shape, method, count, options, compiler=None),
        _bare(shape, method, count, options, compiler="aot_eager" if options.quick else "inductor"),
        ours("ours, views made before", views=ReadyViews),
        ours("ours, views prepared in the step", views=ViewsInStep),
        ours("ours with SEM, L=256, V=8", embedding="sem"),
    ]
    return Case(name, contestants, images=shape.batch, close=loop.close)


def _ours(
    shape: Shape,
    method: str,
    images: Tensor,
    count: int,
    options: Options,
    who: str,
    *,
    embedding: str = "none",
    views: type[Views] = Views,
) -> Contestant:
    step = training(shape, method, embedding, images, options.device, views=views)
    return Contestant(who, lambda: steps(step, count), "ours" if who == "ours" else "other", units=count)


def _bare(shape: Shape, method: str, count: int, options: Options, *, compiler: str | None) -> Contestant:
    who = f"bare backbone, {'compiled' if compiler else 'eager'}"
    bare = Bare(shape, options.device, targets=method == "byol", compiler=compiler)
    began, note = time.perf_counter(), ""
    if compiler:
        try:
            bare.step()
        except Exception as error:  # no compiler, or a network that it cannot take: said, and the others go on
            note = f"not compiled: {one_line(error) or type(error).__name__}"[:90]
            return Contestant(who, None, "floor", note=lambda: note)
        took = time.perf_counter() - began
        note = f"compiled in {took:.0f} s" if took > 5 else ""  # once for both methods, but for the targets
    return Contestant(who, _repeated(bare.step, count), "floor", units=count, note=lambda: note)


def _repeated(step: Callable[[], None], count: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(count):
            step()

    return work


def _views(options: Options) -> Case:
    """What the two views of BYOL cost, in one thread."""
    shape = Shape("resnet10w16s2", batch=16 if options.quick else 256)
    images = photographs(shape.batch, shape.size)
    pictures = [to_pil_image(image) for image in images]
    transform = lightly_loop.transform("byol", shape.size)
    views = training(shape, "byol", "none", images, torch.device("cpu")).views

    def theirs() -> None:
        for view in zip(*map(transform, pictures), strict=True):
            torch.stack(view)

    contestants = [
        Contestant("ours", lambda: drop(views.batch(0)), "ours"),
        Contestant("lightly's transforms", theirs, "peer"),
    ]
    return Case(f"two views, {shape.size} px", contestants, images=shape.batch, threads=1)
