"""Data of ImageNet's kind in a small memory; benchmarks/scale.py with its 1,281,167 images is in docs/LOG.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.places import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks/scale.py"
IMAGES = 16000


@pytest.mark.slow
def test_files_in_bounded_memory(tmp_path: Path) -> None:
    """From the files to the tables; neither the images nor the features are ever in memory as a whole."""
    command = [sys.executable, str(SCRIPT), "--images", str(IMAGES), "--pretrain", "1000", "--fractions", "1.0"]
    command += ["--mebibytes", "4"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = re.search(rf"^{IMAGES} images, features on disk \d+ MiB, peak memory (\d+) MiB$", done.stdout, re.MULTILINE)
    assert found and int(found[1]) < 2048, done.stdout
    features = [np.load(path, mmap_mode="r") for path in (tmp_path / "results/cache/features").iterdir()]
    assert sorted((len(h), str(h.dtype)) for h in features) == [(2000, "float32"), (IMAGES, "float16")]
    assert re.search(r"^simclr +sem +\d\d\.\d", done.stdout, re.MULTILINE)
