"""Method cards: recipes, and all that a recipe consists of."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sem_bench.config.fields import (
    BatchSize,
    Count,
    ImageSize,
    Model,
    Name,
    NonNegative,
    Positive,
    Probability,
    Range,
    Scalar,
    Temperature,
)


class Augmentation(Model):
    """One view of an image. Fields as in torchvision's transforms; probabilities and strengths default to off."""

    size: ImageSize | None = None  # pixels; None: the data set's image_size
    crop_scale: Range = (1.0, 1.0)  # share of the area (RandomResizedCrop; aspect ratio 3/4 to 4/3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.0
    jitter: Probability = 0.0
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    grey: Probability = 0.0
    blur: Probability = 0.0
    blur_sigma: Range = (0.1, 2.0)  # pixels
    solarize: Probability = 0.0

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale {list(self.crop_scale)} must lie in (0, 1]")
        if self.blur and self.blur_sigma[0] <= 0:
            raise ValueError("blur_sigma must be above 0")
        return self


class Optimizer(Model):
    """How weights move. `lr` is per 256 images where `lr_per_256` says so, else as it stands."""

    name: Literal["sgd", "lars", "adamw"]
    lr: Positive
    lr_per_256: bool = True
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0  # weights only: never biases, never normalisation layers
    trust_coefficient: Positive = 0.001  # LARS


class SemTemperatures(Model):
    """The temperatures of the SEM arm where the suite names none."""

    tau: Temperature
    tau_target: Temperature | None = None  # None: as tau


class Training(Model):
    """How a method is trained."""

    epochs: Count
    batch_size: BatchSize
    optimizer: Optimizer
    warmup_epochs: NonNegative = 0.0  # linear from 0; then cosine to min_lr, both per step
    min_lr: NonNegative = 0.0
    views: Annotated[list[Augmentation], Field(min_length=1)]
    parameters: dict[str, Scalar] = {}  # the keyword arguments of the method's class


class Recipe(Training):
    """A method's hyper-parameters for a kind of data: complete, so that nothing depends on another file."""

    source: str  # where the values come from
    sem: SemTemperatures


class MethodCard(Model):
    """methods/NAME.yaml; the class stands in NAME.py beside it."""

    summary: str
    source: str
    class_name: Name = Field(alias="class")
    labels: bool = False  # reads labels: a supervised reference, no self-supervised method
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]
