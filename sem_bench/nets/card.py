"""Embeddings: what stands between backbone and heads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sem_bench.config.fields import Model, Temperature

MAX_WIDTH = 2**20  # the largest L*V


class EmbeddingSettings(Model):
    """What stands between backbone and heads. `tau` and `tau_target` left open come from the method's recipe."""

    type: Literal["none", "sem", "gumbel", "linear", "untrained"]
    L: Annotated[int, Field(ge=1)] | None = None
    V: Annotated[int, Field(ge=2)] | None = None
    tau: Temperature | None = None
    tau_target: Temperature | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        sized = {"L": self.L, "V": self.V}
        heated = {"tau": self.tau, "tau_target": self.tau_target}
        if self.type == "none":
            given = [key for key, value in (sized | heated).items() if value is not None]
            if given:
                raise ValueError(f"embedding type none takes no {' or '.join(given)}")
            return self
        absent = [key for key, value in sized.items() if value is None]
        if absent:
            raise ValueError(f"embedding type {self.type} needs {' and '.join(absent)}")
        if self.width > MAX_WIDTH:
            raise ValueError(f"L*V = {self.width} is above the limit of {MAX_WIDTH}")
        given = [key for key, value in heated.items() if value is not None]
        if self.type == "linear" and given:
            raise ValueError(f"embedding type linear takes no {' or '.join(given)}: it has no softmax")
        if self.type == "untrained" and self.tau_target is not None:
            raise ValueError("embedding type untrained takes no tau_target: no branch is trained with it")
        return self

    @property
    def heated(self) -> bool:
        """Whether it has a temperature."""
        return self.type in ("sem", "gumbel", "untrained")

    @property
    def width(self) -> int:
        """L*V; 0 without an embedding."""
        return (self.L or 0) * (self.V or 0)


EMBEDDINGS = {
    "none": "the backbone's features go straight to the heads",
    "sem": "Linear, BatchNorm, then L softmaxes over V numbers at temperature tau",
    "gumbel": "as sem, but one-hot samples in training (straight-through); no noise at evaluation",
    "linear": "the same Linear and BatchNorm without the softmax: the control that isolates it",
    "untrained": "sem put on the finished baseline and never trained: the control for what its layer gives by itself",
}
BACKBONES = {
    "resnet18": "torchvision's ResNet-18, 512 features; 3x3 stem without pooling up to 64 px",
    "resnet50": "torchvision's ResNet-50, 2048 features; 3x3 stem without pooling up to 64 px",
    "resnet18p2": "as resnet18, its 3x3 stem padded by 2 as in solo-learn and the SEM code: for their checkpoints",
    "resnet50p2": "as resnet50, its 3x3 stem padded by 2 as in solo-learn and the SEM code: for their checkpoints",
    "resnet10w16": "one basic block a stage, widths 16 to 128, 128 features; 3x3 stem",
    "resnet10w16s2": "resnet10w16 with a stride-2 stem: four times fewer operations",
}
