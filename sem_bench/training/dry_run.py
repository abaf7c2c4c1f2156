"""What every method must do, ours and yours: found out in a second on noise, before hours of training.

`doctor SUITE` runs it on each arm of a suite, the tests on each method of the project.
"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sem_bench.base import interrupts
from sem_bench.base.device import placed
from sem_bench.config.cards import shipped
from sem_bench.data.split import Split, reader
from sem_bench.errors import described, one_line, plainly
from sem_bench.nets.build import build_backbone
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.encoder_parts import EncoderParts, built_in
from sem_bench.nets.global_batch_norm import make_global
from sem_bench.report.row import BASELINE
from sem_bench.training import parameter_groups
from sem_bench.training.card import Augmentation
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrain import build_method, import_weights
from sem_bench.training.pretrained import initial_encoder
from sem_bench.training.step import Step
from sem_bench.training.views import ViewPlan, Views

IMAGES, BATCH, STEPS = 36, 12, 3  # two and three devices divide the batch
MOST, SIDE = 4096, 32  # images and pixels a side of the step with an arm's own batch, at most
WORK = 3 * 10**11  # multiplications of that step in what is no backbone, at most
CPU = torch.device("cpu")
SMALL = "resnet10w16s2"  # the backbone that a method is tried on


def backbone_problem(parts: EncoderParts, image_size: int) -> str:
    """What is wrong with a backbone, in one line, or "": it must give a finite vector for each of two images."""
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            backbone = build_backbone(parts, image_size=image_size).eval()
            features, out_dim = backbone(images), backbone.out_dim
            shape, finite = tuple(features.shape), bool(features.isfinite().all())
    except BaseException as error:  # own code fails in its own way
        interrupts.pass_on(error)
        return one_line(error) if isinstance(error, ValueError) else f"it cannot be built or run: {described(error)}"
    if shape != (2, out_dim):
        return f"it gives {shape} for 2 images, and not (2, {out_dim}), its out_dim"
    if parts.backbone.out_dim not in (None, out_dim):
        return f"it gives {out_dim} features, its card says {parts.backbone.out_dim}"
    return "" if finite else "it gives features that are not finite"


def one_device_only(parts: EncoderParts, image_size: int) -> str:
    """Why a backbone that is well cannot be trained on several devices; "" where it can."""
    try:
        make_global(build_backbone(parts, image_size=image_size))
    except ValueError as error:
        return one_line(error)
    return ""


def trial(
    job: PretrainJob, code: Path, weights: Path | None = None, *, parts: EncoderParts | None = None
) -> tuple[list[str], int]:
    """What is wrong with a method in an arm, one line each, by steps of real training on noise; the largest batch.

    Three steps have a small batch, one has the arm's own as far as that takes seconds. It trains on a small backbone,
    or on the arm's where that is the user's own: only training shows a gradient that does not arrive, or a state that
    a checkpoint loses, and nobody else has tried it. The loss must be one finite number, its gradient must reach the
    whole encoder, and two steps, a checkpoint and a third must be bitwise the same as three steps. An external encoder
    must take its weights. Without `parts` all are the package's own.
    """
    parts = parts or built_in(job.embedding, job.backbone)
    if job.weights is not None:
        try:
            import_weights(initial_encoder(job, parts), job, weights)
        except (OSError, ValueError) as error:
            return [one_line(error)], job.training.batch_size
        return [], job.training.batch_size
    short, small = shortened(job, parts)
    try:
        found, numbers = plainly(_problems, short, code, noise(job.data.image_size), small)
    except BaseException as error:
        interrupts.pass_on(error)
        return [f"it fails in its first steps: {described(error)}"], BATCH
    # A user's method may need images of their size; ours take any.
    side = min(SIDE, job.data.image_size) if shipped("method", code) else job.data.image_size
    most = min(MOST * SIDE**2 // side**2, WORK // (6 * numbers * len(job.training.views)))
    size = min(job.training.batch_size, max(BATCH, most))
    try:
        return found or plainly(_own_batch_problems, *_with_own_batch(job, parts, size, side), code), size
    except BaseException as error:
        interrupts.pass_on(error)
        return [f"it fails with batches of {size}{_whose(job, size)}: {described(error)}"], size


def shortened(job: PretrainJob, parts: EncoderParts) -> tuple[PretrainJob, EncoderParts]:
    """The same training in so few images that it takes a second."""
    training = job.training.model_copy(update={"epochs": 1, "batch_size": BATCH, "accumulate": 1})
    if not parts.backbone.own:
        parts = _on_small_backbone(parts)
    return job.model_copy(update={"training": training}), parts


def _on_small_backbone(parts: EncoderParts) -> EncoderParts:
    return parts.model_copy(update={"backbone": built_in(EmbeddingSettings(type=BASELINE), SMALL).backbone})


def _whose(job: PretrainJob, size: int) -> str:
    return ", its own" if size == job.training.batch_size else ""


def _with_own_batch(job: PretrainJob, parts: EncoderParts, size: int, side: int) -> tuple[PretrainJob, EncoderParts]:
    """The same training with that batch, on a small backbone and images of that side, so that it takes seconds.

    A user's own backbone stays, and the images' size with it, where the batch is no larger than that of other steps.
    """
    repeats = max(1, min(job.training.accumulate, 2, MOST // size))
    training = job.training.model_copy(update={"epochs": 1, "batch_size": size, "accumulate": repeats})
    if not parts.backbone.own or size > BATCH:
        parts = _on_small_backbone(parts)
        views = [_resized(view, side / job.data.image_size) for view in training.views]
        training = training.model_copy(update={"views": views})
        job = job.model_copy(update={"data": job.data.model_copy(update={"image_size": side})})
    return job.model_copy(update={"training": training}), parts


def _resized(view: Augmentation, factor: float) -> Augmentation:
    return view.model_copy(update={"size": view.size and max(8, round(view.size * factor))})


def noise(size: int, count: int = IMAGES) -> Split:
    """Random images (count, 3, size, size) in four classes."""
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(torch.arange(count) % 4, "noise", size, size, images, reader(images))


def _problems(job: PretrainJob, code: Path, split: Split, parts: EncoderParts) -> tuple[list[str], int]:
    """What the steps show; and how many numbers the method has to train."""
    found: list[str] = []
    with Views(ViewPlan.of(job), split, CPU, last=STEPS) as views, TemporaryDirectory() as folder:
        straight, step = started(job, code, views, parts)
        embedding, width = straight.method.encoder.embedding, parts.embedding.out_dim
        if width is not None and embedding.out_dim != width:
            found.append(f"the embedding gives {embedding.out_dim} numbers, its card says {width}")
        groups = None if parts.groups is None else tuple(parts.groups)
        if embedding.groups != groups:
            found.append(f"the embedding has groups {embedding.groups}, its card says {groups}")
        for _ in range(STEPS - 1):
            loss = float(step())
            if not math.isfinite(loss):
                return [f"the loss is {loss}"], 1
            straight.step += 1
        for name, parameter in straight.method.encoder.named_parameters():
            if parameter.grad is None or not parameter.grad.any():
                found.append(f"no gradient reaches encoder.{name}: does the loss depend on self.encoder's output?")
                break
        straight.save(Path(folder) / "checkpoint.pt")
        resumed, step_again = started(job, code, views, parts)
        resumed.restore(torch.load(Path(folder) / "checkpoint.pt", weights_only=True))
        if not torch.equal(step(), step_again()) or not _equal(straight, resumed):
            found.append(
                "it goes on otherwise after a checkpoint: keep whatever a step leaves for the next in a parameter "
                "or a buffer (self.register_buffer), and draw random numbers from torch alone"
            )
    return found, max(1, sum(p.numel() for p in straight.method.parameters() if p.requires_grad))


def _own_batch_problems(job: PretrainJob, parts: EncoderParts, code: Path) -> list[str]:
    """What a step shows: a loss, or gradients, that are no numbers."""
    size, repeats = job.training.batch_size, job.training.accumulate
    with Views(ViewPlan.of(job), noise(job.data.image_size, size * repeats), CPU, last=repeats) as views:
        state, step = started(job, code, views, parts)
        losses = step()
        if not losses.isfinite().all():
            return [f"with batches of {size} the loss is {float(losses[~losses.isfinite()][0])}"]
        for name, parameter in state.method.encoder.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                return [f"with batches of {size} the gradient of encoder.{name} is not finite"]
    return []


def started(job: PretrainJob, code: Path, views: Views, parts: EncoderParts) -> tuple[TrainingState, Step]:
    """A training on noise before its first step, as one of the processes that there are."""
    method = build_method(job, code, classes=4, images=len(views.split), parts=parts)
    method = placed(method, CPU).train()
    state = TrainingState(method, parameter_groups.build(method, job.training), "noise")
    return state, Step(job, state, views, CPU)


def _equal(a: TrainingState, b: TrainingState) -> bool:
    mine, theirs = a.method.state_dict(), b.method.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)
