"""The configuration of a pretraining: all that its digest sees."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sem_bench.config.fields import BackboneName, Model, Name, Seed
from sem_bench.data.described import TrainingData
from sem_bench.evaluation import Cost, NetCost, Stage
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.training.card import IpIrmSettings, Training

if TYPE_CHECKING:
    from sem_bench.workspace import Workspace

OwnCode = Annotated[str | None, Field(exclude_if=lambda value: value is None)]  # not in the files of jobs without


class MethodRef(Model):
    """A method as a digest sees it: its name, its class and the hash of its code."""

    name: Name
    class_name: Name
    code: str
    labels: bool = False
    contrasts: OwnCode = None  # the part that projects, where the training has MixUp


class PretrainJob(Model):
    """Everything that pretraining depends on."""

    method: MethodRef
    training: Training
    ip: IpIrmSettings | None = None
    weights: str | None = None  # digest of the file that the encoder's weights come from; nothing is trained then
    prefix: str | None = None  # what its keys begin with
    input: Literal["rgb", "grey"] = "rgb"  # what images its first layer was made for
    embedding: EmbeddingSettings
    embedding_code: OwnCode = None  # the hash of an embedding that is not the package's; its version stands for ours
    backbone: BackboneName
    backbone_code: OwnCode = None
    data: TrainingData
    seed: Seed


class Pretraining(Stage[PretrainJob]):
    """Trains an encoder, or puts an embedding that is not trained on a finished one."""

    name, Job, outputs, shared_from = "pretrain", PretrainJob, ("checkpoint.pt",), 0.0

    def run(self, job: PretrainJob, workspace: "Workspace") -> dict[str, Any]:
        """Leaves checkpoint.pt with the encoder, and log.csv."""
        from sem_bench.training.pretrain import run

        return run(job, workspace)

    def cost(self, job: PretrainJob, net: NetCost) -> Cost:
        """Of a job."""
        from sem_bench.training.cost import cost  # it needs this module

        return cost(job, net)

    def said(self, metrics: Mapping[str, Any]) -> str:
        """The loss of the last epoch."""
        return "" if metrics["loss"] is None else f"loss {metrics['loss']:.4g}"


PRETRAIN = Pretraining()
