"""DINO (Caron et al., ICCV 2021): a student matches the centred, sharpened output of a momentum teacher."""

import torch
from lightly.loss import DINOLoss
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method, momentum_copy, momentum_update, still


class Head(nn.Module):
    """Three layers to a bottleneck of unit length, then cosines with prototypes of unit length (appendix C)."""

    def __init__(self, in_dim: int, hidden: int, bottleneck: int, prototypes: int, *, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (in_dim, hidden):
            norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers += [nn.Linear(width, hidden), *norm, nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """(B, in_dim) -> (B, prototypes); with `frozen` the prototypes' gradient is 0."""
        weight = still(self.prototypes.weight) if frozen else self.prototypes.weight
        return F.linear(F.normalize(self.layers(x), dim=1), F.normalize(weight, dim=1))


class DINO(Method):
    """The teacher starts as a copy of the student and averages encoder (with its embedding) and head.

    The teacher sees the first two views at tau_target, the student all of them at tau (multi-crop). The teacher's
    temperature rises linearly over the share `warmup` of the training; the prototypes stand still for the share
    `frozen`.
    """

    progress: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: int,
        bottleneck: int,
        prototypes: int,
        batch_norm: bool,
        student_temperature: float,
        first_temperature: float,
        teacher_temperature: float,
        warmup: float,
        frozen: float,
        centre_momentum: float,
        momentum: float,
    ) -> None:
        super().__init__(encoder)
        self.head = Head(encoder.out_dim, hidden, bottleneck, prototypes, batch_norm=batch_norm)
        self.teacher_encoder = momentum_copy(encoder)
        self.teacher_head = momentum_copy(self.head)
        self.criterion = DINOLoss(prototypes, student_temp=student_temperature, center_momentum=centre_momentum)
        self.first_temperature, self.teacher_temperature = first_temperature, teacher_temperature
        self.warmup, self.frozen, self.momentum = warmup, frozen, momentum
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))  # the share of the training that is over

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Logits (B, prototypes): the teacher's of two views, then the student's of all."""
        frozen = bool(self.progress < self.frozen)
        with torch.no_grad():
            teacher = [self.teacher_head(self.teacher_encoder.target(view)) for view in batch.views[:2]]
        return *teacher, *(self.head(self.encoder(view), frozen=frozen) for view in batch.views)

    def loss(self, *outputs: Tensor) -> Tensor:
        """Equation 3, the mean over all pairs of different views; then the centre moves (equation 4)."""
        loss: Tensor = self.criterion(list(outputs[:2]), list(outputs[2:]), teacher_temp=self.temperature_now())
        return loss

    def temperature_now(self) -> float:
        """The teacher's temperature in the present step."""
        share = min(float(self.progress) / self.warmup, 1.0) if self.warmup else 1.0
        return self.first_temperature + share * (self.teacher_temperature - self.first_temperature)

    def after_step(self, step: int, total: int) -> None:
        """The teacher's momentum grows to 1 along a cosine."""
        momentum = cosine_schedule(step, total, self.momentum, 1.0)
        momentum_update(self.encoder, self.teacher_encoder, momentum)
        momentum_update(self.head, self.teacher_head, momentum)
        self.progress.fill_((step + 1) / total)
