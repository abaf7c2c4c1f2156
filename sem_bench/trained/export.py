"""A trained encoder as files that others read: weights, what they are, and a model card."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sem_bench.base.files import write_atomic
from sem_bench.errors import UserError
from sem_bench.nets.library_names import library_model
from sem_bench.trained.encoder import parts_of, trained
from sem_bench.trained.find import in_results
from sem_bench.trained.model_card import Exported, model_card

Write = Callable[[Mapping[str, Tensor], dict[str, str]], bytes]
CARD, SETTINGS = "README.md", "config.json"


def export(
    results: Path,
    out: Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    suite: str | None = None,
    cards: Path = Path(),
) -> list[Path]:
    """Write a trained encoder into the folder `out`; returns the files. `arm`, `seed`, ... as for `load_encoder`.

    encoder.safetensors holds backbone and embedding, and is what the method `external` reads; backbone.safetensors the
    backbone alone, by the names of its library, where it is a model of one. Without the package `safetensors` both are
    files of torch, encoder.pt and backbone.pt. config.json says what a reader needs, README.md is the model card.
    Raises UserError as `load_encoder`, and where `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: this is a file, not a folder")
    found = in_results(results, arm=arm, seed=seed, suite=suite)
    job, encoder = trained(found.folder, cards)
    network = encoder.backbone.network
    named = library_model(parts_of(job, cards).backbone, network)
    settings: dict[str, Any] = {
        "method": job.method.name,
        "embedding": job.embedding.model_dump(exclude_none=True),
        "backbone": job.backbone,
        "library_model": None if named is None else named._asdict(),
        "image_size": job.data.image_size,
        "normalise": job.data.normalise.model_dump(),
        "features": encoder.backbone.out_dim,
        "output": encoder.out_dim,
        "seed": job.seed,
        "digest": found.job.digest,
    }
    suffix, write = _format()
    weights = {f"encoder{suffix}": encoder.state_dict()}
    weights |= {} if named is None else {f"backbone{suffix}": network.state_dict()}
    text = model_card(Exported(found, job, named, list(weights), cards, out))
    note = {"sem_bench": json.dumps(settings, sort_keys=True)}
    for name, tensors in weights.items():
        write_atomic(out / name, write({key: one.contiguous().clone() for key, one in tensors.items()}, note))
    write_atomic(out / SETTINGS, json.dumps(settings, indent=2) + "\n")
    write_atomic(out / CARD, text)  # last: it says that the rest is there
    return [out / name for name in (*weights, SETTINGS, CARD)]


def _format() -> tuple[str, Write]:
    """The suffix of files of weights, and what makes their bytes."""
    try:
        from safetensors.torch import save
    except ImportError:
        return ".pt", _of_torch
    return ".safetensors", lambda tensors, note: save(dict(tensors), note)


def _of_torch(tensors: Mapping[str, Tensor], note: dict[str, str]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(tensors), file)
    return file.getvalue()
