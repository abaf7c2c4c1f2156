"""A trained encoder as a torch module that holds its normalisation: images in, features out."""

from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic_core import from_json
from torch import Tensor, nn

from sem_bench.base.device import choose_device
from sem_bench.base.seals import DamagedError
from sem_bench.config.cards import Library
from sem_bench.config.validation import did_you_mean
from sem_bench.data.card import Normalisation
from sem_bench.encoder import Encoder
from sem_bench.errors import UserError
from sem_bench.nets.encoder_parts import EncoderParts, built_in, encoder_parts, own_code
from sem_bench.report.job_folder import read
from sem_bench.trained.find import in_results, is_job_folder, job_folder
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import load_encoder as load_trained

Output = Literal["h", "embedding"]
DEVICES = ("auto", "cpu", "cuda")


class TrainedEncoder(nn.Module):
    """float images (B, 3, S, S) in [0, 1] -> features (B, out_dim): normalised, through the backbone, embedded.

    It is in eval mode and its weights need no gradient; `.train()` and `.requires_grad_()` open it for fine-tuning.
    """

    mean: Tensor  # (3, 1, 1), as is std
    std: Tensor

    def __init__(
        self,
        encoder: Encoder,
        normalise: Normalisation,
        *,
        image_size: int,
        output: Output = "h",
        tau: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.image_size, self.output, self.tau = encoder, image_size, output, tau
        self.register_buffer("mean", torch.tensor(normalise.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(normalise.std).view(3, 1, 1))
        self.out_dim = encoder.backbone.out_dim if output == "h" else encoder.out_dim

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, S, S) in [0, 1] -> (B, out_dim): h, or the embedding's output at `tau`.

        S is `image_size`, as in pretraining; a convolutional backbone takes other sizes, too. Raises TypeError for
        images that are no floats.
        """
        if not images.is_floating_point():
            raise TypeError(f"float images in [0, 1] are asked for, found {images.dtype}: images / 255 makes them")
        h: Tensor = self.encoder.backbone((images - self.mean) / self.std)
        return h if self.output == "h" else self.encoder.embedding(h, self.tau)


def load_encoder(
    where: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    suite: str | None = None,
    output: Output = "h",
    tau: float | None = None,
    device: str = "cpu",
    cards: str | Path = ".",
) -> TrainedEncoder:
    """A trained encoder, from a results folder or from the folder of a pretraining.

    `arm` is METHOD/EMBEDDING, such as "byol/sem"; a results folder with one arm needs none. `seed` is by default the
    suite's first, `suite` the one run last. `output`: "h", the backbone's feature, or "embedding", what the embedding
    makes of it, at `tau` or else at the temperature of pretraining. `cards` is the suite's folder, where backbones and
    embeddings of your own lie.

    Raises UserError, which says which arms or seeds there are, for others, and where the checkpoint is absent, damaged
    (its checksum is checked), or of other code.
    """
    if output not in get_args(Output):
        raise UserError(f"output {output!r}{did_you_mean(str(output), get_args(Output))}")
    path = Path(where)
    if is_job_folder(path):
        if arm is not None or seed is not None or suite is not None:
            raise UserError(f"{path}: the folder of one job; arm, seed and suite choose in a results folder")
        folder = job_folder(path)
    else:
        folder = in_results(path, arm=arm, seed=seed, suite=suite).folder
    job, encoder = trained(folder, Path(cards))
    if tau is not None and (output == "h" or encoder.embedding.temperature is None):
        raise UserError("tau: only the output of an embedding with a temperature has one")
    found = TrainedEncoder(encoder, job.data.normalise, image_size=job.data.image_size, output=output, tau=tau)
    return found.to(device_of(device)).eval()


def device_of(name: str) -> torch.device:
    """auto, cpu or cuda. Raises UserError for another, and for cuda where there is none."""
    if name not in DEVICES:
        raise UserError(f"device {name!r}{did_you_mean(name, DEVICES)}")
    return choose_device(name)


def trained(folder: Path, cards: Path) -> tuple[PretrainJob, Encoder]:
    """What a pretraining depended on, and its encoder, frozen, in eval mode, on the CPU. Raises UserError."""
    try:
        job: PretrainJob = read(folder, "config.json", lambda file: PretrainJob.model_validate(from_json(file.read())))
        return job, load_trained(folder, torch.device("cpu"), parts_of(job, cards))
    except DamagedError as error:
        raise UserError(f"{error}; `verify --repair` sets it aside, and the next `run` makes it again") from None


def parts_of(job: PretrainJob, cards: Path) -> EncoderParts:
    """What its encoder is built of. Own parts are looked for in `cards`; raises UserError where they are others."""
    library, own = Library(cards), {"embedding_code": job.embedding_code, "backbone_code": job.backbone_code}
    try:
        if not any(own.values()):
            return built_in(job.embedding, job.backbone)
        if own_code(library, job.embedding.type, job.backbone) == own:
            return encoder_parts(library, job.embedding, job.backbone)
        why = f"the code in {cards} is not that of the pretraining"
    except KeyError as error:
        why = f"{error.args[0]!r} is not in {cards}; `cards` names the folder of the suite"
    except ValueError as error:  # a package is absent
        why = str(error)
    raise UserError(f"{job.embedding.type} on {job.backbone}: {why}")
