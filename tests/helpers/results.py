"""A small results folder, written by hand; and what any results folder says."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

NONE: Json = {"type": "none"}
SEM: Json = {"type": "sem", "L": 64, "V": 8, "tau": 1.0, "tau_target": 1.0}
LINEAR: Json = {"type": "linear", "L": 64, "V": 8}
SETTINGS = {"none": NONE, "linear": LINEAR}  # other labels are SEM
PLACE = {"method": "byol", "backbone": "resnet10w16s2", "dataset": "shapes", "recipe": "quick", "epochs": 10}
MAIN = {"none": "h", "linear": "z", "sem": "sem"}


def figure(value: float, representation: str, **changes: Any) -> Json:
    """A line of a probe's metrics.rows."""
    line = {"column": "100%", "fraction": 1.0, "draw": 0, "metric": "top1", "representation": representation}
    return line | {"tau_d": None, "l2": 1e-4, "validation": value, "value": value, "notes": []} | changes


class Tree:
    """A results folder in the making."""

    def __init__(self, root: Path, name: str = "quick", written: str = "2026-11-21T03:00:00+00:00") -> None:
        self.root, self.name, self.written = root, name, written
        self.jobs: list[Json] = []
        self.fractions = [1.0]

    def job(
        self,
        figures: list[Json] | None,
        *,
        seed: int,
        embedding: str = "none",
        embedding_config: Json | None = None,
        kind: str = "probe",
        end: str = "",
        config: Json | None = None,
        device: str = "cpu",
        notes: list[str] | None = None,
        **cell: Any,
    ) -> Path:
        """An evaluation job with its pretraining; no figures, no result. Returns the job's folder."""
        settings = embedding_config or SETTINGS.get(embedding, SEM)
        place = PLACE | {"ip": None, "embedding": embedding, "embedding_config": settings} | cell | {"seed": seed}
        slug = re.sub(r"[^A-Za-z0-9._+]+", "-", f"{place['method']}-{embedding}-s{seed}")
        pretrain, evaluation = digest("pretrain", place), digest(kind, place, end, config)
        entry = {"kind": kind, "slug": slug + end, "digest": evaluation, "inputs": {"pretrain": pretrain}}
        entry |= {"fraction": config["fraction"]} if config and "fraction" in config else {}
        self.jobs += [
            {"kind": "pretrain", "slug": slug, "digest": pretrain, "inputs": {}} | place,
            entry | place,
        ]
        self.result("pretrain", slug, pretrain, {"seed": seed}, {"notes": notes or []}, device)
        folder = self.root / kind / f"{slug}{end}-{evaluation[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        if figures is not None:
            own = (config or {"fraction": 1.0}) | {"seed": seed}
            self.result(kind, slug + end, evaluation, own, {"rows": figures}, "cpu")
        return folder

    def result(self, kind: str, slug: str, digest: str, config: Json, metrics: Json, device: str) -> None:
        folder = self.root / kind / f"{slug}-{digest[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        result = {
            "schema": 1,
            "kind": kind,
            "digest": digest,
            "config": config,
            "inputs": {},
            "metrics": metrics,
        }
        provenance = {"device": device, "precision": "bf16", "seconds": 1.0}
        (folder / "result.json").write_text(json.dumps(result | {"provenance": provenance}))

    def arm(self, values: Sequence[float | None], embedding: str = "none", **job: Any) -> list[Path]:
        """An arm by its accuracy for seed 0, 1, ...; None is a seed without result."""
        settings = job.get("embedding_config") or SETTINGS.get(embedding, SEM)
        lines = [None if value is None else [figure(value, MAIN[settings["type"]])] for value in values]
        return [self.job(line, seed=seed, embedding=embedding, **job) for seed, line in enumerate(lines)]

    def write(self) -> Path:
        for job in self.jobs:
            if job["kind"] == "probe":
                names = dict.fromkeys((MAIN[job["embedding_config"]["type"]], "h"))
                job["owes"] = [[f"{100 * f:g}%", f, "top1", name] for f in self.fractions for name in names]
        return self.write_as_it_is()

    def write_as_it_is(self) -> Path:
        """The manifest, with what the jobs say."""
        (self.root / "suites").mkdir(parents=True, exist_ok=True)
        manifest = {"schema": 1, "name": self.name, "written": self.written, "jobs": self.jobs}
        manifest["suite"] = {"evaluate": {"probe": {"fractions": self.fractions}, "knn": None}}
        (self.root / "suites" / f"{self.name}.json").write_text(json.dumps(manifest))
        return self.root


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def numbers(results: Path) -> dict[str, Any]:
    """What results say beside times and machines, and the predictions, by KIND/FOLDER."""
    found = {}
    for path in sorted(results.glob("*/*/result.json")):
        result = json.loads(path.read_text())
        provenance = {name: result["provenance"][name] for name in ("data", "images", "files", "device", "versions")}
        del result["sum"]
        if path.parent.parent.name == "pretrain":  # a checkpoint holds the time that it took
            del provenance["files"], result["sums"]
        predictions = path.with_name("predictions.bin")
        bits = predictions.read_bytes() if predictions.exists() else b""
        found["/".join(path.parts[-3:-1])] = [result | {"provenance": provenance}, bits]
    return found
