"""What an encoder is built of, as plain data: it fits in JSON, so it can go where its cards are not.

Code of the package is named by its module, own code by its path.
"""

from collections.abc import Callable
from typing import Any

from sem_bench.base.digest import digest
from sem_bench.base.files import PACKAGE
from sem_bench.config.cards import Card, Library, load
from sem_bench.config.fields import Model, Scalar
from sem_bench.nets.card import BackboneCard, Cost, EmbeddingCard, EmbeddingSettings, backbone_card, embedding_card


class Part(Model):
    """A class or function, and its keyword arguments."""

    code: str  # a module of the package, or the path of a Python file
    name: str  # of the class or function
    arguments: dict[str, Scalar] = {}
    out_dim: int | None = None  # the width of what it gives, where its card says it
    packages: list[str] = []  # whose versions its numbers may depend on

    @property
    def own(self) -> bool:
        """Whether it is the user's, not the package's."""
        return self.code.endswith(".py")

    def load(self) -> Callable[..., Any]:
        """The class or function; its code is run."""
        loaded: Callable[..., Any] = getattr(load(self.code), self.name)
        return loaded


class EncoderParts(Model):
    """All that an encoder is built of, but the size of its images and its seed."""

    embedding: Part
    backbone: Part
    representation: str  # what tables call the output of the embedding
    groups: list[int] | None = None  # [L, V] where the output is L probability vectors of V numbers
    cost: Cost = Cost()  # of the backbone
    marker: str | None = None  # of the embedding in figures, matplotlib's


def encoder_parts(library: Library, embedding: EmbeddingSettings, backbone: str) -> EncoderParts:
    """Those of an embedding whose parameters and temperatures are resolved, and of a backbone; both are known."""
    above, below = embedding_card(library, embedding.type), backbone_card(library, backbone)
    return EncoderParts(
        embedding=_embedding(above, embedding),
        backbone=_backbone(below, backbone),
        representation=above.content.representation or above.name,
        groups=above.content.numbers(embedding.parameters),
        cost=below.content.cost,
        marker=above.content.marker,
    )


def built_in(embedding: EmbeddingSettings, backbone: str) -> EncoderParts:
    """The package's own parts of these names."""
    return encoder_parts(Library(PACKAGE), embedding, backbone)


def built_in_embedding(embedding: EmbeddingSettings) -> Part:
    """The package's own embedding of these settings."""
    return _embedding(embedding_card(Library(PACKAGE), embedding.type), embedding)


def own_code(library: Library, embedding: str, backbone: str) -> dict[str, str | None]:
    """What a digest sees of code and cards that are not the package's, by the names of PretrainJob's fields."""
    above, below = embedding_card(library, embedding), backbone_card(library, backbone)
    says = [above.content.class_name, above.content.representation or above.name]
    built = [below.content.build, below.content.arguments]
    return {
        "embedding_code": None if above.shipped else digest([above.code_digest, *says]),
        "backbone_code": None if below.shipped else digest([below.code_digest, *built]),
    }


def _embedding(card: Card[EmbeddingCard], settings: EmbeddingSettings) -> Part:
    temperatures = settings.model_dump(include=set(card.content.temperatures), exclude_none=True)
    return Part(
        code=card.source(),
        name=card.content.class_name,
        arguments=settings.parameters | temperatures,
        out_dim=card.content.out_dim(settings.parameters),
        packages=list(card.content.packages),
    )


def _backbone(card: Card[BackboneCard], name: str) -> Part:
    model: dict[str, Scalar] = {} if card.content.models is None else {"name": name.partition("/")[2]}
    return Part(
        code=card.source(),
        name=card.content.build,
        arguments=card.content.arguments | model,
        out_dim=card.content.features,
        packages=list(card.content.packages),
    )
