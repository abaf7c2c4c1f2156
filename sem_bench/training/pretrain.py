"""Self-supervised pretraining: a short loop in plain torch.

What a step sees depends on (seed, stream, step) alone, so a run that was killed goes on from its checkpoint as if
nothing had happened, and all arms see the same images, orders and augmentations.
"""

import csv
import io
import math
import time
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from sem_bench.base import world
from sem_bench.base.device import placed
from sem_bench.base.files import file_digest, write_atomic
from sem_bench.base.randomness import initialisation
from sem_bench.base.seals import DamagedError
from sem_bench.config.cards import load_code
from sem_bench.encoder import Encoder
from sem_bench.method import Method
from sem_bench.nets.encoder_parts import EncoderParts
from sem_bench.nets.foreign_weights import load_weights
from sem_bench.nets.global_batch_norm import make_global
from sem_bench.training import attach_embedding, learning_rates, parameter_groups
from sem_bench.training.card import Training
from sem_bench.training.checkpoint import Finished, LogRow, Saver, TrainingState, Unfinished, bits_of, load
from sem_bench.training.compiled import compile_backbones
from sem_bench.training.health import SAMPLE, Health, measure, watched
from sem_bench.training.ip_irm import IpIrm
from sem_bench.training.job import PretrainJob
from sem_bench.training.mixup import MixUp
from sem_bench.training.pretrained import initial_encoder
from sem_bench.training.step import Step
from sem_bench.training.views import ViewPlan, Views, everything
from sem_bench.workspace import Monitor, PrunedError, Workspace

LATE = 1  # steps after which the host looks at a loss: a GPU has the next one in work by then

SPEED = {  # column of log.csv -> as a result names its median
    "seconds": "seconds_per_epoch",
    "images_per_second": "images_per_second",
    "augmentation_share": "augmentation_share",
}


def run(job: PretrainJob, workspace: Workspace) -> dict[str, Any]:
    """Train, and leave checkpoint.pt with the encoder and log.csv; or put an embedding on a finished encoder."""
    if workspace.inputs:  # the baseline, on which an embedding stands that is never trained
        return attach_embedding.attach(job, workspace)
    train = workspace.load(job.data, "train")
    training, device = job.training, workspace.device
    classes = int(train.labels.max()) + 1
    sample = watched(train, job.data.normalise, device)

    def begun() -> tuple[TrainingState, Health]:
        method = build_method(job, workspace.method_code, classes=classes, images=len(train), parts=workspace.parts)
        method = placed(method, device)
        state = TrainingState(method, parameter_groups.build(method, training), train.fingerprint, workspace.digest)
        start = measure(method.encoder, sample)
        method.notes += import_weights(method.encoder, job, workspace.weights)
        return state, start

    total = len(train) // training.step_size * training.epochs
    checkpoint = workspace.folder / "checkpoint.pt"
    state, start = begun()
    try:
        found = load(checkpoint, train.fingerprint, device, workspace.digest)
        if isinstance(found, Finished):  # a kill came between the last checkpoint and the result
            return _finish(found, workspace, earlier=found.seconds) if world.rank() == 0 else {}
        if isinstance(found, Unfinished):
            state.resume(found.state, checkpoint, total)
    except DamagedError as error:
        workspace.distrust(checkpoint, error.why)
        state, start = begun()
    method = state.method
    if world.size() > 1:
        weights = sum(float(p.detach().double().sum()) for p in method.parameters())
        world.check_alike("checkpoints", state.step, weights)
    earlier = state.seconds
    method.train()

    first, last = state.step * training.accumulate, total * training.accumulate
    labels = train.labels[torch.tensor(train.spread(SAMPLE))].to(device)
    with Views(ViewPlan.of(job), train, device, first=first, last=last) as views:
        _train(state, job, views, (sample, labels), workspace)
    world.meet()  # what fails in one of them leaves no finished checkpoint
    if world.rank() > 0:
        return {}
    final = Finished(
        data=train.fingerprint,
        job=workspace.digest,
        step=total,
        seconds=state.seconds,
        log=state.log,
        health=start,
        parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        notes=method.notes,
        imported=measure(method.encoder, sample) if job.weights else None,
        encoder=method.encoder.state_dict(),
    )
    final.save(checkpoint)
    return _finish(final, workspace, earlier=earlier)


def _train(
    state: TrainingState, job: PretrainJob, views: Views, sample: tuple[Tensor, Tensor], workspace: Workspace
) -> None:
    """All the steps that are left; `sample`: images that are looked at after every epoch, and their labels."""
    training, steps_per_epoch = job.training, views.steps_per_epoch
    total = steps_per_epoch * training.epochs
    if workspace.compiled and compile_backbones(state.method, steps=total):
        workspace.seen.compiled = True
        workspace.progress(state.step, total, "compiling the backbone")
    step = Step(job, state, views, workspace.device)
    saver = Saver(workspace.folder / "checkpoint.pt")
    began = time.perf_counter() - state.seconds
    while state.step < total:
        epoch, position = divmod(state.step, steps_per_epoch)
        if position == 0:
            look = partial(everything, views.plan, views.split, workspace.device, epoch=epoch)
            state.method.before_epoch(epoch, look, partial(workspace.progress, state.step, total))
        with saver.at_a_signal(state):
            try:
                losses = step()
            except Exception:
                state.look()  # a loss before it, not finite, may be why
                raise
            state.note(losses, f"epoch {epoch}, step {state.step} of {total}")
            state.step += 1
            epoch, rest = divmod(state.step, steps_per_epoch)
            state.look(behind=0 if rest == 0 else LATE)
            state.seconds = time.perf_counter() - began
            loss = f", loss {state.losses[-1]:.4g}" if state.losses else ""
            if rest == 0:
                health = _health(
                    state.method.encoder, sample[0], f"epoch {epoch - 1}, step {state.step - 1} of {total}"
                )
                _end_epoch(state, epoch, training, steps_per_epoch, health)
        if world.rank() > 0:
            continue  # the first process keeps and tells
        if rest == 0:
            _write_log(state.log, workspace)
            if state.step < total and _hopeless(state.method.encoder, epoch, health, sample, workspace.monitor):
                state.save(saver.path)
                raise PrunedError
        if state.step < total:
            saver(state)
        workspace.progress(state.step, total, f"epoch {min(epoch + 1, training.epochs)}{loss}{_data_share(state)}")


def _data_share(state: TrainingState) -> str:
    """Which share of the time goes into views or into waiting for them: of this epoch, or of the one just ended."""
    seconds = state.seconds - state.epoch_began
    share = state.augmenting / seconds if seconds > 0 else state.log[-1].augmentation_share if state.log else 0.0
    return f", data {share:.0%}".replace("%", " %")


def _health(encoder: Encoder, images: Tensor, where: str) -> Health:
    """After a step. Raises FloatingPointError where it has left what is not finite."""
    try:
        return measure(encoder, images)
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} after {where}: was its gradient infinite?") from None


def _hopeless(
    encoder: Encoder, epoch: int, health: Health, sample: tuple[Tensor, Tensor], monitor: Monitor | None
) -> bool:
    """Whether the monitor, if there is one, ends the training after this epoch."""
    if monitor is None:
        return False
    module, _, function = monitor.measure.partition(":")
    figure: float = getattr(import_module(module), function)(encoder, *sample, health.effective_rank)
    return monitor.hopeless(epoch, figure)


def _finish(final: Finished, workspace: Workspace, *, earlier: float) -> dict[str, Any]:
    """The log, the speed, and the metrics of a finished run."""
    log = final.log
    _write_log(log, workspace)
    workspace.seen.earlier, workspace.seen.bits = earlier, bits_of(final.encoder)
    if log:
        medians = {name: median(getattr(row, column) for row in log) for column, name in SPEED.items()}
        workspace.seen.speed.update({name: round(value, 4) for name, value in medians.items()})
    return {
        "steps": final.step,
        "loss": log[-1].loss if log else None,
        "parameters": final.parameters,
        "health": asdict(final.end),
        "notes": final.end.notes(final.health) + final.notes,
    }


def build_method(
    job: PretrainJob, code: Path, *, classes: int, images: int, parts: EncoderParts | None = None
) -> Method:
    """The method with its encoder, at initial weights that depend on the seed alone; perhaps in MixUp and IP-IRM."""
    encoder = initial_encoder(job, parts)
    parameters = dict(job.training.parameters) | ({"classes": classes} if job.method.labels else {})
    with initialisation(job.seed, "heads"):
        method: Method = getattr(load_code(code), job.method.class_name)(encoder, **parameters)
    if world.size() > 1:
        make_global(method)
    if job.training.mixup is not None:
        assert job.method.contrasts is not None
        temperature = float(job.training.parameters["temperature"])
        projector, alpha = job.method.contrasts, job.training.mixup
        method = MixUp(method, projector=projector, alpha=alpha, temperature=temperature)
    if job.ip is None:
        return method
    return IpIrm(method, job.ip, images=images, epochs=job.training.epochs, seed=job.seed)


def import_weights(encoder: Encoder, job: PretrainJob, path: Path | None) -> list[str]:
    """Fill the encoder from the file that the job names, if it names one; returns what a table should say of it."""
    if job.weights is None:
        return []
    assert path is not None
    if file_digest(path) != job.weights:
        raise ValueError(f"{path} has changed since the run was planned")
    return load_weights(encoder, path, prefix=job.prefix, grey=job.input == "grey")


def _end_epoch(state: TrainingState, epoch: int, training: Training, steps_per_epoch: int, health: Health) -> None:
    mean = math.fsum(state.losses) / len(state.losses)
    lr = learning_rates.lr_at(training, step=state.step - 1, steps_per_epoch=steps_per_epoch)
    images, seconds = len(state.losses) * training.step_size, state.seconds - state.epoch_began
    speed = {
        "seconds": seconds,
        "images_per_second": images / seconds,
        "augmentation_share": state.augmenting / seconds,
    }
    state.log.append(LogRow(epoch, mean, lr, **speed, **asdict(health)))
    state.losses, state.epoch_began, state.augmenting = [], state.seconds, 0.0


def _write_log(rows: list[LogRow], workspace: Workspace) -> None:
    """log.csv, and what the workspace's `log` makes of it."""
    write_atomic(workspace.folder / "log.csv", _csv(rows))
    named = [row._asdict() for row in rows]
    workspace.log([{name: value for name, value in row.items() if value is not None} for row in named])


def _csv(rows: list[LogRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LogRow._fields)
    writer.writerows(["" if value is None else f"{value:.6g}" for value in row] for row in rows)
    return text.getvalue()
