"""Self-supervised pretraining: a short loop in plain torch.

What a step sees depends on (seed, stream, step) alone, so a run that was killed goes on from its checkpoint as if
nothing had happened, and all arms see the same images, orders and augmentations.
"""

import csv
import io
import math
import time
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sem_bench import config, optimisers, untrained
from sem_bench.backbones import strides_over_points
from sem_bench.cards import load_code
from sem_bench.encoder import Encoder
from sem_bench.files import file_digest, write_atomic
from sem_bench.health import SAMPLE, Health, measure, neighbours_accuracy, watched
from sem_bench.ip_irm import IpIrm
from sem_bench.method import Method
from sem_bench.randomness import derived_seed, initialisation
from sem_bench.views import Views, everything
from sem_bench.weights import load_weights
from sem_bench.workspace import Monitor, PrunedError, Workspace, precision

SAVING_SHARE = 0.05  # a checkpoint is written when the time since the last one makes it cost no more than this
LOG = ("epoch", "loss", "lr", "seconds", "images_per_second", "augmentation_share")
HEALTH = tuple(field.name for field in fields(Health))


@dataclass
class Training:
    """What must survive a kill; all of it is in the checkpoint."""

    method: Method
    optimizer: torch.optim.Optimizer
    data: str  # fingerprint of the training images
    step: int = 0
    seconds: float = 0.0  # spent on the steps so far, by all processes that worked on it
    epoch_began: float = 0.0  # what `seconds` was then
    augmenting: float = 0.0  # seconds of the current epoch that went into its views, or into waiting for them
    losses: list[float] = field(default_factory=list)  # of the current epoch
    log: list[list[float | None]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        state = {
            "data": self.data,
            "step": self.step,
            "seconds": self.seconds,
            "epoch_began": self.epoch_began,
            "augmenting": self.augmenting,
            "losses": self.losses,
            "log": self.log,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_atomic(path, lambda file: torch.save(state, file))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.step, self.losses, self.log = state["step"], state["losses"], state["log"]
        self.seconds, self.epoch_began, self.augmenting = (
            state[name] for name in ("seconds", "epoch_began", "augmenting")
        )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])


def run(job: config.PretrainJob, workspace: Workspace) -> dict[str, Any]:
    """Train, and leave checkpoint.pt with the encoder and log.csv. The control `untrained` takes a finished encoder."""
    if job.embedding.type == "untrained":
        return untrained.attach(job, workspace)
    train = workspace.load(job.data, "train")
    training, device = job.training, workspace.device
    method = build_method(job, workspace.method_code, classes=int(train.labels.max()) + 1, images=len(train))
    method = method.to(device).to(memory_format=torch.channels_last)
    state = Training(method, optimisers.build(method, training), train.fingerprint)
    sample = watched(train, job.data.normalise, device)
    start = measure(method.encoder, sample)
    method.notes += import_weights(method.encoder, job, workspace.weights)
    checkpoint = workspace.folder / "checkpoint.pt"
    if found := _load(checkpoint, train.fingerprint, device):
        if "health" in found:  # a kill came between the last checkpoint and the result
            return _finish(found, workspace, earlier=found["seconds"])
        if "encoder" not in found:
            state.restore(found)
    earlier = state.seconds
    method.train()

    total = len(train) // training.step_size * training.epochs
    first, last = state.step * training.accumulate, total * training.accumulate
    labels = train.labels[torch.tensor(train.spread(SAMPLE))].to(device)
    with Views(job, train, device, first=first, last=last) as views:
        _train(state, job, views, (sample, labels), workspace)
    final = {
        "data": train.fingerprint,
        "step": total,
        "seconds": state.seconds,
        "log": state.log,
        "health": asdict(start),  # before training; that of each epoch is in the log
        "parameters": sum(p.numel() for p in method.parameters() if p.requires_grad),
        "notes": method.notes,
        "imported": asdict(measure(method.encoder, sample)) if job.weights else None,
        "encoder": method.encoder.state_dict(),
    }
    write_atomic(checkpoint, lambda file: torch.save(final, file))
    return _finish(final, workspace, earlier=earlier)


def _train(
    state: Training, job: config.PretrainJob, views: Views, sample: tuple[Tensor, Tensor], workspace: Workspace
) -> None:
    """All the steps that are left; `sample`: images that are looked at after every epoch, and their labels."""
    training, steps_per_epoch = job.training, views.steps_per_epoch
    total = steps_per_epoch * training.epochs
    step = Step(job, state, views, workspace.device)
    saver = _Saver(workspace.folder / "checkpoint.pt")
    began = time.perf_counter() - state.seconds
    while state.step < total:
        epoch, position = divmod(state.step, steps_per_epoch)
        if position == 0:
            look = partial(everything, job, views.split, workspace.device, epoch=epoch)
            state.method.before_epoch(epoch, look, partial(workspace.progress, state.step, total))
        loss = step()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} in epoch {epoch}, step {state.step} of {total}")
        state.losses.append(loss)
        state.step += 1
        state.seconds = time.perf_counter() - began
        epoch, rest = divmod(state.step, steps_per_epoch)
        if rest == 0:
            health = measure(state.method.encoder, sample[0])
            _end_epoch(state, epoch, training, steps_per_epoch, health)
            write_atomic(workspace.folder / "log.csv", _csv(state.log))
            if state.step < total and _hopeless(state.method.encoder, epoch, health, sample, workspace.monitor):
                state.save(saver.path)
                raise PrunedError
        if state.step < total:
            saver(state)
        workspace.progress(state.step, total, f"epoch {min(epoch + 1, training.epochs)}, loss {loss:.4g}")


def _hopeless(
    encoder: Encoder, epoch: int, health: Health, sample: tuple[Tensor, Tensor], monitor: Monitor | None
) -> bool:
    if monitor is None:
        return False
    knn = monitor.measure == "knn"
    return monitor.hopeless(epoch, neighbours_accuracy(encoder, *sample) if knn else health.effective_rank)


def _finish(final: dict[str, Any], workspace: Workspace, *, earlier: float) -> dict[str, Any]:
    """The log, the speed, and the metrics of a finished run."""
    log, start, imported = final["log"], Health(**final["health"]), final.get("imported")
    end = Health(*log[-1][len(LOG) :]) if log else Health(**imported) if imported else start
    write_atomic(workspace.folder / "log.csv", _csv(log))
    workspace.earlier["seconds"] = earlier
    if log:
        names = ("seconds_per_epoch", "images_per_second", "augmentation_share")
        workspace.speed.update({name: round(median(row[i] for row in log), 4) for i, name in enumerate(names, 3)})
    return {
        "steps": final["step"],
        "loss": log[-1][1] if log else None,
        "parameters": final["parameters"],
        "health": asdict(end),
        "notes": end.notes(start) + final.get("notes", []),
    }


def build_method(job: config.PretrainJob, code: Path, *, classes: int, images: int) -> Method:
    """The method with its encoder, at initial weights that depend on the seed alone; perhaps within IP-IRM."""
    encoder = Encoder.build(job)
    parameters = dict(job.training.parameters) | ({"classes": classes} if job.method.labels else {})
    with initialisation(job.seed, "heads"):
        method: Method = getattr(load_code(code), job.method.class_name)(encoder, **parameters)
    if job.ip is None:
        return method
    return IpIrm(method, job.ip, images=images, epochs=job.training.epochs, seed=job.seed)


def import_weights(encoder: Encoder, job: config.PretrainJob, path: Path | None) -> list[str]:
    """Fill the encoder from the file that the job names, if it names one; returns what a table should say of it."""
    if job.weights is None:
        return []
    assert path is not None
    if file_digest(path) != job.weights:
        raise ValueError(f"{path} has changed since the run was planned")
    return load_weights(encoder, path, prefix=job.prefix)


@dataclass
class Step:
    """One optimiser step."""

    job: config.PretrainJob
    state: Training
    views: Views
    device: torch.device

    def __post_init__(self) -> None:
        sizes = {view.size or self.job.data.image_size for view in self.job.training.views}
        backbone = self.state.method.encoder.backbone
        tiny = self.device.type == "cpu" and any(strides_over_points(backbone, size) for size in sizes)
        self.bf16 = precision(self.device) == "bf16" and not tiny
        self.steps_per_epoch = self.views.steps_per_epoch

    def __call__(self) -> float:
        """Do it; returns the loss."""
        state, training = self.state, self.job.training
        optimisers.set_lr(state.optimizer, training, step=state.step, steps_per_epoch=self.steps_per_epoch)
        torch.manual_seed(derived_seed(self.job.seed, "noise", state.step))  # for what a method or embedding draws
        state.optimizer.zero_grad(set_to_none=True)
        first = state.step * training.accumulate
        losses = [self._batch(number) for number in range(first, first + training.accumulate)]
        optimisers.limit_gradient(state.method, training)
        state.optimizer.step()
        state.method.after_step(state.step, training.epochs * self.steps_per_epoch)
        return math.fsum(map(float, losses)) / len(losses)

    def _batch(self, number: int) -> Tensor:
        """Add the gradient of a batch; its loss."""
        state = self.state
        began = time.perf_counter()
        batch = self.views.batch(number)
        state.augmenting += time.perf_counter() - began
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = state.method(batch)
        loss = state.method.loss(*(output.float() for output in outputs))
        (loss / self.job.training.accumulate).backward()
        state.method.after_batch()
        return loss.detach()


@dataclass
class _Saver:
    """Writes checkpoints as often as they stay cheap."""

    path: Path
    cost: float = 0.0
    last: float = field(default_factory=time.perf_counter)

    def __call__(self, state: Training) -> None:
        now = time.perf_counter()
        if now - self.last >= self.cost / SAVING_SHARE:
            state.save(self.path)
            self.last = time.perf_counter()
            self.cost = max(self.last - now, 0.05)  # at least a second between two


def _end_epoch(state: Training, epoch: int, training: config.Training, steps_per_epoch: int, health: Health) -> None:
    mean = math.fsum(state.losses) / len(state.losses)
    lr = optimisers.lr_at(training, step=state.step - 1, steps_per_epoch=steps_per_epoch)
    images, seconds = len(state.losses) * training.step_size, state.seconds - state.epoch_began
    speed = [seconds, images / seconds, state.augmenting / seconds]
    state.log.append([epoch, mean, lr, *speed, *asdict(health).values()])
    state.losses, state.epoch_began, state.augmenting = [], state.seconds, 0.0


def _load(checkpoint: Path, data: str, device: torch.device) -> dict[str, Any] | None:
    """A checkpoint of these data; None where there is none, the images have changed since, or the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError):
        return None
    return state if isinstance(state, dict) and state.get("data") == data else None


def _csv(rows: list[list[float | None]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LOG + HEALTH)
    writer.writerows(["" if value is None else f"{value:.6g}" for value in row] for row in rows)
    return text.getvalue()
