"""What a step of pretraining is made of: its parts alone, taking turns with the whole step.

The note of the step says the rest (heads, loss, what the parts share), its floating-point operations a second, and what
share of the speed of one large product of matrices in the same precision that is.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import MANY, Bare, Shape, photographs, steps, training
from benchmarks.paired import Case, Contestant, Options, Role, drop, synchronize

SHAPES = {Shape("resnet18", batch=128): 2, Shape("resnet10w16"): 4, Shape("resnet10w16s2"): 8}
ON_GPU = {Shape("resnet18"): 20, Shape("resnet50", size=224, batch=64): 10}
QUICK = {Shape("resnet10w16s2", batch=16): 1}
STEP, PRODUCT = "the step", "a product of matrices"


def cases(options: Options) -> Iterator[Case]:
    """Each network under BYOL and SimCLR, with and without SEM."""
    shapes = QUICK if options.quick else ON_GPU if options.device.type == "cuda" else SHAPES
    for shape, count in shapes.items():
        for method in ("byol",) if options.quick else ("byol", "simclr"):
            for embedding in ("none", "sem"):
                name = f"{method}, {embedding}, {shape.backbone}, {shape.size} px, batch {shape.batch}"
                if options.wants(name):
                    yield _Parts(shape, method, embedding, count, options).case(name)


class _Parts:
    """The parts of a step, and the seconds that each repetition of them took."""

    def __init__(self, shape: Shape, method: str, embedding: str, count: int, options: Options) -> None:
        self.device, self.count, self.shape = options.device, count, shape
        images = photographs(2 * shape.batch, shape.size)
        self.step = training(shape, method, embedding, images, options.device)
        self.views = training(shape, method, embedding, images, options.device).views
        self.bare = Bare(shape, options.device, targets=method == "byol")
        with FlopCounterMode(display=False) as counter:
            steps(self.step, 1)
        self.operations = counter.get_total_flops()
        self.factor = torch.randn(2 * [256 if options.quick else 4096], device=options.device)
        self.factor = self.factor.to(torch.bfloat16) if self.step.bf16 else self.factor
        self.drawn = 0
        self.taken: dict[str, list[float]] = {}

    def case(self, name: str) -> Case:
        """The step and its parts."""
        method = self.step.state.method
        parts = [
            self._timed(STEP, lambda: steps(self.step, 1), note=self._whole, role="ours"),
            self._timed("two views", self._draw),
            self._timed("backbone, forward and backward", self.bare.step),
            self._timed("optimiser", lambda: drop(self.step.state.optimizer.step())),
        ]
        if hasattr(method, "target_encoder"):
            parts.append(self._timed("momentum branch", lambda: method.after_step(0, MANY)))
        if method.encoder.embedding.groups:
            parts.append(self._timed("SEM of two views, forward and backward", self._embed))
        product = self._timed(PRODUCT, lambda: drop(torch.mm(self.factor, self.factor)), note=str)
        return Case(name, [*parts, product], images=self.shape.batch)

    def _timed(
        self, who: str, work: Callable[[], None], *, note: Callable[[], str] | None = None, role: Role = "part"
    ) -> Contestant:
        seconds = self.taken.setdefault(who, [])

        def repeated() -> float:
            synchronize(self.device)
            began = time.perf_counter()
            for _ in range(self.count):
                work()
            synchronize(self.device)
            seconds.append(time.perf_counter() - began)
            return seconds[-1]

        share = note or (lambda: f"{100 * self._seconds(who) / self._seconds(STEP):.1f} % of the step")
        return Contestant(who, repeated, role, units=self.count, note=share)

    def _seconds(self, who: str) -> float:
        return median(self.taken[who][1:]) / self.count  # the first is the warm-up

    def _whole(self) -> str:
        parts = sum(self._seconds(who) for who in self.taken if who not in (STEP, PRODUCT))
        rest = 100 * (1 - parts / self._seconds(STEP))
        speed = self.operations / self._seconds(STEP)
        peak = 2 * len(self.factor) ** 3 / self._seconds(PRODUCT)
        return f"the rest: {rest:.1f} %; {speed / 1e9:,.0f} GFLOP/s, {100 * speed / peak:.0f} % of the product's"

    def _draw(self) -> None:
        self.views.batch(self.drawn)
        self.drawn += 1

    def _embed(self) -> None:
        embedding = self.step.state.method.encoder.embedding
        width = self.step.state.method.encoder.backbone.out_dim
        for _ in range(2):
            h = torch.randn(self.shape.batch, width, device=self.device, requires_grad=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.step.bf16):
                output = embedding(h)
            output.float().square().mean().backward()
