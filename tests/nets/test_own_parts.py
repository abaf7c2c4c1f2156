"""A user's own embeddings and backbones: through the command line, as a user would."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sem_bench.cli import main
from sem_bench.nets.encoder_parts import EncoderParts
from sem_bench.runs.estimate import memory
from sem_bench.runs.job import Job
from sem_bench.runs.plan import read_plan
from sem_bench.training.job import PretrainJob
from sem_bench.training.pretrained import initial_encoder, load_encoder
from tests.helpers.commands import problems
from tests.helpers.own import CONV_PY, CONV_YAML, SQUARED_YAML, WHITE_YAML, write_own
from tests.helpers.toy import SUITE, replace_text, write

CPU = torch.device("cpu")


@pytest.fixture
def own(folder: Path) -> Path:
    write_own(folder)
    return folder


def jobs(kind: str = "pretrain") -> dict[str, Job]:
    """The suite's jobs of a kind, by the label of the embedding."""
    return {job.cell.embedding: job for job in read_plan(Path("suite.yaml")).jobs if job.kind == kind}


def results(kind: str, text: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("results", kind).glob(f"*{text}*/result.json"))]


def test_a_run_with_probe_and_knn(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml"]) == 0
    capsys.readouterr()
    slugs = {"white": "white-size6-gain1.5-signplus-conv", "squared": "squared4x3-t1-conv", "tanh": "tanh-codes5-t0.5-"}
    for name, representation, heated in (("white", "white", False), ("squared", "p", True), ("tanh", "tanh", True)):
        for kind in ("probe", "knn"):
            found = results(kind, f"-{slugs[name]}")
            assert found, (kind, name)
            rows = [row for result in found for row in result["metrics"]["rows"]]
            assert {row["representation"] for row in rows} == {"h", representation}
            temperatures = {row["tau_d"] for row in rows if row["representation"] == representation}
            assert (temperatures != {None}) == heated
            # What eight steps teach five codes differs between processors; h tells these colours apart on all.
            best = {row["representation"]: row["value"] for row in rows if row["column"] != "10%"}
            assert best["h"] > 25 and 0 <= best[representation] <= 100, best
    entry = json.loads(Path("results/suites/tiny.json").read_text())["jobs"]
    assert {job["embedding"]: job["representation"] for job in entry} == {
        "none": "h", "white": "white", "squared": "p", "soft": "tanh"
    }  # fmt: skip
    assert {job["embedding"]: job["marker"] for job in entry} == {
        "none": "o", "white": None, "squared": "P", "soft": None
    }  # fmt: skip
    (white,) = results("pretrain", "-white")
    assert white["config"]["embedding"] == {
        "type": "white", "L": None, "V": None, "tau": None, "tau_target": None,
        "size": 6, "gain": 1.5, "sign": "plus",
    }  # fmt: skip
    assert main(["run", "suite.yaml"]) == 0
    assert "0 failed, 0 blocked" in capsys.readouterr().err


def test_entropy_and_health_ask_for_groups(own: Path) -> None:
    text = Path("suite.yaml").read_text()
    write(own, "suite.yaml", text.replace("knn: {k: 5}", "knn: {k: 5}\n  entropy: {}"))
    entropy = {job.cell.embedding for job in read_plan(Path("suite.yaml")).jobs if job.kind == "entropy"}
    assert entropy == {"squared"}
    assert main(["run", "suite.yaml", "--only", "pretrain/"]) == 0
    shares = {
        name: results("pretrain", name)[0]["metrics"]["health"]["simplex_entropy"]
        for name in ("-white", "-squared", "-tanh")
    }
    assert shares["-white"] is None and shares["-tanh"] is None and 0 < shares["-squared"] < 1


def test_what_is_built_fits_in_json(own: Path) -> None:
    for job in jobs().values():
        parts = EncoderParts.model_validate(json.loads(json.dumps(job.parts.model_dump(mode="json"))))
        assert parts == job.parts and parts.backbone.own
        assert isinstance(job.config, PretrainJob)
        encoder = initial_encoder(job.config, parts)
        assert encoder(torch.randn(2, 3, 16, 16)).shape == (2, encoder.out_dim)
        assert encoder.out_dim == (parts.embedding.out_dim or 16)
    assert not read_plan(write(own, "other.yaml", SUITE)).jobs[0].parts.backbone.own


def test_digests_know_own_code_and_ours_not(own: Path) -> None:
    def changed(name: str, text: str) -> set[str]:
        before, path = {label: job.digest for label, job in jobs().items()}, own / name
        kept = path.read_text()
        assert kept != text
        path.write_text(text)
        after = {label: job.digest for label, job in jobs().items()}
        path.write_text(kept)
        return {label for label in before if before[label] != after[label]}

    everything = {"none", "white", "squared", "soft"}
    conv, white, softs = (Path(name).read_text() for name in ("backbones/conv.py", "embeddings/white.py",
                                                              "embeddings/softs.py"))  # fmt: skip
    assert changed("backbones/conv.py", conv + "# a comment\n") == set()
    assert changed("backbones/conv.py", conv.replace("3, 2)", "3, 1)")) == everything
    card = Path("backbones/conv.yaml").read_text()
    assert changed("backbones/conv.yaml", card.replace("two conv", "some conv").replace("5000", "50")) == set()
    assert changed("backbones/conv.yaml", card.replace("width: 8", "width: 9")) == everything
    assert changed("embeddings/white.py", white.replace("No softmax", "Without softmax")) == set()
    assert changed("embeddings/white.py", white.replace("self.gain *", "2 * self.gain *")) == {"white"}
    assert changed("embeddings/softs.py", softs.replace("square()", "pow(3)")) == {"squared", "soft"}
    card = Path("embeddings/white.yaml").read_text()
    assert changed("embeddings/white.yaml", card.replace("default: 1.5", "default: 2")) == {"white"}
    assert changed("embeddings/white.yaml", card + "representation: w\n") == {"white"}  # rows are called so
    ours = read_plan(write(own, "other.yaml", SUITE)).jobs
    for job in ours:
        assert not {"embedding_code", "backbone_code"} & job.config.model_dump(mode="json").keys()


def test_a_card_of_a_built_in_name_is_another_embedding(own: Path) -> None:
    suite = write(own, "other.yaml", SUITE)
    before = {(job.kind, job.slug): job.digest for job in read_plan(suite).jobs}
    write(own, "embeddings/sem.yaml", SQUARED_YAML)
    after = read_plan(suite).jobs
    assert [(job.kind, job.slug) for job in after] == list(before)
    assert all((job.digest != before[job.kind, job.slug]) == (job.cell.embedding == "sem") for job in after)


def test_estimates_ask_the_cards(own: Path) -> None:
    found = jobs()
    assert found["none"].parts.cost.speed == 5000 and found["none"].parts.cost.kept == 5.0  # as of an unknown network
    wide = Path("suite.yaml").read_text().replace("codes: 5", "codes: 50000")
    small, soft = memory(found["soft"]), "soft"
    write(own, "suite.yaml", wide)
    assert memory(jobs()[soft]) > small


@pytest.mark.parametrize("label", ["white", "soft"])
def test_external_weights_of_an_own_embedding(own: Path, label: str) -> None:
    assert main(["run", "suite.yaml", "--only", "pretrain/"]) == 0
    job = jobs()[label]
    (folder,) = (own / "results/pretrain").glob(f"*-{job.config.model_dump()['embedding']['type']}-*")
    trained = load_encoder(folder, CPU, job.parts)
    (own / "data").mkdir()
    (own / "data/theirs.pt").write_bytes((folder / "checkpoint.pt").read_bytes())
    text = Path("suite.yaml").read_text().replace("methods: [simclr]", "methods: [external]\n  checkpoint: theirs.pt")
    settings = {"white": "white: {size: 6}", "soft": "soft: {type: tanh, codes: 5, tau: 0.5}"}[label]
    head, _, rest = text.partition("  embeddings: ")
    text = f"{head}  embeddings: {{{settings}}}\n{rest.partition(chr(10))[2]}"
    write(own, "theirs.yaml", text.replace("name: tiny", "name: theirs"))
    assert main(["run", "theirs.yaml"]) == 0
    (imported,) = (own / "results/pretrain").glob("external-*")
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(load_encoder(imported, CPU, job.parts)(images), trained(images))
    write(own, "theirs.yaml", text.replace("size: 6", "size: 7").replace("codes: 5", "codes: 7"))
    assert main(["run", "theirs.yaml", "--only", "pretrain/"]) == 1


def test_an_own_embedding_that_is_never_trained(own: Path) -> None:
    """It stands on the baseline, and its BatchNorm knows the training images."""
    write(own, "embeddings/white.yaml", WHITE_YAML + "trained: false\n")
    assert main(["run", "suite.yaml", "--only", "white"]) == 0
    found = jobs()
    (baseline,), (control,) = results("pretrain", "-none-"), results("pretrain", "-white-")
    assert control["inputs"] == {"pretrain": baseline["digest"]} == found["white"].inputs
    folder = next((own / "results/pretrain").glob("*-white-*"))
    below = next((own / "results/pretrain").glob("*-none-*"))
    encoder, plain = load_encoder(folder, CPU, found["white"].parts), load_encoder(below, CPU, found["none"].parts)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(encoder.backbone(images), plain.backbone(images))
    norm: Any = encoder.embedding.norm
    assert norm.running_mean.abs().sum() > 0 and norm.momentum == 0.1
    assert not torch.allclose(norm.running_var, torch.ones(6))


def test_they_are_listed(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "embeddings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split(maxsplit=1) == ["tanh", "tanh of z over a temperature"] for line in lines)
    assert {"none", "sem", "white"} <= {line.split()[0] for line in lines}
    assert main(["list", "backbones"]) == 0
    assert {"conv", "resnet18", "timm/NAME"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


SUITE_MISTAKES = {
    "unknown type": (
        "type: tanh",
        "type: tanhh",
        "grid.embeddings.soft.type: unknown type 'tanhh'; did you mean 'tanh'?",
    ),
    "unknown key": ("size: 6", "size: 6, gian: 2", "unknown key 'gian' in grid.embeddings.white; did you mean 'gain'?"),
    "absent": ("codes: 5, ", "", "grid.embeddings.soft: embedding type tanh needs codes"),
    "text": ("codes: 5", "codes: five", "grid.embeddings.soft.codes: should be a valid integer, found 'five'"),
    "a list": ("codes: 5", "codes: [5]", "grid.embeddings.soft.codes: should be a valid integer, found a list"),
    "not whole": ("codes: 5", "codes: 5.5", "grid.embeddings.soft.codes: should be a valid integer, found 5.5"),
    "too small": ("codes: 5", "codes: 1", "grid.embeddings.soft.codes: should be greater than or equal to 2, found 1"),
    "too large": ("size: 6", "size: 65", "grid.embeddings.white.size: should be less than or equal to 64, found 65"),
    "no choice": (
        "size: 6",
        "size: 6, sign: minsu",
        "grid.embeddings.white.sign: unknown value 'minsu'; did you mean 'minus'?",
    ),
    "too wide": ("codes: 5", "codes: 2000000", "grid.embeddings.soft: codes = 2000000 is above the limit of 1048576"),
    "own bounds of V": (
        "V: 3",
        "V: 2",
        "grid.embeddings.squared.V: should be greater than or equal to 3, found 2",
    ),
    "no temperature": ("size: 6", "size: 6, tau: 1", "grid.embeddings.white: embedding type white takes no tau"),
    "L of another": ("size: 6", "size: 6, L: 4", "grid.embeddings.white: embedding type white takes no L"),
    "a backbone": ("[conv]", "[conf]", "unknown backbone 'conf'; did you mean 'conv'?"),
}


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_numbers_that_are_none_in_a_card(own: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    replace_text(own / "backbones/conv.yaml", "width: 8", f"width: {value}")
    (line,) = problems(capsys, "suite.yaml")
    assert re.fullmatch(r"backbones/conv.yaml:\d+: arguments.width: (inf|-inf|nan) is not a finite number", line)


@pytest.mark.parametrize("mistake", SUITE_MISTAKES)
def test_mistakes_in_a_suite(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, expected = SUITE_MISTAKES[mistake]
    replace_text(own / "suite.yaml", old, new)
    line = 6 if "backbone" in mistake else 5
    assert problems(capsys, "suite.yaml") == [f"suite.yaml:{line}: {expected}"]


CARD_MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "no class": ("embeddings/white.yaml", "class: White", "class: Whit",
                 "1: embeddings/white.py has no class 'Whit'; did you mean 'White'?"),
    "no such parameter": ("embeddings/white.yaml", "gain: {", "gian: {",
                          "3: White takes no parameter 'gian'; did you mean 'gain'?"),
    "lacks one": ("embeddings/white.yaml", "gain: {from: 0, default: 1.5}, ", "",
                  "3: the card lacks White's parameter 'gain'"),
    "no tau": ("embeddings/white.yaml", "width: [size]", "temperature: true", "5: White takes no parameter 'tau'"),
    "representation": ("embeddings/white.yaml", "width: [size]", "representation: h",
                       "1: representation: h is what the backbone gives: choose another name"),
    "unknown size": ("embeddings/white.yaml", "width: [size]", "width: [siz]",
                     "width: 'siz' is no parameter; did you mean 'size'?"),
    "size is not whole": ("embeddings/white.yaml", "to: 64, whole: true", "to: 64", "size is a whole number"),
    "bad default": ("embeddings/white.yaml", "default: plus", "default: plsu",
                    "3: parameters.sign: default unknown value 'plsu'; did you mean 'plus'?"),
    "reversed": ("embeddings/white.yaml", "from: 2, to: 64", "from: 65, to: 64", "from 65 to 64 is reversed"),
    "key": ("embeddings/white.yaml", "summary:", "sumary:", "2: unknown key 'sumary'; did you mean 'summary'?"),
    "syntax": ("embeddings/white.py", "class White(", "class White((", "not valid Python"),
    "no function": ("backbones/conv.yaml", "build: conv", "build: cnov",
                    "1: backbones/conv.py has no function 'cnov'; did you mean 'conv'?"),
    "argument": ("backbones/conv.yaml", "width: 8", "widht: 8",
                 "3: conv takes no parameter 'widht'; did you mean 'width'?"),
    "no size": ("backbones/conv.py", "image_size, ", "", "1: conv takes no parameter 'image_size'"),
    "cost": ("backbones/conv.yaml", "speed: 5000", "speed: 0", "5: cost.speed: should be greater than 0, found 0"),
    "no code": ("backbones/conv.yaml", "build: conv", "build: conv\ncode: cnov.py",
                "the code backbones/cnov.py is missing"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CARD_MISTAKES)
def test_mistakes_in_a_card(mistake: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, old, new, expected = CARD_MISTAKES[mistake]
    replace_text(own / name, old, new)
    found = problems(capsys, "suite.yaml")
    assert any(line.startswith(f"{Path(name).with_suffix('')}") and expected in line for line in found), found
    assert all(line.startswith((f"{Path(name).with_suffix('')}.yaml:", f"{Path(name).with_suffix('')}.py:"))
               for line in found)  # fmt: skip
    assert main(["list", name.partition("/")[0]]) == 2


DOCTOR = {
    "well": ("backbones/conv.py", "", "", 0, "backbone     conv, 16 px: ok"),
    "features": ("backbones/conv.yaml", "features: 16", "features: 17", 2,
                 "backbone     conv, 16 px: it gives 16 features, its card says 17"),
    "out_dim": ("backbones/conv.py", "), 2 * width)", "), 3 * width)", 2,
                "backbone     conv, 16 px: it gives (2, 16) for 2 images, and not (2, 24), its out_dim"),
    "not built": ("backbones/conv.py", "3, width, 3, 2", "3, wdith, 3, 2", 2,
                  "backbone     conv, 16 px: it cannot be built or run: NameError: name 'wdith' is not defined"),
    "detached": ("backbones/conv.py", "nn.Conv2d(3, width, 3, 2, bias=False)",
                 "nn.Conv2d(3, width, 3, 2, bias=False).requires_grad_(False)", 2,
                 "method       simclr none: no gradient reaches encoder.backbone.network.0.weight"),
    "width": ("embeddings/white.py", "self.out_dim = size", "self.out_dim = size = size + 1", 2,
              "method       simclr white: the embedding gives 7 numbers, its card says 6"),
    "code": ("embeddings/white.py", "self.norm(self.map(h))", "self.nrom(self.map(h))", 2,
             "method       simclr white: it fails in its first steps: AttributeError: "),
}  # fmt: skip


@pytest.mark.parametrize("case", DOCTOR)
def test_doctor_tries_them(case: str, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, old, new, code, expected = DOCTOR[case]
    replace_text(own / name, old, new)
    assert main(["doctor", "suite.yaml"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(expected) for line in lines), lines


def test_cards_need_no_torch(own: Path) -> None:
    code = """
import sys
from pathlib import Path
from sem_bench.config.cards import Library
from sem_bench.nets.card import EmbeddingSettings, backbone_cards, embedding_card
from sem_bench.nets.encoder_parts import encoder_parts, own_code

library = Library(Path())
assert {"none", "sem", "white"} <= {embedding_card(library, name).name for name in library.names("embedding")}
assert {"resnet18", "conv", "timm"} <= {card.name for card in backbone_cards(library)}
encoder_parts(library, EmbeddingSettings(type="sem", L=4, V=3, tau=1.0), "resnet18")
assert all(own_code(library, "white", "conv").values())
print({"torch", "numpy", "timm"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_family_of_backbones(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NAME/MODEL, where a file beside the card says which models there are."""
    write(own, "backbones/conv.yaml", CONV_YAML.replace("arguments: {width: 8}", "models: sizes.py").replace("16", "8"))
    write(own, "backbones/conv.py", CONV_PY.replace("width):", "name):\n    width = int(name)"))
    write(own, "backbones/sizes.py", "def problem(model):\n    return '' if model == '4' else f'there is no {model}'\n")
    text = Path("suite.yaml").read_text()
    for name, expected in (
        ("conv/5", "conv/5: there is no 5"),
        ("conv", "conv: write conv/ and the name of a model"),
        ("conf/4", "unknown backbone 'conf/4'; did you mean"),
        ("resnet18/4", "unknown backbone 'resnet18/4'; did you mean 'resnet18'?"),
    ):
        write(own, "suite.yaml", text.replace("[conv]", f"[{name}]"))
        (line,) = problems(capsys, "suite.yaml")
        assert line.startswith(f"suite.yaml:6: {expected}")
    write(own, "suite.yaml", text.replace("[conv]", "[conv/4]"))
    assert main(["doctor", "suite.yaml"]) == 0
    assert "backbone     conv/4, 16 px: ok" in capsys.readouterr().out
    assert {"conv-4"} == {job.slug.split("-toy")[0][-6:] for job in jobs().values()}
    write(own, "backbones/sizes.py", "def problem(model):\n    return model.nothing\n")
    (line,) = problems(capsys, "suite.yaml")
    assert line == "suite.yaml:6: conv/4: sizes.py fails: AttributeError: 'str' object has no attribute 'nothing'"


def test_packages_that_are_not_there(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(own, "backbones/conv.yaml", CONV_YAML + "packages: {no-such-thing: 'no-such-thing>=1'}\n")
    write(own, "embeddings/white.yaml", WHITE_YAML + "packages: {nor-this: nor-this}\n")
    assert problems(capsys, "suite.yaml") == [
        "suite.yaml:6: conv: needs no-such-thing: pip install no-such-thing>=1",
        "suite.yaml:5: grid.embeddings.white: embedding type white needs nor-this: pip install nor-this",
    ]
    assert main(["list", "backbones"]) == 0
    assert "two convolutions; needs no-such-thing" in capsys.readouterr().out
