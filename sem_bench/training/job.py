"""The configuration of a pretraining: all that its digest sees."""

from sem_bench.config.fields import BackboneName, Model, Name, Seed
from sem_bench.data.described import TrainingData
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import IpIrmSettings, Training


class MethodRef(Model):
    """A method as a digest sees it: its name, its class and the hash of its code."""

    name: Name
    class_name: Name
    code: str
    labels: bool = False


class PretrainJob(Model):
    """Everything that pretraining depends on."""

    method: MethodRef
    training: Training
    ip: IpIrmSettings | None = None
    weights: str | None = None  # digest of the file that the encoder's weights come from; nothing is trained then
    prefix: str | None = None  # what its keys begin with
    embedding: EmbeddingSettings
    backbone: BackboneName
    data: TrainingData
    seed: Seed
