"""BYOL and SimCLR as lightly's documentation trains them: PIL transforms in a data loader, its heads and loop.

In our words, after its tutorials for plain PyTorch: float32, SGD at 0.06, a momentum that follows a cosine. The
network, the widths of the heads, the batch and the chances of the transforms are those of the suite's recipe.
"""

import copy
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from lightly import loss, transforms
from lightly.models import modules, utils
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks.networks import Shape
from benchmarks.paired import synchronize

HIDDEN, OUT, LR = 256, 128, 0.06
AHEAD = 2  # batches that a worker makes before they are asked for, torch's default
LOOK = {"cj_bright": 0.4, "cj_contrast": 0.4, "cj_sat": 0.2, "cj_hue": 0.1, "min_scale": 0.2}
Transform = Callable[[Any], list[Tensor]]


class Pictures(Dataset[list[Tensor]]):
    """PIL images, each with its views."""

    def __init__(self, images: Tensor, transform: Transform) -> None:
        self.images = [to_pil_image(image) for image in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.images[index])


def transform(method: str, size: int) -> Transform:
    """Its transform: two views of a PIL image."""
    if method == "simclr":
        return cast(Transform, transforms.SimCLRTransform(input_size=size, gaussian_blur=0.0, **LOOK))
    kind: dict[str, Any] = {"input_size": size, "gaussian_blur": 0.0, "solarization_prob": 0.0, **LOOK}
    return cast(Transform, BYOLTransform(BYOLView1Transform(**kind), BYOLView2Transform(**kind)))


class BYOL(nn.Module):
    """Online and momentum branch."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = modules.BYOLProjectionHead(width, HIDDEN, OUT)
        self.prediction = modules.BYOLPredictionHead(OUT, HIDDEN, OUT)
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.projection))
        utils.deactivate_requires_grad(self.target)
        self.criterion = loss.NegativeCosineSimilarity()
        self.epoch = 0

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of two views."""
        momentum = cosine_schedule(self.epoch, 1000, 0.996, 1)
        utils.update_momentum(nn.Sequential(self.backbone, self.projection), self.target, m=momentum)
        p0, p1 = (self.prediction(self.projection(self.backbone(view))) for view in (first, second))
        with torch.no_grad():
            t0, t1 = self.target(first), self.target(second)
        found: Tensor = 0.5 * (self.criterion(p0, t1) + self.criterion(p1, t0))
        return found


class SimCLR(nn.Module):
    """Encoder and projector."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone, self.projection = backbone, modules.SimCLRProjectionHead(width, HIDDEN, OUT)
        self.criterion = loss.NTXentLoss()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of two views."""
        found: Tensor = self.criterion(*(self.projection(self.backbone(view)) for view in (first, second)))
        return found


class Loop:
    """A training whose epochs are `steps` steps long."""

    def __init__(
        self, shape: Shape, method: str, images: Tensor, device: torch.device, *, steps: int, workers: int
    ) -> None:
        backbone = shape.build()
        made = BYOL if method == "byol" else SimCLR
        self.model = made(backbone, backbone.out_dim).to(device).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.device, self.steps, self.ahead = device, steps, AHEAD * workers
        count = shape.batch * (steps + 2 + 2 * self.ahead)
        pictures = Pictures(images[torch.arange(count) % len(images)], transform(method, shape.size))
        self.loader: DataLoader[list[Tensor]] = DataLoader(
            pictures,
            batch_size=shape.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            persistent_workers=workers > 0,
        )

    def epoch(self) -> float:
        """Seconds of its steps, while workers make as many batches: neither the first nor the last are made meanwhile.

        A step that is not timed lets the workers fill their queue again.
        """
        began = ended = 0.0
        for number, (first, second) in enumerate(self.loader, -self.ahead):
            if number in (1, self.steps + 1):
                synchronize(self.device)
                began, ended = ended, time.perf_counter()
            if 0 <= number <= self.steps:
                found = self.model(first.to(self.device), second.to(self.device))
                found.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
        return ended - began

    def close(self) -> None:
        """Stop the workers."""
        del self.loader
