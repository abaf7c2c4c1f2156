"""`method: external`, and timm's models as backbones: through the command line, as a user would."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from sem_bench.cli import main
from tests.helpers.toy import SUITE, write

EXTERNAL = """
name: mine
seeds: [0]
grid:
  methods: [external]
  checkpoint: weights.pt
  embeddings: {none: {}}
  backbones: [resnet10w16s2]
  datasets: [toy]
pretrain: {recipe: quick, epochs: 5}
evaluate:
  probe: {fractions: [1.0, 0.1], tau: [0.3, 1.0], l2: [1e-4, 1e-2]}
  knn: {k: 5}
"""
SEM = EXTERNAL.replace("{none: {}}", "{sem: {L: 4, V: 3, tau: 1.0}}")


def rows(capsys: pytest.CaptureFixture[str], suite: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["table", "results", "--suite", suite, "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["plan", "suite.yaml", "--data", "."]) == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("kind", ["none", "sem"])
def test_our_own_checkpoint_gives_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["run", "suite.yaml"]) == 0
    (trained,) = Path("results/pretrain").glob(f"simclr-{kind}*/checkpoint.pt")
    shutil.copy(trained, "weights.pt")
    write(folder, "external.yaml", EXTERNAL if kind == "none" else SEM)
    assert main(["run", "external.yaml", "--data", "."]) == 0
    wanted = [row for row in rows(capsys, "tiny") if row["embedding"] == kind]
    found = rows(capsys, "mine")
    assert len(found) == len(wanted) >= 3
    for one, other in zip(found, wanted, strict=True):
        names = ("column", "metric", "representation", "tau_d", "mean")
        assert {name: one[name] for name in names} == {name: other[name] for name in names}
        assert (one["method"], one["epochs"], one["recipe"], other["epochs"]) == ("external", 0, "external", 2)
        assert "backbone read from 'encoder.backbone.network'" in one["notes"]


def test_a_torchvision_state_dict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pt")
    text = EXTERNAL.replace("resnet10w16s2", "resnet18").replace(
        "probe: {fractions: [1.0, 0.1]", "probe: {fractions: [1.0]"
    )
    write(folder, "suite.yaml", text)
    # its stem is that of large images; ours has one for 16 px
    assert main(["run", "suite.yaml", "--data", "."]) == 1
    error = capsys.readouterr().err
    assert "'conv1.weight' is (64, 3, 7, 7) there and (64, 3, 3, 3) here" in error
    write(
        folder,
        "datasets/toy.yaml",
        (folder / "datasets/toy.yaml").read_text().replace("image_size: 16", "image_size: 80"),
    )
    assert main(["run", "suite.yaml", "--data", "."]) == 0
    assert {row["representation"] for row in rows(capsys, "mine")} == {"h"}


def test_the_digest_is_that_of_the_bytes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", EXTERNAL)

    def digest(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["plan", "suite.yaml", "--format", "json", *arguments]) == 0
        jobs = json.loads(capsys.readouterr().out)
        return str(jobs[0]["digest"])

    write(folder, "weights.pt", "one")
    first = digest("--data", ".")
    shutil.copytree(folder, folder / "moved")
    assert digest("--data", "moved") == first
    assert digest("--data", ".", "--set", "pretrain.epochs=9") == first  # nothing is trained
    write(folder, "weights.pt", "two")
    assert digest("--data", ".") != first
    write(folder, "other.pt", "one")
    assert digest("--data", ".", "--set", "grid.checkpoint=other.pt") == first
    assert digest("--data", ".", "--set", "grid.checkpoint=other.pt", "--set", "grid.prefix=a") != first


def test_without_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", EXTERNAL)
    assert main(["plan", "suite.yaml", "--data", "."]) == 0
    output = capsys.readouterr().out
    assert output.count("no data  ") == 4 and output.splitlines()[-1] == "no data: weights.pt"
    assert main(["run", "suite.yaml", "--data", "."]) == 2
    assert "no checkpoint for 'external': weights.pt is no file" in capsys.readouterr().err
    assert not Path("results/pretrain").exists()


def test_a_file_that_is_none_fails_in_one_line_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "weights.pt", "these are no weights")
    grid = EXTERNAL[EXTERNAL.index("  methods: [external]") : EXTERNAL.index("pretrain:")]
    trained = grid.replace("[external]\n  checkpoint: weights.pt", "[simclr]\n  pretrain: {batch_size: 50}")
    both = ["  - " + text.strip().replace("\n  ", "\n    ") + "\n" for text in (grid, trained)]
    write(folder, "suite.yaml", EXTERNAL.replace(grid, "".join(both)))
    assert main(["run", "suite.yaml", "--data", "."]) == 1
    output = capsys.readouterr()
    assert "weights.pt: no file of weights that torch can read, or damaged" in output.out + output.err
    found = {row["method"]: row["mean"] for row in rows(capsys, "mine") if row["column"] == "100%"}
    assert found["external"] is None and found["simclr"] > 0


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "  checkpoint: weights.pt\n",
            "",
            "suite.yaml:4: external needs `checkpoint`, the file with its weights, in this grid",
        ),
        (
            "[external]",
            "[external, simclr]",
            "suite.yaml:5: simclr is trained from scratch; `checkpoint` is for method external, in a grid of its own",
        ),
        (
            "{none: {}}",
            "{sem: {L: 4, V: 3}}",
            "suite.yaml:6: 'sem' needs tau, the temperature that its checkpoint was trained at",
        ),
        (
            "checkpoint: weights.pt",
            "chekpoint: w",
            "suite.yaml:5: unknown key 'chekpoint' in grid; did you mean 'checkpoint'?",
        ),
        (
            "[external]\n  checkpoint: weights.pt",
            "[byol]\n  prefix: a",
            "suite.yaml:5: `prefix` belongs to a `checkpoint`",
        ),
        (
            "datasets: [toy]",
            "datasets: [toy]\n  ip: {}",
            "suite.yaml:9: external cannot be trained with IP-IRM; these can: byol, moco, simclr, simsiam",
        ),
    ],
)
def test_bad_input(folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str) -> None:
    assert old in EXTERNAL
    write(folder, "suite.yaml", EXTERNAL.replace(old, new))
    assert line in refused(capsys)


def test_doctor_looks_into_the_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", EXTERNAL)
    write(folder, "weights.pt", "no weights")
    assert main(["doctor", "suite.yaml", "--data", "."]) != 0
    assert "no file of weights that torch can read" in capsys.readouterr().out


def test_a_timm_backbone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    text = SUITE.replace("resnet10w16s2", "timm/resnet10t").replace("epochs: 2", "epochs: 1")
    write(folder, "suite.yaml", text)
    assert main(["run", "suite.yaml"]) == 0
    (result,) = Path("results/pretrain").glob("simclr-none-timm-resnet10t-toy-e1-s0-*/result.json")
    assert "timm" in json.loads(result.read_text())["provenance"]["versions"]
    found = rows(capsys, "tiny")
    assert found and all(row["backbone"] == "timm/resnet10t" and row["mean"] > 0 for row in found)


def test_unknown_timm_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    for name, said in (
        ("timm/resnet51", "timm/resnet51: timm has no model 'resnet51'; did you mean"),
        ("timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k: "),
        ("tim/resnet50", "unknown backbone 'tim/resnet50'"),
    ):
        write(folder, "suite.yaml", SUITE.replace("[resnet10w16s2]", f"[{name}]"))
        assert any(line.startswith(f"suite.yaml:6: {said}") for line in refused(capsys)), name


def test_external_encoders_have_no_gain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two files are no pair, and seeds that vary nothing but the probe are no seeds."""
    assert main(["run", "suite.yaml"]) == 0
    for kind in ("none", "sem"):
        (trained,) = Path("results/pretrain").glob(f"simclr-{kind}*/checkpoint.pt")
        shutil.copy(trained, f"{kind}.pt")
    grids = [
        EXTERNAL[EXTERNAL.index("  methods") : EXTERNAL.index("pretrain:")].replace("weights.pt", "none.pt"),
        SEM[SEM.index("  methods") : SEM.index("pretrain:")].replace("weights.pt", "sem.pt"),
    ]
    both = "".join("  - " + grid.strip().replace("\n  ", "\n    ") + "\n" for grid in grids)
    head, tail = EXTERNAL[: EXTERNAL.index("  methods")], EXTERNAL[EXTERNAL.index("pretrain:") :]
    write(folder, "suite.yaml", head.replace("[0]", "[0, 1, 2]") + both + tail)
    assert main(["run", "suite.yaml", "--data", "."]) == 0
    found = rows(capsys, "mine")
    assert {row["embedding"] for row in found} == {"none", "sem"} and {row["n"] for row in found} == {3}
    assert all(row["gain"] is None for row in found)
    assert all("one encoder: the seeds vary the probe alone" in row["notes"] for row in found)
    assert all("external encoders are no pair: no gain" in row["notes"] for row in found if row["embedding"] == "sem")


def test_a_layer_on_an_external_encoder_has_a_gain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stand on one encoder; what its seeds vary is said."""
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    (trained,) = Path("results/pretrain").glob("simclr-none*/checkpoint.pt")
    shutil.copy(trained, "weights.pt")
    text = EXTERNAL.replace("{none: {}}", "{none: {}, untrained: {L: 4, V: 3}}").replace("[0]", "[0, 1]")
    write(folder, "suite.yaml", text)
    assert main(["run", "suite.yaml", "--data", "."]) == 0
    assert "seeds vary what is put on it, not its training" in " ".join(capsys.readouterr().out.split())
    found = [row for row in rows(capsys, "mine") if row["embedding"] == "untrained" and row["column"] == "100%"]
    assert found and all(row["gain"] is not None for row in found if row["representation"] != "h")
    assert all("one encoder: the seeds vary the layer and the probe" in row["notes"] for row in found)


def test_a_dead_encoder_is_noted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none"]) == 0
    (trained,) = Path("results/pretrain").glob("simclr-none*/checkpoint.pt")
    state = torch.load(trained, weights_only=True)
    for value in state["encoder"].values():
        if value.ndim == 4:
            value.zero_()
    torch.save(state, "weights.pt")
    write(folder, "suite.yaml", EXTERNAL)
    assert main(["run", "suite.yaml", "--data", "."]) == 0
    assert all(any(note.startswith("collapsed") for note in row["notes"]) for row in rows(capsys, "mine"))
    assert main(["run", "suite.yaml", "--data", ".", "--set", "grid.images={pretrain: 1}"]) == 0


def test_two_checkpoints_need_two_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "one.pt", "one")
    write(folder, "two.pt", "two")
    grid = EXTERNAL[EXTERNAL.index("  methods") : EXTERNAL.index("pretrain:")]
    grids = [grid.replace("weights.pt", "one.pt"), grid.replace("weights.pt", "two.pt")]
    both = "".join("  - " + text.strip().replace("\n  ", "\n    ") + "\n" for text in grids)
    write(folder, "suite.yaml", EXTERNAL.replace(grid, both))
    (line,) = refused(capsys)
    assert line.startswith("suite.yaml:9: external with 'none' is trained otherwise than in grid 0")
