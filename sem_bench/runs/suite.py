"""Suites: which arms, how to pretrain, what to evaluate."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from sem_bench.config.fields import (
    BackboneName,
    BatchSize,
    Count,
    Model,
    Name,
    Names,
    NonNegative,
    Positive,
    Seeds,
    defaults_for_nothing,
    unique,
)
from sem_bench.evaluation import AnyEvaluation
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import Alpha, IpIrmSettings


def _typed(embeddings: object) -> object:
    """A label that is itself an embedding type needs no `type`; an empty value stands for what is left out."""
    if not isinstance(embeddings, dict):
        return embeddings
    filled = {label: {} if settings is None else settings for label, settings in embeddings.items()}
    return {
        label: {"type": label} | {key: value for key, value in settings.items() if value is not None}
        if isinstance(settings, dict)
        else settings
        for label, settings in filled.items()
    }


class Images(Model):
    """How many images to use, of each class in proportion; a larger choice holds a smaller one."""

    pretrain: Annotated[int, Field(ge=1)] | None = None  # None: as `train` where both come from one data set
    train: Annotated[int, Field(ge=1)] | None = None  # labelled
    test: Annotated[int, Field(ge=1)] | None = None


class Changes(Model):
    """What to change in a recipe for every method alike."""

    recipe: Name | None = None  # of each method's card
    epochs: Count | None = None
    batch_size: BatchSize | None = None  # images that go through the network at once
    accumulate: Annotated[int, Field(ge=1)] | None = None  # batches that make an optimiser step
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    mixup: Alpha = None  # as in a recipe, for methods whose card has `contrasts`


class Pretrain(Changes):
    """Which recipe, and what to change in it."""

    recipe: Name  # of each method's card


class Grid(Model):
    """The arms: every method with every embedding on every backbone and data set."""

    methods: Names  # `list methods`
    # By label; the type is the label's name where it is not given. `none` is the baseline. `list embeddings`
    embeddings: Annotated[dict[Name, EmbeddingSettings], Field(min_length=1), BeforeValidator(_typed)]
    backbones: Annotated[list[BackboneName], Field(min_length=1), AfterValidator(unique)]  # `list backbones`
    datasets: Names  # of pretraining; `list datasets`
    ip: Annotated[IpIrmSettings | None, BeforeValidator(defaults_for_nothing)] = None  # IP-IRM around each method
    checkpoint: Annotated[str | None, Field(exclude=True, min_length=1)] = (
        None  # method external: its weights, from the data folder
    )
    prefix: str | None = None  # what the keys of its encoder begin with; None: found out
    # grey: its first layer has one channel, and reads the luma of an image. Of all that is kept the job says it.
    input: Annotated[Literal["rgb", "grey"], Field(exclude=True)] = "rgb"
    evaluate_on: Name | None = None  # another data set than that of pretraining
    images: Annotated[Images, BeforeValidator(defaults_for_nothing)] = Images()  # default: all
    pretrain: Annotated[Changes, BeforeValidator(defaults_for_nothing)] = (
        Changes()
    )  # these arms' own, before the suite's


class Evaluate(Model):
    """Which evaluations follow pretraining; `suite_model` gives it a field for each that there is."""


class SweepUse(Model):
    """A sweep that a suite contains."""

    use: Name  # `list sweeps`
    trials: Annotated[int, Field(ge=1)] | None = None  # None: as the sweep says
    methods: Names | None = None  # None: as the sweep says


class Suite(Model):
    """A suite file, after its profile."""

    name: Name  # of its tables and its manifest
    profile: Name | None = None  # which of the file's `profiles` changes it
    seeds: Seeds  # every arm is trained with each
    # One or a list: each a product of methods, embeddings, backbones and data sets.
    grid: Annotated[list[Grid], Field(min_length=1), BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)]
    pretrain: Pretrain  # how every arm is trained
    evaluate: Evaluate = Evaluate()  # what follows; `list evaluations`
    # The random backbone stands in every table of comparison. Sweeps compare dumps of suites, and have no such table.
    floor: Annotated[bool, Field(exclude=True)] = False
    sweeps: list[SweepUse] = []  # done last

    def pretraining(self, grid: Grid) -> Pretrain:
        """The suite's choice of recipe and changes, with those of a grid's own."""
        return self.pretrain.model_copy(update=grid.pretrain.model_dump(exclude_none=True))

    def asked(self, evaluation: str) -> Any:
        """The settings of an evaluation; None where the suite does not ask for it."""
        return getattr(self.evaluate, evaluation, None)

    def evaluated_by(self, **settings: Model) -> Self:
        """The same suite with these evaluations and no others."""
        return self.model_copy(update={"evaluate": type(self.evaluate)(**settings)})


def suite_model(evaluations: Mapping[str, AnyEvaluation]) -> type[Suite]:
    """The schema of suites that can ask for these evaluations."""
    return _suite_model(tuple(evaluations.values()))


@cache
def _suite_model(evaluations: tuple[AnyEvaluation, ...]) -> type[Suite]:
    def lacking(asked: Evaluate) -> Evaluate:
        others = dict(asked)
        for evaluation in evaluations:
            if others[evaluation.name] is not None:
                for text in evaluation.lacks(others[evaluation.name], others):
                    raise ValueError(text)
        return asked

    fields: dict[str, Any] = {evaluation.name: _asked_field(evaluation) for evaluation in evaluations}
    validators: dict[str, Any] = {"lacking": model_validator(mode="after")(lacking)}
    evaluate = create_model("Evaluate", __base__=Evaluate, __validators__=validators, **fields)
    return create_model("Suite", __base__=Suite, __doc__=Suite.__doc__, evaluate=(evaluate, evaluate()))


def _asked_field(evaluation: AnyEvaluation) -> tuple[Any, Any]:
    """What is named without settings takes its defaults, where it has them all."""
    annotation: Any = evaluation.Settings | None
    if not any(one.is_required() for one in evaluation.Settings.model_fields.values()):
        annotation = Annotated[annotation, BeforeValidator(defaults_for_nothing)]
    if evaluation.source is None and evaluation.in_every_dump:
        return annotation, None
    # Dumps of suites that do not ask for it, which sweeps compare, stay as they are where nobody has it.
    return annotation, Field(default=None, exclude_if=lambda asked: asked is None)
