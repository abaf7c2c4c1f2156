"""Weighted nearest neighbours on frozen features: nothing is fitted, nothing selected (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sem_bench.base.limits import FLOAT
from sem_bench.config.fields import Model, Seed, Temperature
from sem_bench.data.described import LabelledData
from sem_bench.evaluation import Arm, Before, Cost, Evaluation, NetCost, Planned
from sem_bench.evaluations.comparison import COMPARISON
from sem_bench.evaluations.measures.memory_sizes import NEIGHBOURS
from sem_bench.report.row import FigureKey

if TYPE_CHECKING:
    from torch import Tensor

    from sem_bench.evaluations.measures.features import Features
    from sem_bench.workspace import Workspace


Centre = Annotated[bool, Field(exclude_if=lambda centre: not centre)]  # not in the files of jobs without


class KnnJob(Model):
    """Everything that the nearest neighbours depend on, beside the pretrained encoder."""

    data: LabelledData
    tau: Temperature | None
    k: int
    temperature: Temperature
    holdout: Seed | None = None  # classify a hold-out of train, drawn with this seed, and not the test images
    centre: Centre = False


class KnnSettings(Model):
    """Weighted nearest neighbours, docs/protocol.md."""

    k: Annotated[int, Field(ge=1)] = 20  # neighbours
    temperature: Temperature = 0.1  # of their votes
    centre: Centre = False  # once more, in a column of its own, without the mean of the training images


class Knn(Evaluation[KnnSettings, KnnJob]):
    """Cosine similarity, weighted votes."""

    name, summary, order = "knn", "accuracy of weighted nearest neighbours", 20
    version = 2  # wide representations are compared without what all rows share, in bfloat16
    Settings, Job, table = KnnSettings, KnnJob, COMPARISON

    def jobs(
        self, asked: KnnSettings, arm: Arm, seed: int, before: Mapping[str, Sequence[Before]]
    ) -> Iterator[Planned[KnnJob]]:
        """One job; no vote reads superclasses."""
        data = arm.labelled(superclasses=False)
        yield Planned(KnnJob(data=data, tau=arm.embedding.tau, **dict(asked)))

    def owes(self, entry: Mapping[str, Any]) -> list[FigureKey]:
        """Of the arm's representation and of h."""
        return [("kNN", 1.0, "knn_top1", name) for name in dict.fromkeys((entry["representation"], "h"))]

    def run(self, job: KnnJob, workspace: Workspace) -> dict[str, Any]:
        """A row for h, and one for the embedding's output at the pretraining temperature; the same again centred."""
        from sem_bench.evaluations.measures import features
        from sem_bench.evaluations.measures.neighbours import centred, predict

        found = features.load(job.data, workspace)
        (voters, labels), (queries, truth) = _sides(found, job.holdout)
        notes = [f"all {len(labels)} training images vote: k is {job.k:,}"] if job.k > len(labels) else []
        rows = []
        for centre in (False, True) if job.centre else (False,):
            for representation in found.representations(job.tau):
                predicted = predict(
                    voters,
                    labels.to(workspace.device),
                    queries,
                    classes=len(job.data.classes),
                    k=job.k,
                    temperature=job.temperature,
                    of=centred(representation.of, voters) if centre else representation.of,
                )
                rows.append(
                    {
                        "column": "kNN centred" if centre else "kNN",
                        "fraction": 1.0,
                        "metric": "knn_centred_top1" if centre else "knn_top1",
                        "representation": representation.name,
                        "tau_d": representation.tau_d,
                        "value": 100 * float((predicted.cpu() == truth).double().mean()),
                        "notes": found.notes + notes,
                    }
                )
        return {"rows": rows, "k": min(job.k, len(labels)), "temperature": job.temperature}

    def cost(self, job: KnnJob, net: NetCost) -> Cost:
        """The representations of all images, or as many as are looked at at a time."""
        images = sum(map(job.data.used, job.data.counts))
        return Cost(net.reading_seconds(job.data), 4 * min(FLOAT * net.width * images, NEIGHBOURS))


def _sides(found: Features, holdout: int | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """h and labels of who votes and of who is classified: train and test, or both of train, parted as by the probe."""
    import torch

    from sem_bench.base.randomness import derived_seed
    from sem_bench.evaluations.measures import selection

    h, labels = found.h_train, found.train.labels
    if holdout is None:
        return (h, labels), (found.h_test, found.test.labels)
    seed = derived_seed(holdout, "split", "validation", 0)
    voting, held = map(torch.from_numpy, selection.stratified_holdout(labels.numpy(), selection.HOLDOUT, seed=seed))
    return (h[voting], labels[voting]), (h[held], labels[held])
