"""A linear probe: choose a head on the labels it may read, refit, read the test images once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.files import write_atomic
from sem_bench.base.limits import CHUNK
from sem_bench.base.randomness import derived_seed
from sem_bench.config.fields import Score
from sem_bench.data import labelled_lists
from sem_bench.data.described import LabelledData
from sem_bench.data.several_labels import strata
from sem_bench.evaluations.measures import features, selection
from sem_bench.evaluations.measures.candidates import Contest, probed
from sem_bench.evaluations.measures.features import Features, Representation
from sem_bench.evaluations.measures.ranking import score_several
from sem_bench.evaluations.probe import ProbeJob
from sem_bench.report.job_folder import read
from sem_bench.workspace import Workspace

FEW_LABELS = 0.1  # below this fraction several subsets are drawn
DRAWS = 5


@dataclass(frozen=True)
class ProbeReport:
    """Where the figures stand in a table, and what they measure."""

    column: str
    metric: Score = "top1"


def evaluate(job: ProbeJob, workspace: Workspace, report: ProbeReport) -> dict[str, Any]:
    """A row for each draw and contest; the heads in head.pt, the test images got right in predictions.bin."""
    found = features.load(job.data, workspace)
    wanted = contests(job, found)
    each = subsets(job, found, workspace)
    rows: list[dict[str, Any]] = []
    heads: list[dict[str, Any]] = []
    packed: list[bytes] = []
    for draw, labelled in enumerate(each):
        prober = prober_of(job, found, labelled, draw)
        for contest in wanted:
            row, head, right = probe(job, prober, contest, report)
            rows.append(row)
            heads.append(head)
            packed.append(np.packbits(right).tobytes())
            workspace.progress(len(rows), len(each) * len(wanted), f"{row['representation']} {row['value']:.1f} %")
    if world.rank() == 0:
        write_atomic(workspace.folder / "head.pt", lambda file: torch.save(heads, file))
        write_atomic(workspace.folder / "predictions.bin", b"".join(packed))
    layout = f"{len(rows)} rows of {len(found.test)} bits, each row padded to bytes"
    return {"rows": rows, "labels": len(each[0]), "predictions": layout}


def load_heads(folder: Path, device: torch.device | str) -> list[dict[str, Any]]:
    """The heads that a finished probe left. Raises DamagedError where the file is not what was written."""
    heads: list[dict[str, Any]] = read(
        folder, "head.pt", lambda file: torch.load(file, map_location=device, weights_only=True)
    )
    return heads


def contests(job: ProbeJob, found: Features) -> list[Contest]:
    """What the arm reports, and the penalties it chooses among."""
    return probed(found, tau=job.tau, fixed_tau=job.fixed_tau, l2=job.l2, between=job.between, rule=job.rule)


def subsets(job: ProbeJob, found: Features, workspace: Workspace) -> list[selection.Rows]:
    """The training rows whose labels the probe may read, draw by draw: those of the card's list, or drawn."""
    if job.subset is not None:
        return [listed_rows(found, job, workspace)]
    return [labelled_rows(found, job, draw) for draw in range(DRAWS if job.fraction < FEW_LABELS else 1)]


def labelled_rows(found: Features, job: ProbeJob, draw: int) -> selection.Rows:
    """The training rows of a draw."""
    seed = derived_seed(job.seed, "split", "subset", draw)
    return selection.stratified_subset(strata(found.train.labels.numpy()), job.fraction, seed=seed)


def listed_rows(found: Features, job: ProbeJob, workspace: Workspace) -> selection.Rows:
    """The training rows that the card's list names."""
    list_file = workspace.place.subset(job.fraction)
    assert found.train.names is not None
    return labelled_lists.rows_named(list_file, found.train.names, found.train.labels.numpy())


@dataclass(frozen=True)
class Fitted:
    """A head with what it was chosen among."""

    choice: selection.Choice
    chosen: Representation
    scale: float

    def predict(self, h: Tensor) -> Tensor:
        """The class (N,) of each row of h (N, d)."""
        return torch.cat([logits.argmax(1).cpu() for logits in self._logits(h)])

    def logits(self, h: Tensor) -> Tensor:
        """Those of all classes (N, C)."""
        return torch.cat([logits.cpu() for logits in self._logits(h)])

    def _logits(self, h: Tensor) -> Iterator[Tensor]:
        return (self.choice.head.predict(self.chosen.of(part) * self.scale) for part in h.split(CHUNK))

    @property
    def notes(self) -> list[str]:
        """What a table should say of the choice."""
        choice = self.choice
        edges = {"l2": choice.l2_on_edge, "tau_d": choice.key_on_edge}
        notes = choice.notes + [f"{name} on the edge of its grid" for name, on_edge in edges.items() if on_edge]
        return notes + self.unfinished

    @property
    def unfinished(self) -> list[str]:
        """What it should say of the chosen head's fit."""
        return [] if self.choice.converged else ["the probe did not converge"]


class Prober:
    """Chooses and refits on the same labels for several contests; what two have in common is computed once."""

    def __init__(
        self,
        found: Features,
        labelled: selection.Rows,
        fraction: float,
        seed: int,
        *,
        draw: int,
        classes: int,
        sketched: int | None = None,
    ) -> None:
        self.found, self.labelled, self.draw = found, labelled, draw
        labels, judges = found.train.labels, None
        if found.val is not None:  # its rows count on from those of train
            judges = np.arange(len(labels), len(labels) + len(found.val))
            labels = torch.cat([labels, found.val.labels])
        self._known: dict[tuple[str, float | None], tuple[Representation, float, selection.FeatureReader]] = {}
        self._selection = selection.Selection(
            lambda rows: labels[torch.from_numpy(rows)].numpy(),
            labelled,
            classes=classes,
            validation="holdout" if fraction == 1 else "folds",
            seed=derived_seed(seed, "split", "validation", draw),
            sketched=sketched,
            judges=judges,
        )

    def fit(self, contest: Contest) -> Fitted:
        """The chosen head of a contest."""
        name = contest.representations[0].name
        more = contest.more
        choice = self._selection.choose(
            [(one.tau_d, self._reader(one)) for one in contest.representations],
            contest.grid,
            between=contest.between,
            preferred=contest.preferred,
            more=None if more is None else lambda tau_d: self._reader(more(tau_d)),
            rule=contest.rule,
        )
        chosen, scale, _ = self._known[name, choice.key]
        return Fitted(choice, chosen, scale)

    def _reader(self, one: Representation) -> selection.FeatureReader:
        """The scaled features of a representation; the same reader each time."""
        if (one.name, one.tau_d) not in self._known:
            scale = one.scale(self.found.h_train)
            self._known[one.name, one.tau_d] = one, scale, _reader(one, scale, self.found)
        return self._known[one.name, one.tau_d][2]


def prober_of(job: ProbeJob, found: Features, labelled: selection.Rows, draw: int) -> Prober:
    """The choices of a job on one subset of the labels."""
    classes = len(job.data.classes)
    return Prober(found, labelled, job.fraction, job.seed, draw=draw, classes=classes, sketched=job.sketch)


def probe(
    job: ProbeJob, prober: Prober, contest: Contest, report: ProbeReport
) -> tuple[dict[str, Any], dict[str, Any], npt.NDArray[np.bool_]]:
    """Choose, refit, and read the test images once: the row, the head, and which test images it gets right.

    Of several labels an image: whether all of its classes are right, a logit above 0 saying that one is there.
    """
    found, fitted = prober.found, prober.fit(contest)
    choice, chosen = fitted.choice, fitted.chosen
    truth, several = found.test.labels, job.data.multi_label is not None
    predicted = fitted.logits(found.h_test) if several else fitted.predict(found.h_test)
    right = ((predicted > 0) == (truth > 0)).all(1).numpy() if several else (predicted == truth).numpy()
    row = {
        "column": report.column,
        "fraction": job.fraction,
        "draw": prober.draw,
        "metric": contest.metric.replace("top1", report.metric),
        "representation": chosen.name,
        "tau_d": choice.key,
        "l2": choice.l2,
        "candidates": choice.candidates,
        "validation": None if choice.accuracy is None else 100 * choice.accuracy,
        "search": searched(choice),
        "value": 100 * (score_several if several else score)(predicted, truth, report.metric),
        "superclass": superclass_accuracy(predicted, truth, job.data),
        "notes": fitted.notes + found.notes + [f"candidates by the rule {contest.rule}"] * (contest.rule != "best"),
    }
    head = {key: row[key] for key in ("metric", "representation", "tau_d", "draw")}
    head |= {"scale": fitted.scale, "weight": choice.head.weight.cpu(), "bias": choice.head.bias.cpu()}
    return row, head, right


def searched(choice: selection.Choice) -> list[dict[str, float | None]]:
    """The best of each representation: its tau_d, l2 and validation accuracy in percent."""
    return [
        {"tau_d": tau_d, "l2": l2, "validation": 100 * choice.tried[tau_d][l2]} for tau_d, l2 in choice.best.items()
    ]


def _reader(representation: Representation, scale: float, found: Features) -> selection.FeatureReader:
    """Rows of train, and of val beyond them; they come in order."""
    h, others = found.h_train, found.h_val

    def read(rows: selection.Rows) -> Tensor:
        at = torch.from_numpy(rows).to(h.device)
        if others is None:
            return representation.of(h[at]) * scale
        beyond = at[at >= len(h)] - len(h)
        return representation.of(torch.cat([h[at[at < len(h)]].float(), others[beyond].float()])) * scale

    return read


def score(predicted: Tensor, labels: Tensor, metric: Score) -> float:
    """How good predicted classes (N,) are, in [0, 1]; means over classes are over those that occur among the labels."""
    right, classes = (predicted == labels).numpy(), np.unique(labels)
    if metric == "mean_per_class":
        return float(np.mean([right[labels.numpy() == label].mean() for label in classes]))
    if metric == "macro_f1":
        from sklearn.metrics import f1_score

        return float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0.0))
    return float(right.mean())


def superclass_accuracy(predicted: Tensor, labels: Tensor, data: LabelledData) -> float | None:
    """Percent of images whose predicted class has the right superclass; None without superclasses."""
    if not data.superclasses:
        return None
    of = torch.tensor(superclass_of(data.classes, data.superclasses))
    return 100 * float((of[predicted] == of[labels]).double().mean())


def superclass_of(classes: Sequence[str], superclasses: dict[str, list[str]]) -> list[int]:
    """The superclass index of each class."""
    index = {member: i for i, group in enumerate(superclasses.values()) for member in group}
    return [index[name] for name in classes]
