"""The model card of an exported encoder: what it is, what was measured of it, how to use it, how it was made."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml
from tabulate import tabulate

from sem_bench import analysis
from sem_bench.config.cards import Library
from sem_bench.data.card import dataset_card
from sem_bench.errors import UserError
from sem_bench.nets.library_names import LibraryModel
from sem_bench.report.row import ARM, Row
from sem_bench.trained.find import Found
from sem_bench.training.card import method_card
from sem_bench.training.job import PretrainJob

PROGRAM = "python -m sem_bench"
UNKNOWN = "unknown: its card is not in the suite's folder"


class Exported(NamedTuple):
    """What is exported."""

    found: Found
    job: PretrainJob
    named: LibraryModel | None  # the backbone in its library
    files: list[str]  # of weights, the whole encoder first
    cards: Path  # the suite's folder
    out: Path


def model_card(one: Exported) -> str:
    """Markdown."""
    job = one.found.job
    title = f"# {job.method} / {job.embedding}, {job.backbone}, {one.job.data.name}"
    parts = [
        title,
        "A pretrained encoder, written by sem-bench.",
        _facts(one),
        _measured(one.found),
        _use(one),
        _made(one),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(one: Exported) -> str:
    job, training, data = one.found.job, one.job.training, one.job.data
    embedding = ", ".join(f"{name} {value}" for name, value in job.embedding_config.items() if name != "type")
    licence = source = UNKNOWN
    with suppress(KeyError, UserError):
        licence = dataset_card(Library(one.cards), data.name).content.licence
    with suppress(KeyError, UserError):
        source = method_card(Library(one.cards), one.job.method.name).content.source
    optimizer = ", ".join(
        f"{name} {value}" for name, value in training.optimizer.model_dump(exclude_defaults=True).items()
    )
    facts = {
        "method": f"{job.method}{'' if job.ip is None else ' with IP-IRM'} ({source})",
        "embedding": f"{job.embedding_config['type']}{f' ({embedding})' if embedding else ''}",
        "backbone": job.backbone if one.named is None else f"{job.backbone}: {one.named.library}'s {one.named.name}",
        "pretrained on": f"{data.name}, {data.used('train'):,} images of {data.image_size} px, without labels"
        if not one.job.method.labels
        else f"{data.name}, {data.used('train'):,} images of {data.image_size} px, with labels",
        "licence of the data": licence,
        "recipe": f"{job.recipe}: batch {training.batch_size}, {optimizer}",
        "epochs": str(job.epochs),
        "seed": str(job.seed),
    }
    return "\n".join(f"- {name}: {text}" for name, text in facts.items())


def _measured(found: Found) -> str:
    """The figures of its seed in the suite's first tables: probes, kNN."""
    results = analysis.load(found.root, suite=found.manifest.name)
    first = {table.name for table in results.layouts if table.headline}
    lines = [line for row in results if row.table in first and (line := _line(row, found))]
    if not lines:
        return "## Measured\n\nNothing: its suite has no evaluation of it that is done."
    columns = ["measured", "metric", "of", "tau_d", f"seed {found.job.seed}", "mean of all seeds", "seeds"]
    table = tabulate(lines, headers=columns, tablefmt="github", disable_numparse=True)
    data = f"On the test images of {found.job.dataset}; probes read frozen features."
    return f"## Measured\n\n{data}\n\n{table}"


def _line(row: Row, found: Found) -> list[str]:
    """A row as the card shows it; nothing where it is another arm's, or has no value of this seed."""
    mine = all(getattr(row, name) == getattr(found.job, name) for name in ARM)
    values = {int(seed): value for seed, value in row.by_seed}
    if not mine or found.job.seed not in values:
        return []
    tau = "" if row.tau_d is None else f"{row.tau_d:g}"
    mean = "" if row.mean is None else f"{row.mean:.1f}"
    return [row.column, row.metric, row.representation, tau, f"{values[found.job.seed]:.1f}", mean, str(row.n)]


def _use(one: Exported) -> str:
    job, data, whole = one.found.job, one.job.data, one.files[0]
    kind = "torch.load" if whole.endswith(".pt") else "safetensors.torch.load_file"
    mean, std = (list(values) for values in (data.normalise.mean, data.normalise.std))
    grid = {
        "methods": ["external"],
        "checkpoint": str(Path(one.out.name) / whole),
        "embeddings": {job.embedding: job.embedding_config},
        "backbones": [job.backbone],
        "datasets": [data.name],
    }
    text = [
        "## Use",
        f"It takes RGB images of {data.image_size} px, first divided by 255, then normalised: mean {mean}, std {std}.",
        f"`{whole}` holds backbone and embedding (`{kind}`).",
    ]
    if not job.inputs:  # an embedding that was never trained has no name of its own for the method `external`
        text += [
            "A suite of sem-bench reads it below its data folder with",
            f"```yaml\ngrid:\n{_indented(yaml.safe_dump(grid, sort_keys=False, default_flow_style=None))}```",
        ]
    if one.named is not None:
        first = f"`{one.files[1]}` holds the backbone alone, by the names of {one.named.library}'s `{one.named.name}`"
        text.append(f"{first}, without a classifier; the stem may be that for small images (config.json has the size).")
    return "\n\n".join(text)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _made(one: Exported) -> str:
    found = one.found
    name = f"{found.job.kind}/{found.job.slug}"
    seed = ["--seed", str(found.job.seed)]
    words = ["export", str(found.root), "--suite", found.manifest.name, "--arm", found.arm, *seed, str(one.out)]
    return (
        f"## Made with\n\n    {PROGRAM} run SUITE --only {shlex.quote(name)}\n    {PROGRAM} {shlex.join(words)}\n\n"
        f"SUITE is the file of the suite {found.manifest.name!r}. The job's digest is {found.job.digest}."
    )
