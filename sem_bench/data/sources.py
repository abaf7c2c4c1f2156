"""The kinds of sources of images: what a card says of each."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sem_bench.config.fields import FileName, Model, Name, Names, Scalar, SplitName, Where, unique
from sem_bench.config.validation import did_you_mean

Severities = Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(unique)]
Corruption = tuple[str, int]
"""A corruption and its severity."""


class AnySource(Model):
    """Where images come from."""

    @property
    def kinds(self) -> list[Corruption]:
        """What a corrupted set holds, each a test set of its own; empty for any other set."""
        return []

    @property
    def main_code(self) -> str | None:
        """The Python file that reads it, where it is not NAME.py."""
        return None

    @property
    def more_code(self) -> list[str]:
        """Other Python files beside the card."""
        return []


class PythonSource(AnySource):
    """`load(split, **arguments)` in a .py beside the card gives images and labels int (N,).

    The images are an array uint8 (N, H, W, 3), or a list of the paths of files, which are read when they are needed.
    """

    type: Literal["python"]
    code: FileName | None = None  # None: NAME.py
    uses: Annotated[list[FileName], AfterValidator(unique)] = []  # other files beside the card that the code loads
    arguments: dict[str, Scalar] = {}

    @model_validator(mode="after")
    def _free(self) -> Self:
        if taken := {"split", "count", "image_size", "root", "classes"} & self.arguments.keys():
            raise ValueError(f"arguments must not hold {min(taken)!r}, which the card's other keys give")
        return self

    @property
    def main_code(self) -> str | None:
        """The Python file that reads it, where it is not NAME.py."""
        return self.code

    @property
    def more_code(self) -> list[str]:
        """Other Python files beside the card."""
        return self.uses


class CorruptibleSource(AnySource):
    """Images that may be there under corruptions at several severities."""

    corruptions: Annotated[list[Name], AfterValidator(unique)] = []
    severities: Severities = []

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.corruptions) != bool(self.severities):
            raise ValueError("corruptions and severities belong together")
        return self

    @property
    def kinds(self) -> list[Corruption]:
        """All pairs of a corruption and a severity."""
        return [(name, severity) for name in self.corruptions for severity in self.severities]


class FolderSource(CorruptibleSource):
    """Image files: PATH/SPLIT/CLASS/FILE, or anywhere below PATH/SPLIT where the card names no classes.

    With corruptions PATH/CORRUPTION/SEVERITY/CLASS/FILE, test images only.
    """

    type: Literal["folder"]
    path: Where = ""
    folders: Annotated[dict[SplitName, str], Field(exclude=True)] = {}  # a split's folder, where it has another name
    names: Literal["classes", "numbers"] = "classes"  # numbers: folder i is that of the i-th class in sorted order
    archive: Where = ""  # what PATH is unpacked from while it is absent


class NpySource(CorruptibleSource):
    """Arrays in files of their own in the folder PATH, not read before they are needed; as in an .npz otherwise.

    With corruptions each of them has a file of images, the severities one after the other in equal blocks.
    """

    type: Literal["npy"]
    path: Where = ""
    images: str = "{split}_images.npy"  # {split} or {corruption} stands for the name
    labels: str = "{split}_labels.npy"


class NpzSource(AnySource):
    """Arrays in one .npz: images uint8 (N, S, S, 3) or grey (N, S, S), labels of an integer type (N,) or (N, 1)."""

    type: Literal["npz"]
    path: Where = ""
    images: str = "{split}_images"
    labels: str = "{split}_labels"


Arguments = dict[str, Scalar]


class TorchvisionSource(AnySource):
    """A data set class of torchvision.datasets."""

    type: Literal["torchvision"]
    class_name: Name = Field(alias="class")
    path: Where = ""  # what the class gets as `root`
    download: Annotated[bool, Field(exclude=True)] = False  # let the class fetch what is absent
    # Of the class, by split; else from its own `train` or `split`. A list of them: all these together are the split.
    arguments: dict[SplitName, Arguments | Annotated[list[Arguments], Field(min_length=1)]] = {}


class CorruptedSource(CorruptibleSource):
    """The test images of another data set, corrupted: by sem_bench.corruptions, or by the package imagecorruptions."""

    type: Literal["corrupted"]
    of: Name
    using: Literal["sem_bench", "imagecorruptions"] = "sem_bench"
    corruptions: Names
    severities: Annotated[Severities, Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = list(CORRUPTIONS) if self.using == "sem_bench" else PUBLISHED_CORRUPTIONS
        for name in self.corruptions:
            if name not in known:
                raise ValueError(f"unknown corruption {name!r}{did_you_mean(name, known)}")
        return self


Source = Annotated[
    PythonSource | FolderSource | NpySource | NpzSource | TorchvisionSource | CorruptedSource,
    Field(discriminator="type"),
]
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
PUBLISHED_CORRUPTIONS = [  # of ImageNet-C, those that mCE is the mean of
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
]  # fmt: skip
