"""The test images of another data set, corrupted when they are read."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sem_bench.config.cards import Card, Library
from sem_bench.config.fields import Name, Names
from sem_bench.config.validation import did_you_mean
from sem_bench.data.sources.base import CorruptibleSource, Corruption, Problem, Severities

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SMALLEST = 32  # pixels that imagecorruptions can work on
CORRUPTIONS = {  # of data/corruptions.py, which imports numpy
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


class CorruptedSource(CorruptibleSource):
    """The test images of another data set, corrupted: by data/corruptions.py, or by the package imagecorruptions."""

    type: Literal["corrupted"]
    of: Name
    using: Literal["sem_bench", "imagecorruptions"] = "sem_bench"
    corruptions: Names
    severities: Annotated[Severities, Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = PUBLISHED_CORRUPTIONS if self._as_published else list(CORRUPTIONS)
        for name in self.corruptions:
            if name not in known:
                raise ValueError(f"unknown corruption {name!r}{did_you_mean(name, known)}")
        return self

    @property
    def made_of(self) -> str:
        """The data set whose test images it changes."""
        return self.of

    @property
    def _as_published(self) -> bool:
        return self.using == "imagecorruptions"

    def problems(self, card: Card[Any], library: Library) -> Iterator[Problem]:
        """The base, its images and the package. Raises UserError where the base's card is faulty."""
        from sem_bench.data.card import dataset_card  # which reads sources

        try:
            base = dataset_card(library, self.of).content
        except KeyError:
            yield ("of",), f"unknown dataset {self.of!r}{did_you_mean(self.of, library.names('dataset'))}"
            return
        if not base.labelled:
            yield ("of",), f"{self.of!r} has no labelled test images to corrupt"
        elif self._as_published and (base.image_size or 0) < SMALLEST:
            yield ("of",), f"{self.of!r} has images of {base.image_size} px; {self.using} needs {SMALLEST}"
        if self._as_published and importlib.util.find_spec(self.using) is None:
            yield ("using",), f"{self.using} is not installed: pip install 'sem-bench[corrupt]'"

    def change(self, image: "npt.NDArray[np.uint8]", kind: Corruption, row: int) -> "npt.NDArray[np.uint8]":
        """Image number `row` of the base, uint8 (S, S, 3), under a corruption."""
        from sem_bench.data import corruptions

        apply = corruptions.published if self._as_published else corruptions.corrupt
        changed: npt.NDArray[np.uint8] = apply(image[None], name=kind[0], severity=kind[1], first=row)[0]
        return changed

    def mark(self, kind: Corruption) -> list[str | int]:
        """The corruption, and the package where it is not ours."""
        return [*kind, self.using] if self._as_published else [*kind]
