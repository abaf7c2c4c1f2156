"""The wheel: what is in it, and that it works where there is no checkout."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write

BUILTIN = (
    "suite.yaml",
    *(f"{name}/*.yaml" for name in ("suites", "methods", "datasets", "sweeps", "results/published")),
)
BUILTIN += ("methods/*.py", "datasets/*.py", "benchmarks/records/*.json")
PAGE = [f"sem_bench/report/page/*.{end}" for end in ("html", "css", "js")]


class Installed(NamedTuple):
    """An environment with the wheel in it."""

    wheel: Path
    folder: Path

    def python(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run its Python in a folder, as a user does who has no checkout."""
        return command(str(self.folder / "bin/python"), *arguments, cwd=cwd)

    def files(self) -> set[Path]:
        """All its files but compiled ones."""
        return {path for path in self.folder.rglob("*") if "__pycache__" not in path.parts}


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The wheel of this checkout in an environment of its own, which sees the packages of the present one."""
    root = tmp_path_factory.mktemp("wheel")
    command(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "dist"), cwd=REPOSITORY)
    (wheel,) = (root / "dist").iterdir()
    folder = root / "environment"
    uv = os.environ.get("UV") or shutil.which("uv")  # not every Python can install pip
    command(sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(folder), cwd=root)
    python = str(folder / "bin/python")
    pip = [uv, "pip", "install", "--no-cache", "--python", python] if uv else [python, "-m", "pip", "install"]
    command(*pip, "--no-deps", "--no-index", str(wheel), cwd=root)
    (packages,) = folder.glob("lib/python*/site-packages")
    present = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "present.pth").write_text("\n".join(present))  # come after its own; .pth files in them do not count
    yield Installed(wheel, folder)
    shutil.rmtree(root)


def found(*patterns: str) -> set[str]:
    """The files of the checkout that fit."""
    return {path.relative_to(REPOSITORY).as_posix() for pattern in patterns for path in REPOSITORY.glob(pattern)}


def test_the_wheel_has_the_package_the_cards_and_nothing_else(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/.gitkeep")}
    expected = {f"sem_bench/builtin/{name}" for name in found(*BUILTIN)} | found(
        "sem_bench/py.typed", "sem_bench/**/*.py", "sem_bench/**/*.yaml", *PAGE
    )
    assert {name for name in names if ".dist-info/" not in name} == expected
    for name in ("suite.yaml", "methods/simclr.py", "datasets/shapes.yaml", "results/published/table1a.yaml"):
        assert f"sem_bench/builtin/{name}" in names
    information = {name.split("/", 1)[1] for name in names if ".dist-info/" in name}
    assert information == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_readme_of_the_package_has_no_path_into_the_repository(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        (name,) = [one for one in wheel.namelist() if one.endswith(".dist-info/METADATA")]
        text = wheel.read(name).decode()
    assert "Description-Content-Type: text/markdown" in text and "\n## Run it\n" in text
    assert re.findall(r"!\[|\]\((?!https?:)", text) == []
    assert "[Lavoie et al., ICLR 2023](https://arxiv.org/abs/2204.00616)" in text and "tutorial" in text


def test_the_default_suite_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    before = installed.files()
    where = installed.python(
        "-c", "import sem_bench.base.files as f; print(f.__file__, f.BUILTIN)", cwd=tmp_path
    ).stdout
    assert all(Path(path).is_relative_to(installed.folder) for path in where.split())
    assert "shapes" in installed.python("-m", "sem_bench", "list", "datasets", cwd=tmp_path).stdout
    assert "untrained" in installed.python("-m", "sem_bench", "list", "embeddings", cwd=tmp_path).stdout
    assert "timm/NAME" in installed.python("-m", "sem_bench", "list", "backbones", cwd=tmp_path).stdout
    short = ("suite.yaml", "--set", "seeds=[0]", "--set", "pretrain.epochs=0")
    assert "192 jobs: 192 missing" in installed.python("-m", "sem_bench", "plan", *short, cwd=tmp_path).stdout
    assert not list(tmp_path.iterdir())
    done = installed.python("-m", "sem_bench", "run", *short, "--only", "knn/simclr-none", cwd=tmp_path)
    assert "\nquick: shapes" in f"\n{done.stdout}" and "2 done, 0 reused, 0 failed, 0 blocked" in done.stderr
    assert "192 jobs: 2 done, 190 missing" in (tmp_path / "results/tables/quick.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert len(list(tmp_path.glob("results/*/*/result.json"))) == 2
    assert installed.files() == before


def test_a_users_own_suite_method_and_data_set(installed: Installed, tmp_path: Path) -> None:
    before = installed.files()
    write(tmp_path, "suite.yaml", SUITE.replace("[simclr]", "[mine, simclr]"))
    write(tmp_path, "datasets/toy.yaml", TOY_YAML)
    write(tmp_path, "datasets/toy.py", TOY_PY)
    for name in ("yaml", "py"):
        write(tmp_path, f"methods/mine.{name}", (REPOSITORY / f"methods/simclr.{name}").read_text())
    methods = installed.python("-m", "sem_bench", "list", "methods", cwd=tmp_path).stdout
    assert {"byol", "mine", "simclr"} <= {line.split()[0] for line in methods.splitlines()}
    done = installed.python("-m", "sem_bench", "run", "suite.yaml", "--only", "knn", "100pc", cwd=tmp_path)
    assert "tiny: toy" in done.stdout and "\nmine " in done.stdout and "\nsimclr " in done.stdout
    assert "0 failed, 0 blocked" in done.stderr
    assert len(list(tmp_path.glob("results/knn/mine-*-toy-*/result.json"))) == 2
    assert installed.files() == before
