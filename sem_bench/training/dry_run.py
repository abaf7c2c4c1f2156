"""What every method must do, ours and yours: found out in a second on noise, before hours of training.

`doctor SUITE` runs it on each arm of a suite, the tests on each method of the project.
"""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sem_bench.base import interrupts
from sem_bench.base.device import placed
from sem_bench.data.split import Split, reader
from sem_bench.errors import described, one_line, plainly
from sem_bench.nets.build import build_backbone
from sem_bench.nets.card import EmbeddingSettings
from sem_bench.nets.encoder_parts import EncoderParts, built_in
from sem_bench.nets.global_batch_norm import make_global
from sem_bench.report.row import BASELINE
from sem_bench.training import parameter_groups
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrain import build_method, import_weights
from sem_bench.training.pretrained import initial_encoder
from sem_bench.training.step import Step
from sem_bench.training.views import ViewPlan, Views

IMAGES, BATCH, STEPS = 36, 12, 3  # two and three devices divide the batch
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


def problems(
    job: PretrainJob, code: Path, weights: Path | None = None, *, parts: EncoderParts | None = None
) -> list[str]:
    """What is wrong with a method in an arm, one line each: three steps of real training on noise.

    It trains on a small backbone, or on the arm's where that is the user's own: only training shows a gradient that
    does not arrive, or a state that a checkpoint loses, and nobody else has tried it. The loss must be one finite
    number, its gradient must reach the whole encoder, and two steps, a checkpoint and a third step must be bitwise the
    same as three steps. An external encoder must take its weights. Without `parts` all are the package's own.
    """
    parts = parts or built_in(job.embedding, job.backbone)
    if job.weights is not None:
        try:
            import_weights(initial_encoder(job, parts), job, weights)
        except (OSError, ValueError) as error:
            return [one_line(error)]
        return []
    job, parts = shortened(job, parts)
    try:
        return plainly(_problems, job, code, noise(job.data.image_size), parts)
    except BaseException as error:
        interrupts.pass_on(error)
        return [f"it fails in its first steps: {described(error)}"]


def shortened(job: PretrainJob, parts: EncoderParts) -> tuple[PretrainJob, EncoderParts]:
    """The same training in so few images that it takes a second."""
    training = job.training.model_copy(update={"epochs": 1, "batch_size": BATCH, "accumulate": 1})
    if not parts.backbone.own:
        small = built_in(EmbeddingSettings(type=BASELINE), SMALL).backbone
        parts = parts.model_copy(update={"backbone": small})
    return job.model_copy(update={"training": training}), parts


def noise(size: int) -> Split:
    """Random images (IMAGES, 3, size, size) in four classes."""
    images = torch.randint(256, (IMAGES, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Split(torch.arange(IMAGES) % 4, "noise", size, size, images, reader(images))


def _problems(job: PretrainJob, code: Path, split: Split, parts: EncoderParts) -> list[str]:
    found = []
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
                return [f"the loss is {loss}"]
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
    return found


def started(job: PretrainJob, code: Path, views: Views, parts: EncoderParts) -> tuple[TrainingState, Step]:
    """A training on noise before its first step, as one of the processes that there are."""
    method = build_method(job, code, classes=4, images=IMAGES, parts=parts)
    method = placed(method, CPU).train()
    state = TrainingState(method, parameter_groups.build(method, job.training), "noise")
    return state, Step(job, state, views, CPU)


def _equal(a: TrainingState, b: TrainingState) -> bool:
    mine, theirs = a.method.state_dict(), b.method.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)
