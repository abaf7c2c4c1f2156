"""Are the numbers of two devices those of one? Found out on noise, with two processes on the CPU.

`doctor SUITE` runs it on arms with code of the user's, the tests on each method and embedding of the project.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sem_bench.base import interrupts
from sem_bench.base.companions import DeathError, ElsewhereError, together
from sem_bench.config.fields import whole
from sem_bench.errors import described, one_line
from sem_bench.method import Batch
from sem_bench.nets.encoder_parts import EncoderParts
from sem_bench.training.dry_run import CPU, STEPS, noise, shortened, started
from sem_bench.training.job import PretrainJob
from sem_bench.training.views import ViewPlan, Views, everything

LOSS = "the loss"
ROUGH = 0.01  # of a loss in float32, after steps that amplify its rounding
TOLERANCE = 1e-8  # of numbers of a size of 1, in float64: sums in another order differ by 1e-12 after three steps
PATIENCE = 120.0  # seconds of one step at the most; a method that gathers in one process only never ends
Arm = tuple[PretrainJob, Path, EncoderParts]
Left = dict[str, Tensor]


def problems(arms: Sequence[Arm]) -> list[str]:
    """What differs on two devices, a line for each arm; "" where nothing does.

    All are tried in one pair of processes, and where that fails each in its own.
    """
    alone = [_alone(arm) for arm in arms]
    found: dict[int, str] = {}
    for exact in (True, False):
        group = [i for i, (_, kept) in enumerate(alone) if kept == exact]
        try:
            shared = on_devices([arms[i] for i in group], exact=exact) if group else []
            found |= {i: _said(alone[i][0], left, exact=exact) for i, left in zip(group, shared, strict=True)}
        except BaseException as error:
            interrupts.pass_on(error)
            if len(group) == 1:
                text = one_line(error) if isinstance(error, ElsewhereError | DeathError) else described(error)
                found[group[0]] = f"it fails on two devices: {text}"
            else:
                found |= {i: problems([arms[i]])[0] for i in group}
    return [found[i] for i in range(len(arms))]


def _alone(arm: Arm) -> tuple[Left, bool]:
    """What an arm leaves on one device, and whether in float64."""
    try:
        return left_by_steps(arm), True
    except (RuntimeError, TypeError):  # it asks for float32 somewhere, where only the losses can be compared
        return left_by_steps(arm, exact=False), False


def _said(alone: Left, shared: Left, *, exact: bool) -> str:
    name, gap = difference(alone, shared) if exact else (LOSS, _gap(alone[LOSS], shared[LOSS]))
    if gap < (TOLERANCE if exact else ROUGH):
        return ""
    return (
        f"on two devices {name} differs by {gap:.1g} after {STEPS} steps: what forward computes from several images "
        "of a batch needs sem_bench.method.gather, what it draws at random needs as_one"
    )


def difference(alone: Left, shared: Left) -> tuple[str, float]:
    """What differs most, and by how much, as a share of its size where that is above 1."""
    gaps = {name: _gap(value.double(), shared[name].double()) for name, value in alone.items() if value.numel()}
    return max(gaps.items(), key=lambda item: item[1])


def _gap(a: Tensor, b: Tensor) -> float:
    gap = ((a - b).abs() / a.abs().clamp(min=1)).max()
    return float(gap.nan_to_num(torch.inf))


def on_devices(arms: Sequence[Arm], size: int = 2, *, exact: bool = True) -> list[Left]:
    """What the steps leave of each arm, with `size` processes."""
    texts = [json.dumps([whole(job), str(code), whole(parts)]) for job, code, parts in arms]
    with together(size, _all_left, texts, torch.get_num_threads(), exact, patience=PATIENCE):
        return [left_by_steps(arm, exact=exact) for arm in arms]


def _all_left(texts: list[str], threads: int, exact: bool) -> None:
    """As the other process."""
    torch.set_num_threads(threads)
    for job, code, parts in map(json.loads, texts):
        left_by_steps((_read(PretrainJob, job), Path(code), _read(EncoderParts, parts)), exact=exact)


def _read(model: Any, settings: object) -> Any:
    return model.model_validate_json(json.dumps(settings))


def left_by_steps(arm: Arm, *, exact: bool = True) -> Left:
    """The losses of three steps on noise, and every parameter and buffer after them, in float64 where it is `exact`.

    Of several processes that are together, each does its part. In float32 a gradient that is 0 but for rounding, such
    as that of a bias before BatchNorm, would differ from itself.
    """
    job, code, parts = arm
    job, parts = shortened(job, parts)
    split = noise(job.data.image_size)
    with (_Exact if exact else Views)(ViewPlan.of(job), split, CPU, last=STEPS) as views:
        state, step = started(job, code, views, parts)
        step.bf16 = False
        look = partial(everything, views.plan, split, CPU, epoch=0)
        if exact:
            state.method.double()
            state.method.before_epoch(0, lambda: map(_exact, look()), lambda text: None)
        else:
            state.method.before_epoch(0, look, lambda text: None)
        losses = []
        for _ in range(STEPS):
            losses += step().tolist()
            state.step += 1
    return {LOSS: torch.tensor(losses, dtype=torch.float64)} | state.method.state_dict()


class _Exact(Views):
    """Views in float64."""

    def batch(self, number: int) -> Batch:
        """One of them."""
        return _exact(super().batch(number))


def _exact(batch: Batch) -> Batch:
    return replace(batch, views=[view.double() for view in batch.views])
