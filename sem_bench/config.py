"""The schema of every file and of every job's configuration: what is allowed, its defaults and its bounds.

A digest leaves out fields at their default (see `resolved`), so a new field with a default keeps old results valid;
changing a default changes what old digests mean: raise the version of the stages that read it (sem_bench.jobs).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sem_bench.validation import did_you_mean

MAX_WIDTH = 2**20  # the largest L*V

EMBEDDINGS = {
    "none": "the backbone's features go straight to the heads",
    "sem": "Linear, BatchNorm, then L softmaxes over V numbers at temperature tau",
    "gumbel": "as sem, but one-hot samples in training (straight-through); no noise at evaluation",
    "linear": "the same Linear and BatchNorm without the softmax: the control that isolates it",
}
BACKBONES = {
    "resnet18": "torchvision's ResNet-18, 512 features; 3x3 stem without pooling up to 64 px",
    "resnet50": "torchvision's ResNet-50, 2048 features; 3x3 stem without pooling up to 64 px",
    "resnet10w16": "one basic block a stage, widths 16 to 128, 128 features; 3x3 stem",
    "resnet10w16s2": "resnet10w16 with a stride-2 stem: four times fewer operations",
}
CORRUPTIONS = {
    "gaussian_noise": "normal noise on every number",
    "shot_noise": "Poisson noise of few photons",
    "impulse_noise": "black and white numbers",
    "defocus_blur": "a disc for each point",
    "motion_blur": "a line for each point",
    "zoom_blur": "zooming while the shutter is open",
    "fog": "light clouds before the scene",
    "brightness": "lighter all over",
    "contrast": "paler differences",
    "elastic_transform": "bent as on rubber",
    "pixelate": "larger pixels",
    "jpeg_compression": "JPEG at low quality",
}


def _unique(values: list[Any]) -> list[Any]:
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]!r} stands there twice")
    return values


def _increasing(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise ValueError(f"[{values[0]:g}, {values[1]:g}] is reversed")
    return values


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
Count = Annotated[int, Field(ge=0, le=10**6)]
BatchSize = Annotated[int, Field(ge=2, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Temperature = Positive
Range = Annotated[tuple[NonNegative, NonNegative], BeforeValidator(_as_tuple), AfterValidator(_increasing)]
Channels = Annotated[tuple[NonNegative, NonNegative, NonNegative], BeforeValidator(_as_tuple)]
PositiveChannels = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_unique)]
ClassName = Annotated[
    str, Field(pattern=r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$", max_length=100)
]  # also that of a folder
Classes = Annotated[list[ClassName], Field(min_length=2), AfterValidator(_unique)]
Members = Annotated[list[ClassName], Field(min_length=1), AfterValidator(_unique)]
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique)]
Fractions = Annotated[list[Fraction], Field(min_length=1), AfterValidator(_unique)]
Temperatures = Annotated[list[Temperature], Field(min_length=1), AfterValidator(_unique), AfterValidator(sorted)]
SplitName = Literal["train", "test"]
Scalar = bool | int | float | str
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.py$", max_length=60)]
# Where files lie on this machine: from the data folder, "~" is the home. It enters no digest and no result.
Where = Annotated[str, Field(exclude=True)]
ImageSize = Annotated[int, Field(ge=8, le=4096)]
Penalties = Annotated[list[Positive], Field(min_length=1), AfterValidator(_unique), AfterValidator(sorted)]


class Model(BaseModel):
    """Strict, closed and frozen: "2" is no number, an unknown key is an error, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, serialize_by_alias=True)


def resolved(model: BaseModel) -> dict[str, Any]:
    """A model as plain data without the fields at their default: what a digest sees."""
    return model.model_dump(mode="json", exclude_defaults=True)


# --- embeddings ------------------------------------------------------------------------------------------------------


class Embedding(Model):
    """What stands between backbone and heads. `tau` and `tau_target` left open come from the method's recipe."""

    type: Literal["none", "sem", "gumbel", "linear"]
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
        return self

    @property
    def heated(self) -> bool:
        """Whether it has a temperature."""
        return self.type in ("sem", "gumbel")

    @property
    def width(self) -> int:
        """L*V; 0 without an embedding."""
        return (self.L or 0) * (self.V or 0)


# --- method cards ----------------------------------------------------------------------------------------------------


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


# --- data set cards --------------------------------------------------------------------------------------------------


class PythonSource(Model):
    """`load(split, **arguments)` in a .py beside the card gives (images uint8 (N, H, W, 3), labels int (N,))."""

    type: Literal["python"]
    code: FileName | None = None  # None: NAME.py
    uses: Annotated[list[FileName], AfterValidator(_unique)] = []  # other files beside the card that the code loads
    arguments: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _free(self) -> Self:
        if taken := {"split", "count", "image_size", "root"} & self.arguments.keys():
            raise ValueError(f"arguments must not hold {min(taken)!r}, which the card's other keys give")
        return self


class FolderSource(Model):
    """Image files: PATH/SPLIT/CLASS/FILE, or anywhere below PATH/SPLIT where the card names no classes."""

    type: Literal["folder"]
    path: Where = ""
    archive: Where = ""  # what PATH is unpacked from while it is absent


class NpzSource(Model):
    """Arrays in one .npz: images uint8 (N, S, S, 3) or grey (N, S, S), labels of an integer type (N,) or (N, 1)."""

    type: Literal["npz"]
    path: Where = ""
    images: str = "{split}_images"
    labels: str = "{split}_labels"


class TorchvisionSource(Model):
    """A data set class of torchvision.datasets."""

    type: Literal["torchvision"]
    class_name: Name = Field(alias="class")
    path: Where = ""  # what the class gets as `root`
    download: Annotated[bool, Field(exclude=True)] = False  # let the class fetch what is absent
    arguments: dict[SplitName, dict[str, Scalar]] = {}  # of the class, by split; else from its own `train` or `split`


def _known_corruptions(names: list[str]) -> list[str]:
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"unknown corruption {name!r}{did_you_mean(name, CORRUPTIONS)}")
    return names


class CorruptedSource(Model):
    """The test images of another data set, corrupted (sem_bench.corruptions)."""

    type: Literal["corrupted"]
    of: Name
    corruptions: Annotated[Names, AfterValidator(_known_corruptions)]
    severities: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1), AfterValidator(_unique)]


Source = Annotated[
    PythonSource | FolderSource | NpzSource | TorchvisionSource | CorruptedSource, Field(discriminator="type")
]


class Normalisation(Model):
    """Channel mean and standard deviation of images in [0, 1]."""

    mean: Channels
    std: PositiveChannels

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if max(values) > 1:
                raise ValueError(f"{key} {max(values):g} is above 1: images count from 0 to 1 here, not to 255")
        return self


class DatasetCard(Model):
    """datasets/NAME.yaml. Without classes it serves pretraining only, without a train split as a shifted test set."""

    summary: str
    source: Source
    files: list[str] = []  # what must be on disk beside what the source names, from the data folder
    splits: dict[SplitName, Annotated[int, Field(ge=1)]] = {}  # number of images
    image_size: ImageSize | None = None  # what a network sees
    resize: ImageSize | None = None  # evaluation: the shorter side before the central crop; None: image_size
    reduce: ImageSize | None = None  # every image is reduced to this square once, when it is read
    classes: Classes | None = None
    superclasses: dict[ClassName, Members] = {}
    shifts: dict[Name, Name] = {}  # v2, r, a, c: the card of the shifted test set
    normalise: Normalisation | None = None
    licence: str

    @model_validator(mode="after")
    def _complete(self) -> Self:
        own = {"splits": self.splits, "image_size": self.image_size}
        if self.source.type == "corrupted":
            given = sorted(self.model_fields_set - {"summary", "source", "licence"})
            if given:
                raise ValueError(f"{given[0]} comes from {self.source.of!r}, which the corrupted set is made of")
            return self
        for key in ("splits", "image_size"):
            if not own[key]:
                raise ValueError(f"missing key {key!r}")
        if "train" in self.splits and self.normalise is None:
            raise ValueError("missing key 'normalise'")
        if self.source.type == "npz" and len(self.splits) > 1:
            for key in ("images", "labels"):
                if "{split}" not in getattr(self.source, key):
                    raise ValueError(f"source.{key}: without '{{split}}' in it, train and test would be the same")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source.type == "corrupted":
            return self
        if self.classes is None and set(self.splits) != {"train"}:
            raise ValueError("splits: a data set without classes has only train, for pretraining")
        if self.classes is None and (self.superclasses or self.shifts):
            raise ValueError("a data set without classes has no superclasses and no shifts")
        _unique(list(self.shifts.values()))
        if self.shifts and len(self.splits) < 2:
            raise ValueError("shifts belong to a data set with train and test")
        members = [member for group in self.superclasses.values() for member in group]
        if self.superclasses and sorted(members) != sorted(self.classes or []):
            odd = sorted(set(members) ^ set(self.classes or [])) or [m for m in members if members.count(m) > 1]
            raise ValueError(f"superclasses must hold every class once; look at {odd[0]!r}")
        for key, size in (("resize", self.resize), ("reduce", self.reduce)):
            if size is not None and self.image_size is not None and size < self.image_size:
                raise ValueError(f"{key}: {size} is below image_size, {self.image_size}")
        return self

    @property
    def labelled(self) -> bool:
        """Whether it can be evaluated on: classes, train and test."""
        return self.classes is not None and len(self.splits) == 2


# --- suites ----------------------------------------------------------------------------------------------------------


def _typed(embeddings: object) -> object:
    """A label that is itself an embedding type needs no `type`; an empty value stands for {}."""
    if not isinstance(embeddings, dict):
        return embeddings
    filled = {label: {} if settings is None else settings for label, settings in embeddings.items()}
    return {
        label: {"type": label} | settings if isinstance(settings, dict) and label in EMBEDDINGS else settings
        for label, settings in filled.items()
    }


def _settings(value: object) -> object:
    """What is named without settings takes its defaults."""
    return {} if value is None else value


class Images(Model):
    """How many images to use, of each class in proportion; a larger choice holds a smaller one."""

    pretrain: Annotated[int, Field(ge=1)] | None = None  # None: as `train` where both come from one data set
    train: Annotated[int, Field(ge=1)] | None = None  # labelled
    test: Annotated[int, Field(ge=1)] | None = None


class Grid(Model):
    """The arms: every method with every embedding on every backbone and data set."""

    methods: Names
    embeddings: Annotated[dict[Name, Embedding], Field(min_length=1), BeforeValidator(_typed)]
    backbones: Names
    datasets: Names
    evaluate_on: Name | None = None  # another data set than that of pretraining
    images: Annotated[Images, BeforeValidator(_settings)] = Images()


class Pretrain(Model):
    """Which recipe, and what to change in it for every method alike."""

    recipe: Name
    epochs: Count | None = None
    batch_size: BatchSize | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None


class ProbeSettings(Model):
    """Linear probes on frozen features, docs/protocol.md. `tau` is the grid of tau_d, `l2` its partner."""

    fractions: Fractions = [1.0, 0.01]
    tau: Temperatures = [0.1, 0.3, 1.0, 3.0, 10.0]
    l2: Penalties = [1e-7, 2e-6, 3e-5, 5e-4, 1e-2]

    @model_validator(mode="after")
    def _equal_search(self) -> Self:
        if len(self.tau) > 1 and len(self.l2) < 2:
            raise ValueError("l2 needs two values, or arms without a temperature could not search as many")
        return self


class KnnSettings(Model):
    """Weighted nearest neighbours, docs/protocol.md."""

    k: Annotated[int, Field(ge=1)] = 20
    temperature: Temperature = 0.1


class Evaluate(Model):
    """Which stages follow pretraining."""

    probe: Annotated[ProbeSettings | None, BeforeValidator(_settings)] = None
    knn: Annotated[KnnSettings | None, BeforeValidator(_settings)] = None


class Suite(Model):
    """A suite file, after its profile."""

    name: Name
    profile: Name | None = None
    seeds: Seeds
    grid: Annotated[list[Grid], Field(min_length=1), BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)]
    pretrain: Pretrain
    evaluate: Evaluate = Evaluate()


# --- configurations of jobs ------------------------------------------------------------------------------------------


class MethodRef(Model):
    """A method as a digest sees it: its name, its class and the hash of its code."""

    name: Name
    class_name: Name
    code: str
    labels: bool = False


class Data(Model):
    """What matters of a data set to whoever reads it."""

    name: Name
    source: Source
    code: str  # hash of the source's code; "" where it has none
    image_size: int
    normalise: Normalisation
    resize: int | None = None
    reduce: int | None = None

    @property
    def counts(self) -> dict[SplitName, int]:
        """The splits that are read, and how many images each has."""
        raise NotImplementedError

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.counts[split]


class TrainingData(Data):
    """A data set as pretraining sees it."""

    train: int
    limit: int | None = None  # use so many of its training images
    by_class: bool = True  # of each class in proportion; False: there are no classes

    @property
    def counts(self) -> dict[SplitName, int]:
        """Train alone."""
        return {"train": self.train}

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.limit or self.train


class LabelledData(TrainingData):
    """A data set as evaluation sees it."""

    test: int
    test_limit: int | None = None
    classes: Classes
    superclasses: dict[ClassName, Members] = {}

    @property
    def counts(self) -> dict[SplitName, int]:
        """Both splits."""
        return {"train": self.train, "test": self.test}

    def used(self, split: SplitName) -> int:
        """How many of a split's images are used."""
        return self.test_limit or self.test if split == "test" else super().used(split)


class ShiftedData(Data):
    """A test set of another distribution: some of the base set's classes, prepared as the base set."""

    test: int
    classes: Classes

    @property
    def counts(self) -> dict[SplitName, int]:
        """Test alone."""
        return {"test": self.test}


class PretrainJob(Model):
    """Everything that pretraining depends on."""

    method: MethodRef
    training: Training
    embedding: Embedding
    backbone: Name
    data: TrainingData
    seed: Seed


class ProbeJob(Model):
    """Everything that a probe depends on, beside the pretrained encoder."""

    data: LabelledData
    fraction: Fraction
    tau: list[Temperature]  # empty: the representation has no temperature
    fixed_tau: Temperature | None  # also reported: tau_d at the pretraining tau, without search
    l2: list[Positive]  # for each of `tau`
    fixed_l2: Penalties  # as many candidates for representations without a temperature
    seed: Seed


class KnnJob(Model):
    """Everything that the nearest neighbours depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: Temperature | None
    k: int
    temperature: Temperature
