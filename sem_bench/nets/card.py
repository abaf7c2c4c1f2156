"""Cards of embeddings and backbones, and what a suite says of an embedding.

A card is read and checked without torch: its class or function is looked at, not run.
"""

import ast
import math
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sem_bench.base import interrupts
from sem_bench.base.files import shown
from sem_bench.config.cards import Card, CardModel, Library, definition, load, parameters_of
from sem_bench.config.fields import FileName, Marker, Model, Name, Positive, Scalar, Temperature, defaults_for_nothing
from sem_bench.config.strict_yaml import YamlDocument
from sem_bench.config.validation import Document, Location, at, did_you_mean, dotted
from sem_bench.errors import UserError, described
from sem_bench.report.row import BASELINE

MAX_WIDTH = 2**20  # the largest output of an embedding
TEMPERATURES = ("tau", "tau_target")
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=60)]


class EmbeddingSettings(Model):
    """What stands between backbone and heads: the name of a card, and the parameters that it asks for.

    `tau` and `tau_target` left open come from the method's recipe. L and V are fields because digests know them so; the
    parameters of other embeddings are further keys. `settings_problems` holds all of them against the card.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    L: int | None = None
    V: int | None = None
    tau: Temperature | None = None
    tau_target: Temperature | None = None

    @property
    def heated(self) -> bool:
        """Whether a temperature is given; of an arm's resolved embedding: whether it has one at all."""
        return self.tau is not None

    @property
    def parameters(self) -> dict[str, Scalar]:
        """What is given beside type and temperatures."""
        return self.model_dump(exclude={"type", *TEMPERATURES}, exclude_none=True)


class Parameter(Model):
    """What a parameter of an embedding may be: a number within bounds, or one of some values."""

    low: float | None = Field(None, alias="from")
    high: float | None = Field(None, alias="to")
    whole: bool = False
    choices: Annotated[list[Scalar], Field(min_length=1)] | None = None
    default: Scalar | None = None  # None: a suite must give one

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.choices is not None and (self.whole or self.low is not None or self.high is not None):
            raise ValueError("has either choices, or numbers with `from`, `to` and `whole`")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"from {self.low:g} to {self.high:g} is reversed")
        if self.default is not None and (problem := self.problem(self.default)):
            raise ValueError(f"default {problem}")
        return self

    def problem(self, value: object) -> str:
        """What is wrong with a value; "" where nothing is."""
        if self.choices is not None:
            known = any(value == choice and type(value) is type(choice) for choice in self.choices)
            return "" if known else f"unknown value {value!r}{did_you_mean(value, map(str, self.choices))}"
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return f"should be a valid {'integer' if self.whole else 'number'}, found {_said(value)}"
        if not math.isfinite(value):
            return f"{value} is not a finite number"
        if self.low is not None and value < self.low:
            return f"should be greater than or equal to {self.low:g}, found {value}"
        if self.high is not None and value > self.high:
            return f"should be less than or equal to {self.high:g}, found {value}"
        return ""


class EmbeddingCard(CardModel):
    """embeddings/NAME.yaml; the class, a `sem_bench.embedding.Embedding`, stands in the code beside it."""

    class_name: Name = Field(alias="class")
    code: FileName | None = None  # None: NAME.py
    summary: str
    # Whether it takes tau, and tau_target where it is trained. "training": what is read afterwards hangs on neither.
    temperature: bool | Literal["training"] = False
    trained: bool = True  # False: it stands on the finished baseline
    parameters: dict[Identifier, Annotated[Parameter, BeforeValidator(defaults_for_nothing)]] = {}
    groups: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = (
        None  # how many vectors, of how many numbers
    )
    width: list[Name] | None = None  # their product is the width of the output; None: that of `groups`
    representation: Name | None = None  # what tables call the output; None: as the card
    marker: Marker | None = None  # in figures
    packages: dict[str, str] = {}  # that its code needs: distribution -> what to write after `pip install`

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.parameters:
            if name in ("type", *TEMPERATURES):
                raise ValueError(f"parameters: {name!r} is taken: temperatures come with `temperature: true`")
            if name in EmbeddingSettings.model_fields and not self.parameters[name].whole:
                raise ValueError(f"parameters: {name} is a whole number: add `whole: true`")
        if self.representation == "h" and (self.parameters or self.temperature):
            raise ValueError("representation: h is what the backbone gives: choose another name")
        for key, names in (("groups", self.groups), ("width", self.width)):
            for name in names or []:
                if name not in self.parameters:
                    raise ValueError(f"{key}: {name!r} is no parameter{did_you_mean(name, self.parameters)}")
                if not self.parameters[name].whole:
                    raise ValueError(f"{key}: {name} is a whole number: add `whole: true`")
        return self

    @property
    def main_code(self) -> str | None:
        """The Python file beside the card, where it is not NAME.py."""
        return self.code

    @property
    def temperatures(self) -> tuple[str, ...]:
        """Those that a suite may give."""
        return (TEMPERATURES if self.trained else TEMPERATURES[:1]) if self.temperature else ()

    @property
    def sizes(self) -> list[str]:
        """The parameters whose product is the width."""
        return self.width or self.groups or []

    def completed(self, asked: EmbeddingSettings) -> EmbeddingSettings:
        """The settings with the card's defaults where they give no value."""
        given = asked.parameters
        left = {name: one.default for name, one in self.parameters.items() if name not in given}
        return asked.model_copy(update={name: value for name, value in left.items() if value is not None})

    def out_dim(self, parameters: Mapping[str, Any]) -> int | None:
        """The width of the output with these parameters; None where the card does not say it."""
        return math.prod(int(parameters[name]) for name in self.sizes) if self.sizes else None

    def numbers(self, parameters: Mapping[str, Any]) -> list[int] | None:
        """How many probability vectors of how many numbers the output is, where it is."""
        return None if self.groups is None else [int(parameters[name]) for name in self.groups]


class Cost(Model):
    """What a backbone costs at 32 px, for estimates; by default that of one of which nothing is known."""

    speed: Positive = 50.0  # images a second through one training step of SimCLR, on two cores with bfloat16
    kept: Positive = 5.0  # MiB an image and view that the backward pass needs, in bfloat16
    weights: Positive = 20.0  # millions
    stem: Annotated[int, Field(ge=1)] = 1  # how many times fewer operations with the stem for large images


class BackboneCard(CardModel):
    """backbones/NAME.yaml; the function that builds it stands in the code beside it.

    With `models` it is a family: NAME/MODEL is built with `name=MODEL`, and the Python file `models` says in
    `problem(model)`, one line or "", why there is no such model.
    """

    build: Identifier
    code: FileName | None = None  # None: NAME.py
    summary: str
    arguments: dict[Identifier, Scalar] = {}  # keyword arguments of the function
    features: Annotated[int, Field(ge=1)] | None = None  # the width of h; None: not known before it is built
    cost: Cost = Cost()
    models: FileName | None = None
    packages: dict[str, str] = {}  # that its code needs: distribution -> what to write after `pip install`

    @property
    def main_code(self) -> str | None:
        """The Python file beside the card, where it is not NAME.py."""
        return self.code


def embedding_card(library: Library, name: str) -> Card[EmbeddingCard]:
    """The card of an embedding. Raises UserError for a faulty one, KeyError for an unknown one."""
    return library.checked("embedding", name, EmbeddingCard, check=_check_embedding)


def backbone_card(library: Library, name: str) -> Card[BackboneCard]:
    """The card of a backbone, or of the family before a "/".

    Raises UserError for a faulty one, KeyError for an unknown one, and ValueError, one line, for an unknown model.
    """
    family, slash, model = name.partition("/")
    card = library.checked("backbone", family, BackboneCard, check=_check_backbone)
    if card.content.models is None and slash:
        raise KeyError(name)
    if card.content.models is not None and not slash:
        raise ValueError(f"{name}: write {name}/ and the name of a model")
    if problem := absent_packages(card.content) or _model_problem(card, model):
        raise ValueError(f"{name}: {problem}")
    return card


def absent_packages(card: EmbeddingCard | BackboneCard) -> str:
    """What to install before the code of a card can run, in words; "" where all is there."""
    absent = {package: install for package, install in card.packages.items() if not _installed(package)}
    return f"needs {' and '.join(absent)}: pip install {' '.join(absent.values())}" if absent else ""


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _model_problem(card: Card[BackboneCard], model: str) -> str:
    if card.content.models is None:
        return ""
    try:
        return str(load(card.source(card.content.models)).problem(model))
    except BaseException as error:  # own code fails in its own way
        interrupts.pass_on(error)
        return f"{card.content.models} fails: {described(error)}"


def backbone_cards(library: Library) -> list[Card[BackboneCard]]:
    """All of them, families too. Raises UserError for a faulty one."""
    return [
        library.checked("backbone", name, BackboneCard, check=_check_backbone) for name in library.names("backbone")
    ]


def backbone_title(card: Card[BackboneCard]) -> str:
    """What a suite writes: the card's name; of a family "timm/NAME"."""
    return card.name if card.content.models is None else f"{card.name}/NAME"


def settings_problems(library: Library, document: Document, location: Location) -> list[str]:
    """What is wrong with an embedding in a suite, held against its card; `location` ends in the embedding's label.

    The types of the keys that all embeddings know, and whether a temperature is above 0, the schema says.
    """
    written = document.data
    for part in location:
        written = written[part]  # type: ignore[index]
    if not isinstance(written, dict | None):
        return []
    given = {key: value for key, value in (written or {}).items() if value is not None}
    kind, where, names = given.pop("type", location[-1]), dotted(location), library.names("embedding")
    if kind not in names:
        if "type" not in (written or {}):
            own = str(kind).lower()
            hint = f"; write {own!r} for {kind!r}" if own in names else ""
            return [at(document, location, f"missing key 'type' in {where}{hint}")]
        text = f"{where}.type: unknown type {kind!r}{did_you_mean(kind, names)}"
        return [at(document, (*location, "type"), text)] if isinstance(kind, str) else []
    try:
        card = embedding_card(library, str(kind)).content
    except UserError as error:
        return error.problems
    if absent := absent_packages(card):
        return [at(document, location, f"{where}: embedding type {kind} {absent}")]
    problems = [at(document, (*location, *key), text) for key, text in _misfits(card, str(kind), given, where)]
    if not problems and all(isinstance(given.get(name), int) for name in card.sizes) and card.sizes:
        width = math.prod(given[name] for name in card.sizes)
        if width > MAX_WIDTH:
            text = f"{where}: {'*'.join(card.sizes)} = {width} is above the limit of {MAX_WIDTH}"
            problems.append(at(document, location, text))
    return problems


def _misfits(card: EmbeddingCard, kind: str, given: Mapping[str, Any], where: str) -> Iterable[tuple[Location, str]]:
    """(key, what is wrong) of the keys of an embedding beside its type."""
    known = [*card.parameters, *card.temperatures]
    refused = [key for key in given if key not in known and key in EmbeddingSettings.model_fields]
    if refused:
        why = ": no branch is trained with it" if card.temperature and refused == ["tau_target"] else ""
        yield (), f"{where}: embedding type {kind} takes no {' or '.join(refused)}{why}"
    for key in given:
        if key not in known and key not in EmbeddingSettings.model_fields:
            yield (key,), f"unknown key {key!r} in {where}{did_you_mean(key, ['type', *known])}"
    absent = [name for name, one in card.parameters.items() if name not in given and one.default is None]
    if absent:
        yield (), f"{where}: embedding type {kind} needs {' and '.join(absent)}"
    for name, one in card.parameters.items():
        typed = name not in EmbeddingSettings.model_fields or type(given.get(name)) is int
        if name in given and typed and (problem := one.problem(given[name])):
            yield (name,), f"{where}.{name}: {problem}"


def _said(value: object) -> str:
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)


def _check_embedding(card: Card[EmbeddingCard]) -> None:
    """The class exists and takes just the parameters of the card; the baseline is ours."""
    content = card.content
    if card.name == BASELINE and not card.shipped:
        raise UserError(at(card.document, (), f"{BASELINE!r} is the baseline of all gains: give it another name"))
    node = definition(card, "class", content.class_name, ast.ClassDef)
    taken = parameters_of(node)
    if taken is None:
        return
    places: dict[str, Location] = {name: ("parameters", name) for name in content.parameters}
    places |= dict.fromkeys(content.temperatures, ("temperature",))
    _check_fit(card.document, content.class_name, taken, places, ("parameters",))


def _check_backbone(card: Card[BackboneCard]) -> None:
    """The function exists, and takes the size of images, `zero_init_residual` and the arguments of the card."""
    content = card.content
    taken = parameters_of(definition(card, "build", content.build, ast.FunctionDef))
    if content.models is not None and not card.path.with_name(content.models).is_file():
        text = f"the code {shown(card.path.with_name(content.models))} is missing"
        raise UserError(at(card.document, ("models",), text))
    if taken is None:
        return
    places: dict[str, Location] = {"image_size": ("build",), "zero_init_residual": ("build",)}
    places |= {"name": ("models",)} if content.models is not None else {}
    places |= {name: ("arguments", name) for name in content.arguments}
    _check_fit(card.document, content.build, taken, places, ("arguments",))


def _check_fit(
    document: YamlDocument,
    callee: str,
    taken: Mapping[str, bool],
    given: Mapping[str, Location],
    needed: Location,
) -> None:
    """`taken`: parameter -> whether it is required; `given`: parameter -> what in the card gives it."""
    problems = [
        at(document, place, f"{callee} takes no parameter {name!r}{did_you_mean(name, taken)}")
        for name, place in given.items()
        if name not in taken
    ]
    problems += [
        at(document, needed, f"the card lacks {callee}'s parameter {name!r}")
        for name, required in taken.items()
        if required and name not in given
    ]
    if problems:
        raise UserError(problems)
