"""Methods of the project on small encoders."""

from typing import Any

import torch

from sem_bench.config.cards import Library, load_code
from sem_bench.config.fields import Scalar
from sem_bench.data.card import Normalisation
from sem_bench.data.described import TrainingData
from sem_bench.data.sources.python import PythonSource
from sem_bench.method import Batch
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import Augmentation, Optimizer, Training, method_card
from sem_bench.training.job import MethodRef, PretrainJob
from sem_bench.training.pretrained import initial_encoder
from tests.helpers.places import REPOSITORY

LIBRARY = Library(REPOSITORY)


TRAINED = [name for name in LIBRARY.names("method") if not method_card(LIBRARY, name).content.external]


EMBEDDINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "linear": {"type": "linear", "L": 4, "V": 3},
    "sem": {"type": "sem", "L": 4, "V": 3, "tau": 1.0, "tau_target": 0.5},
}


def build(name: str, embedding: str = "none", **changes: Scalar) -> Any:
    card = method_card(LIBRARY, name)
    parameters = card.content.recipes["quick"].parameters | changes
    torch.manual_seed(0)
    encoder = initial_encoder(pretrain_job(**EMBEDDINGS[embedding]))
    extra = {"classes": 4} if card.content.labels else {}
    return getattr(load_code(card.code), card.content.class_name)(encoder, **parameters, **extra)


def batch(size: int = 8, seed: int = 0, views: int = 2) -> Batch:
    source = torch.Generator().manual_seed(seed)
    images = [torch.randn(size, 3, 32, 32, generator=source) for _ in range(views)]
    return Batch(images, torch.arange(size), torch.arange(size) % 4)


def pretrain_job(seed: int = 0, **embedding: Any) -> PretrainJob:
    view = Augmentation()
    training = Training(
        epochs=4,
        batch_size=128,
        optimizer=Optimizer(name="sgd", lr=0.4),
        warmup_epochs=1,
        min_lr=0.01,
        views=[view, view],
    )
    return PretrainJob(
        method=MethodRef(name="simclr", class_name="SimCLR", code="0"),
        training=training,
        embedding=EmbeddingSettings.model_validate({"type": "none"} | embedding),
        backbone="resnet10w16s2",
        data=TrainingData(
            name="toy",
            source=PythonSource(type="python"),
            code="0",
            train=512,
            image_size=32,
            normalise=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        ),
        seed=seed,
    )
