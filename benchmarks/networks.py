"""The networks and trainings of the benchmarks: the suite's own step, and its backbone alone."""

import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from sem_bench.backbone import Backbone
from sem_bench.base.device import placed, precision
from sem_bench.data.split import Split, reader
from sem_bench.method import Batch
from sem_bench.nets.build import build_backbone
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.encoder_parts import EncoderParts, built_in
from sem_bench.report.row import BASELINE
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.training import parameter_groups
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrain import build_method
from sem_bench.training.step import Step
from sem_bench.training.views import Prepared, ViewPlan, Views

VIT = "vit_tiny"
MANY = 10**6  # steps: no training of a benchmark ends
SUITE = """
name: benchmark
seeds: [0]
grid:
  methods: [byol, simclr]
  embeddings: {{none: {{}}, sem: {{L: 256, V: 8}}}}
  backbones: [{backbone}]
  datasets: [shapes]
pretrain: {{recipe: small, epochs: 1000}}
"""


@dataclass(frozen=True)
class Shape:
    """A network, and the images of a step."""

    backbone: str
    size: int = 32
    batch: int = 256

    @property
    def parts(self) -> EncoderParts:
        """What an encoder with it is built of."""
        return built_in(EmbeddingSettings(type=BASELINE), self.backbone)

    def build(self) -> Backbone:
        """The network alone."""
        return build_backbone(self.parts, image_size=self.size)


def photographs(count: int, size: int) -> Tensor:
    """uint8 (N, 3, size, size) that is noise, smoothed."""
    noise = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    smoothed: Tensor = F.gaussian_blur(noise, [5, 5])
    return smoothed


class ReadyViews(Views):
    """The same views in each step, made before: what a step costs without them."""

    def batch(self, number: int) -> Batch:
        """Those of the first batch."""
        return self._first

    @cached_property
    def _first(self) -> Batch:
        return super().batch(0)


class ViewsInStep(Views):
    """Views whose random numbers and operations are prepared in the step, not a batch ahead in a thread."""

    def _awaited(self, number: int) -> Prepared:
        return self._prepare(number)


def training(
    shape: Shape,
    method: str,
    embedding: str,
    images: Tensor | Split,
    device: torch.device,
    *,
    views: type[Views] = Views,
) -> Step:
    """The suite's own step of a method, on images in memory or on those of a split; called, it does the next one."""
    job = _job(method, embedding, shape.backbone)
    config = job.config
    assert isinstance(config, PretrainJob)
    own = config.training.model_copy(update={"batch_size": shape.batch})
    data = config.data.model_copy(update={"image_size": shape.size})
    config = config.model_copy(update={"training": own, "data": data})
    split = images if isinstance(images, Split) else _split(images)
    parts = job.parts.model_copy(update={"backbone": shape.parts.backbone})
    built = build_method(config, job.method_code, classes=2, images=len(split), parts=parts)
    built = placed(built, device).train()
    state = TrainingState(built, parameter_groups.build(built, config.training), "noise")
    return Step(config, state, views(ViewPlan.of(config), split, device, last=MANY), device)


def steps(step: Step, count: int) -> None:
    """So many more steps of a training."""
    for _ in range(count):
        step()
        step.state.step += 1


class Bare(nn.Module):
    """What a method asks of its backbone, and nothing else: two views forward and backward, its targets forward."""

    def __init__(self, shape: Shape, device: torch.device, *, targets: bool, compiler: str | None = None) -> None:
        super().__init__()
        self.device, self.targets, self.bf16 = device, targets, precision(device) == "bf16"
        self.online, self.target = _pair(shape, device, compiler)
        views = torch.randn(2, shape.batch, 3, shape.size, shape.size, device=device)
        self.views = [view.contiguous(memory_format=torch.channels_last) for view in views]

    def step(self) -> None:
        """One of them."""
        self.online.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = [self.online(view) for view in self.views]
            if self.targets:
                with torch.no_grad():
                    for view in self.views:
                        self.target(view)
        torch.stack(outputs).float().square().mean().backward()


@cache  # compiling takes a minute, and methods share it
def _pair(shape: Shape, device: torch.device, compiler: str | None) -> tuple[nn.Module, nn.Module]:
    made = [shape.build().to(device).to(memory_format=torch.channels_last).train() for _ in range(2)]
    for network in made if compiler else ():
        network.compile(dynamic=False, backend=compiler)
    return made[0], made[1]


def _split(images: Tensor) -> Split:
    size = images.shape[-1]
    return Split(torch.zeros(len(images), dtype=torch.int64), "noise", size, size, images, reader(images))


def _job(method: str, embedding: str, backbone: str) -> Job:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.yaml"
        path.write_text(SUITE.format(backbone=backbone))
        wanted = (method, embedding)
        return next(job for job in read_plan(path).jobs if (job.cell.method, job.cell.embedding) == wanted)
