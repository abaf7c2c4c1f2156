"""Slips that people make in a suite, and what is said before anything is computed, or in the row."""

from pathlib import Path

import pytest
import torch

from sem_bench.cli import main
from tests.helpers.toy import SUITE, write

pytestmark = pytest.mark.cases


def test_a_batch_that_a_recipes_rate_is_not_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[vicreg]").replace("batch_size: 50", "batch_size: 4"))
    assert main(["plan", "suite.yaml"]) == 2
    assert capsys.readouterr().err == (
        "suite.yaml:8: vicreg diverges at 4 images a step with the recipe's lr 0.1, which is not scaled: "
        "give `lr` as well, as `lr: 0.003`, or 8 images and more\n"
    )
    assert main(["plan", "suite.yaml", "--set", "pretrain.lr=0.003"]) == 0
    assert main(["plan", "suite.yaml", "--set", "pretrain.batch_size=8"]) == 0


def test_a_checkpoint_that_is_a_pointer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "weights.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    suite = SUITE.replace("[simclr]", "[external]\n  checkpoint: weights.pt").replace(", sem: {L: 4, V: 3}", "")
    write(folder, "suite.yaml", suite)
    assert main(["doctor", "suite.yaml", "--data", "."]) == 2
    assert "or damaged: a pointer of Git LFS, not the file itself: `git lfs pull` fetches it" in capsys.readouterr().out
    torch.save({"net": torch.nn.Linear(2, 2)}, "weights.pt")
    assert main(["doctor", "suite.yaml", "--data", "."]) == 2
    assert "`torch.save(model.state_dict(), 'state.pt')`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[simclr]", "[SimCLR]", "unknown method 'SimCLR'; did you mean 'simclr'?"),
        ("[simclr]", "[mocov2]", "unknown method 'mocov2'; did you mean 'moco'?"),
        ("[simclr]", "[MoCo-v2]", "unknown method 'MoCo-v2'; did you mean 'moco'?"),
        ("[simclr]", "[barlow]", "unknown method 'barlow'; did you mean 'barlow_twins'?"),
        ("[simclr]", "[Barlow Twins]", "unknown method 'Barlow Twins'; did you mean 'barlow_twins'?"),
        ("[simclr]", "simclr", "grid.methods: should be a valid list, found 'simclr'; write [simclr]"),
        ("[resnet10w16s2]", "[ResNet-18]", "unknown backbone 'ResNet-18'; did you mean 'resnet18'?"),
        ("[toy]", "[CIFAR-10]", "unknown dataset 'CIFAR-10'; did you mean 'cifar10'?"),
        ("[0]", "0", "seeds: should be a valid list, found 0; write [0]"),
        ("epochs: 2", "epochs: 1_000", "epochs: should be a valid integer, found '1_000'; write 1000"),
        ("epochs: 2", "epochs: 2.0", "epochs: should be a valid integer, found 2.0; write 2"),
        ("epochs: 2", 'epochs: 2, lr: "1e-4"', "lr: should be a valid number, found '1e-4'; write 1e-4"),
        ("[1.0, 0.1]", "[100%]", "fractions[0]: should be a valid number, found '100%'; write 1"),
        ("[1.0, 0.1]", "[0.5%]", "fractions[0]: should be a valid number, found '0.5%'; write 0.005"),
        ("epochs: 2", "epochs: many", "epochs: should be a valid integer, found 'many'\n"),
    ],
)
def test_usual_spellings_are_shown_the_right_one(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    write(folder, "suite.yaml", SUITE.replace(old, new))
    assert main(["plan", "suite.yaml"]) == 2
    assert said in capsys.readouterr().err


def test_a_small_number_needs_no_quotes(folder: Path) -> None:
    suite = SUITE.replace("V: 3}", "V: 3, tau: 1e-1}").replace("epochs: 2", "epochs: 2, lr: 1e-4")
    write(folder, "suite.yaml", suite)
    assert main(["plan", "suite.yaml"]) == 0


def test_grey_weights_want_one_mean_for_all_channels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "weights.pt", "absent")
    grid = "[external]\n  checkpoint: weights.pt\n  input: grey"
    write(folder, "suite.yaml", SUITE.replace("[simclr]", grid).replace(", sem: {L: 4, V: 3}", ""))
    assert main(["plan", "suite.yaml", "--data", "."]) == 0
    card = folder / "datasets/toy.yaml"
    card.write_text(card.read_text().replace("mean: [0.5, 0.5, 0.5]", "mean: [0.5, 0.4, 0.5]"))
    assert main(["plan", "suite.yaml", "--data", "."]) == 2
    assert "suite.yaml:6: `input: grey` needs one mean and one std for all channels" in capsys.readouterr().err
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[simclr]\n  input: grey"))
    assert main(["plan", "suite.yaml", "--data", "."]) == 2
    assert "suite.yaml:5: `input` belongs to a `checkpoint`" in capsys.readouterr().err
