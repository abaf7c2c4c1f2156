"""The contact sheet of the shifted shapes, as the docs show it."""

from pathlib import Path

import numpy as np
from PIL import Image

from sem_bench.config.cards import load_code
from sem_bench.data import corruptions
from tests.helpers.places import REPOSITORY

DATASETS = REPOSITORY / "datasets"
SEEN = ["gaussian_noise", "motion_blur", "fog", "elastic_transform", "pixelate"]
shifts = load_code(DATASETS / "shapes_shifts.py")
shapes = shifts.shapes


def contact_sheet(path: Path, *, columns: int = 12) -> None:
    """Save a PNG: rows of v2, r, a, some corruptions (severity 1 to 5, in turn), digits and textures."""
    rows = [shifts.load("test", count=columns, shift=shift)[0] for shift in shifts.SHIFTS]
    clean, _ = shapes.load("test", count=columns)
    for name in SEEN:
        steps = [corruptions.corrupt(clean, name=name, severity=severity) for severity in corruptions.SEVERITIES]
        rows.append(np.stack([steps[i % 5][i] for i in range(columns)]))
    rows += [load_code(DATASETS / f"{name}.py").load("test", count=columns)[0] for name in ("digits", "textures")]
    tiles = np.pad(np.stack(rows), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(len(rows) * 34, columns * 34, 3)
    Image.fromarray(sheet).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
