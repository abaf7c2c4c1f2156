"""Method cards: recipes, and all that a recipe consists of."""

import ast
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.cards import Card, CardModel, Library, definition, parameters_of
from sem_bench.config.fields import (
    BatchSize,
    Bounds,
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
    unique,
)
from sem_bench.config.validation import at, did_you_mean, known
from sem_bench.errors import UserError
from sem_bench.training.optimisers import OPTIMISERS

Alpha = Annotated[Positive | None, Field(exclude_if=lambda value: value is None)]  # not in the files of jobs without


class Augmentation(Model):
    """One view of an image. Fields as in torchvision's transforms; probabilities and strengths default to off."""

    size: ImageSize | None = None  # pixels; None: the data set's image_size
    crop_scale: Range = (1.0, 1.0)  # share of the area (RandomResizedCrop; aspect ratio 3/4 to 4/3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.0  # left to right
    jitter: Probability = 0.0  # of the four changes of colour below, in random order
    brightness: NonNegative = 0.0  # times 1 - this to 1 + this, as contrast and saturation
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # of a turn, to either side
    grey: Probability = 0.0
    blur: Probability = 0.0  # Gaussian
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

    name: Annotated[str, known(OPTIMISERS)]
    lr: Positive
    lr_per_256: bool = True
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0
    all_alike: bool = False  # biases and normalisation layers decay too, and LARS adapts their rate; else neither
    trust_coefficient: Positive = 0.001  # LARS
    trust_limit: bool = False  # LARS: no rate above lr, which makes trust_coefficient / lr matter
    gradient_norm: Positive | None = None  # longer gradients are cut to this
    constant: Annotated[list[str], AfterValidator(unique)] = []  # parts of the method whose lr stays at its peak

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for owner, kind in OPTIMISERS.items():
            for key in kind.own if owner != self.name else ():
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} belongs to {owner}, not to {self.name}")
        return self


class SemTemperatures(Model):
    """The temperatures of the SEM arm where the suite names none."""

    tau: Temperature
    tau_target: Temperature | None = None  # None: as tau


class Training(Model):
    """How a method is trained."""

    epochs: Count
    batch_size: BatchSize  # what goes through the network at once: BatchNorm and negatives see no more
    accumulate: Annotated[int, Field(ge=1, le=10**4)] = 1  # so many batches make a step; lr_per_256 counts them all
    optimizer: Optimizer
    schedule: Literal["cosine", "constant"] = "cosine"  # after the warm-up
    warmup_epochs: NonNegative = 0.0  # linear from 0; then cosine to min_lr, both per step
    min_lr: NonNegative = 0.0
    zero_init_residual: bool = False  # a ResNet's blocks start as the identity (Goyal et al. 2017, section 5.1)
    views: Annotated[list[Augmentation], Field(min_length=1)]
    parameters: dict[str, Scalar] = {}  # the keyword arguments of the method's class
    mixup: Alpha = None  # the first view is mixed with other images, in shares from Beta(mixup, mixup); None: it is not

    @property
    def step_size(self) -> int:
        """Images to an optimiser step."""
        return self.batch_size * self.accumulate


class IpIrmSettings(Model):
    """IP-IRM: partitions of the training images, and an invariant loss over their subsets (sem_bench.ip_irm)."""

    every: Annotated[int, Field(ge=1)] = 50  # epochs between two partitions; the first is found before training
    weight: NonNegative = 0.2  # of the penalty in training: lambda 1
    partition_weight: NonNegative = 0.2  # of the penalty while a partition is sought: lambda 2
    temperature: Temperature = 0.5  # of the penalty's logits
    batch_size: BatchSize = 3096  # while a partition is sought
    passes: Annotated[int, Field(ge=1)] = 61  # over the training images, at most, for each partition


class Recipe(Training):
    """A method's hyper-parameters for a kind of data: complete, so that nothing depends on another file."""

    source: str  # where the values come from
    sem: SemTemperatures


class MethodCard(CardModel):
    """methods/NAME.yaml; the class stands in NAME.py beside it."""

    summary: str
    source: str
    class_name: Name = Field(alias="class")
    labels: bool = False  # reads labels: a supervised reference, no self-supervised method
    # The part of the class that projects what the encoder gives: the method contrasts the projections of two views, by
    # their cosines at the parameter `temperature`. Such a method can be trained with MixUp.
    contrasts: Name | None = None
    external: bool = False  # trains nothing: the encoder's weights come from the grid's `checkpoint`
    smallest_batch: BatchSize = 2  # that it can be trained with: batches of less are refused
    smallest_step: BatchSize = 2  # images a step that the recipes' own `lr` is good for, where it is not scaled
    limits: dict[str, Bounds] = {}  # parameter -> the smallest and the largest number that makes sense
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]


def method_card(library: Library, name: str) -> Card[MethodCard]:
    """The card of a method. Raises UserError for a faulty one, KeyError for an unknown one."""
    return library.checked("method", name, MethodCard, check=_check)


def _check(card: Card[MethodCard]) -> None:
    _check_class(card)
    _check_batches(card)
    _check_limits(card)
    _check_mixup(card)


def defines(card: Card[MethodCard], function: str) -> bool:
    """Whether the class of a method has a function of that name itself."""
    node = definition(card, "class", card.content.class_name, ast.ClassDef)
    return any(isinstance(part, ast.FunctionDef) and part.name == function for part in node.body)


def _check_class(card: Card[MethodCard]) -> None:
    """The class exists, and every recipe gives just the parameters that it takes: found out without importing torch."""
    wanted = card.content.class_name
    taken = parameters_of(definition(card, "class", wanted, ast.ClassDef))
    if taken is None:
        return
    if card.content.labels:
        taken.pop("classes", None)  # comes from the data set
    problems = []
    for name, recipe in card.content.recipes.items():
        here = ("recipes", name, "parameters")
        for key in recipe.parameters:
            if key not in taken:
                text = f"{wanted} takes no parameter {key!r}{did_you_mean(key, taken)}"
                problems.append(at(card.document, (*here, key), text))
        for key, required in taken.items():
            if required and key not in recipe.parameters:
                problems.append(at(card.document, here, f"recipe {name!r} lacks {wanted}'s parameter {key!r}"))
    if problems:
        raise UserError(problems)


def _check_batches(card: Card[MethodCard]) -> None:
    """No recipe has a smaller batch than the card says to be the smallest."""
    least, problems = card.content.smallest_batch, []
    for name, recipe in card.content.recipes.items():
        if recipe.batch_size < least:
            text = f"{recipe.batch_size} is below `smallest_batch`, {least}"
            problems.append(at(card.document, ("recipes", name, "batch_size"), text))
    if problems:
        raise UserError(problems)


def _check_limits(card: Card[MethodCard]) -> None:
    """Every recipe's parameters lie where the card says that they make sense."""
    content, problems = card.content, []
    for key, (low, high) in content.limits.items():
        own = {name: recipe.parameters[key] for name, recipe in content.recipes.items() if key in recipe.parameters}
        if not own:
            problems.append(at(card.document, ("limits", key), f"no recipe has a parameter {key!r}"))
        for name, value in own.items():
            if isinstance(value, bool | str) or not low <= value <= high:
                text = f"{key} must lie from {low:g} to {high:g}, found {value}"
                problems.append(at(card.document, ("recipes", name, "parameters", key), text))
    if problems:
        raise UserError(problems)


def _check_mixup(card: Card[MethodCard]) -> None:
    """What `contrasts` says of the class and its recipes is so, and no recipe without it has `mixup`."""
    content, problems = card.content, []
    if content.contrasts is not None:
        node = definition(card, "class", content.class_name, ast.ClassDef)
        if not any(isinstance(part, ast.Attribute) and part.attr == content.contrasts for part in ast.walk(node)):
            text = f"{content.class_name} has no part {content.contrasts!r}"
            problems.append(at(card.document, ("contrasts",), text))
    for name, recipe in content.recipes.items() if content.contrasts is not None else ():
        if len(recipe.views) != 2:
            text = f"a method that `contrasts` two views has recipes of 2, found {len(recipe.views)}"
            problems.append(at(card.document, ("recipes", name, "views"), text))
        if "temperature" not in recipe.parameters:
            text = f"a method that `contrasts` two views has a parameter `temperature`; recipe {name!r} lacks it"
            problems.append(at(card.document, ("recipes", name, "parameters"), text))
    for name, recipe in content.recipes.items() if content.contrasts is None else ():
        if recipe.mixup is not None:
            text = f"{card.name} cannot be trained with MixUp: its card has no `contrasts`"
            problems.append(at(card.document, ("recipes", name, "mixup"), text))
    if problems:
        raise UserError(problems)
