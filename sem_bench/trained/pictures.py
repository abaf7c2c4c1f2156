"""Pictures of arms for their page: images, the views that pretraining makes of them, and what simplices answer to."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sem_bench.data.card import Normalisation
from sem_bench.data.described import Data
from sem_bench.data.images import as_tensor
from sem_bench.data.loading import load
from sem_bench.data.split import Split
from sem_bench.errors import described, printable
from sem_bench.report.file_models import JobEntry
from sem_bench.report.job_folder import JobFolders
from sem_bench.report.page.arms import arm_key
from sem_bench.report.page.content import Pictures, Strip
from sem_bench.report.results import Manifest
from sem_bench.runs.arm import Arm
from sem_bench.trained.encoder import TrainedEncoder, trained
from sem_bench.trained.features import planned
from sem_bench.trained.find import CHECKPOINT, Found, arm_names
from sem_bench.training.job import PRETRAIN, PretrainJob
from sem_bench.training.views import ViewPlan, Views

ROW = 8  # images beside each other
SIMPLICES = 6  # rows of them
LOOKED_AT = 512  # test images, from which a row of a simplex is chosen
SMALL = 2**28  # bytes of the images of a data set that is read for pictures
LARGEST = 64  # pixels of an image in a row
VIEWS = 4  # rows of views


def pictures(manifest: Manifest, folders: JobFolders, *, data: Path, cards: Path) -> dict[str, Pictures]:
    """Those of each arm that is trained, of its first seed, by `arm_key`; or a line that says why there are none."""
    found = {}
    for name, jobs in arm_names([job for job in manifest.jobs if job.kind == PRETRAIN.name]).items():
        results = [(job, folders.look(job.kind, job.digest).result) for job in jobs]
        done = next(((job, result.folder) for job, result in results if result is not None), None)
        if done is not None:
            job, folder = done
            try:
                strips, note = list(_strips(Found(folders.root, folder, manifest, job, name), job, data, cards)), ""
            except Exception as error:  # of data, checkpoints and code of others: the page is written all the same
                strips, note = [], f"No pictures: {printable(described(error))}"
            found[arm_key(job)] = Pictures(strips, note)
    return found


class _NoneError(Exception):
    """Why there are no pictures."""


def _strips(found: Found, entry: JobEntry, data: Path, cards: Path) -> Iterator[Strip]:
    if not (found.folder / CHECKPOINT).is_file():
        raise _NoneError("no encoder lies here; a record keeps none")
    arm = planned(found, cards, data)
    job, encoder = trained(found.folder, cards)
    if job.training.epochs and not job.weights and entry.inputs == {}:
        # Not the data of the job's file, which does not say where they lie.
        yield from _views(job, _small(arm, arm.pretrained_on()[0], evaluated=False))
    split = _small(arm, arm.images(), evaluated=True)
    images, part = split.sample(LOOKED_AT), "test" if arm.evaluated.card.labelled else "training"
    yield _strip(f"{ROW} {part} images of {arm.evaluated.name}", images[:: max(1, len(images) // ROW)])
    if encoder.embedding.groups is not None:
        size = job.data.image_size
        network = TrainedEncoder(
            encoder, job.data.normalise, image_size=size, output="embedding", tau=job.embedding.tau
        )
        yield from _simplices(network.eval(), encoder.embedding.groups, images, part)


def _small(arm: Arm, described_data: Data, *, evaluated: bool) -> Split:
    """The test images (without labels the training images), or those of pretraining, where they are here and few."""
    dataset = arm.evaluated if evaluated else arm.dataset
    if absent := dataset.place.absent() + dataset.place.unfetched:
        raise _NoneError(f"{absent[0]} is absent")
    count = sum(map(described_data.used, described_data.counts))
    if 3 * described_data.image_size**2 * count > SMALL:
        raise _NoneError(f"{dataset.name} has {count:,} images of {described_data.image_size} px, which is not small")
    return load(described_data, "test" if evaluated and "test" in described_data.counts else "train", dataset.place)


def _views(job: PretrainJob, split: Split) -> Iterator[Strip]:
    """A few images of the first batch, and below each the views of the first step."""
    with Views(ViewPlan.of(job), split, torch.device("cpu"), last=1) as views:
        batch = views.batch(0)
    rows = batch.indices[:ROW].tolist()
    yield _strip("Images of the first batch", as_tensor([split.read(row) for row in rows]))
    for number, view in enumerate(batch.views[:VIEWS], 1):
        yield _strip(f"View {number} of each, in the first step", _as_bytes(view[:ROW], job.data.normalise))


def _as_bytes(images: Tensor, normalise: Normalisation) -> Tensor:
    """What a network sees, (B, 3, S, S), back as uint8."""
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (normalise.mean, normalise.std))
    return ((images.float() * std + mean) * 255).round().clamp(0, 255).byte()


@torch.no_grad()
def _simplices(network: TrainedEncoder, groups: tuple[int, int], images: Tensor, part: str) -> Iterator[Strip]:
    """The simplices with an entry whose probability differs most from image to image, and the images with the most."""
    L, V = groups
    output = torch.cat([network(part.float() / 255) for part in images.split(64)])
    p = output.float().unflatten(1, (V, L))
    spread, entries = p.var(0, correction=0).max(0)  # (L,): of the entry that varies most
    for simplex in spread.topk(min(SIMPLICES, L)).indices.tolist():
        entry = int(entries[simplex])
        own = p[:, entry, simplex]
        values, rows = own.topk(min(ROW, len(own)))
        text = f"Simplex {simplex + 1}, entry {entry + 1}: p = {float(values[0]):.2f} to {float(values[-1]):.2f} here"
        yield _strip(f"{text}, {float(own.mean()):.2f} in the mean of {len(images)} {part} images", images[rows])


def _strip(caption: str, images: Tensor | Sequence[Tensor]) -> Strip:
    """At most ROW images (3, S, S) uint8 beside each other, as a JPEG."""
    tiles = [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in images[:ROW]]
    side = min(LARGEST, max(tiles[0].size))
    sheet = Image.new("RGB", (len(tiles) * (side + 2) - 2, side), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile if tile.size == (side, side) else tile.resize((side, side)), (number * (side + 2), 0))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=88, subsampling=0)
    return Strip(caption, f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", *sheet.size)
