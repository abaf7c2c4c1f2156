"""A user's mistake in any file gets one clear line with file, line and the nearest right spelling, and exit code 2."""

from pathlib import Path

import pytest

from sem_bench.cli import main
from sem_bench.config.cards import load_code
from tests.helpers.commands import problems
from tests.helpers.toy import SUITE, TOY_PY, TOY_YAML, write

TWO_GRIDS = """
name: tiny
seeds: [0]
grid:
  - {methods: [simclr], embeddings: {none: {}}, backbones: [resnet10w16s2], datasets: [toy]}
  - {methods: [byol], embeddings: {none: {}}, backbones: [resnet10w16s2], datasets: [toy]}
pretrain: {recipe: quick, epochs: 1, batch_size: 50}
"""


MISTAKES = {
    "unknown key": (
        "methods: [simclr]",
        "metods: [simclr]",
        "suite.yaml:4: unknown key 'metods' in grid; did you mean 'methods'?",
    ),
    "unknown top key": ("name: tiny", "name: tiny\nseed: 3", "suite.yaml:2: unknown key 'seed'; did you mean 'seeds'?"),
    "another word for a key": (
        "V: 3",
        "V: 3, temperature: 0.1",
        "suite.yaml:5: unknown key 'temperature' in grid.embeddings.sem; did you mean 'tau'?",
    ),
    "number for keys": (
        "evaluate:",
        "evaluate:\n  relevance: 5",
        "suite.yaml:10: evaluate.relevance: expected keys and values, found 5; its keys are top_k, neighbours, "
        "permutations, as in {top_k: 5}",
    ),
    "word for keys": (
        "{recipe: quick, epochs: 2, batch_size: 50}",
        "quick",
        "suite.yaml:8: pretrain: expected keys and values, found 'quick'; its keys are recipe, epochs, batch_size, "
        "accumulate, lr, weight_decay, mixup",
    ),
    "names for arms": (
        "{none: {}, sem: {L: 4, V: 3}}",
        "[none, sem]",
        "suite.yaml:5: grid.embeddings: expected keys and values, found a list; write {none: {...}, sem: {...}}",
    ),
    "capitals": (
        "sem: {L: 4, V: 3}",
        "SEM: {L: 4, V: 3}",
        "suite.yaml:5: missing key 'type' in grid.embeddings.SEM; write 'sem' for 'SEM'",
    ),
    "nothing in braces": (
        "{none: {}, ",
        "{none:, ",
        "suite.yaml:5: unexpected ':'; in braces a space follows it, and {} stands for nothing",
    ),
    "number for a name": (
        "name: tiny",
        "name: 2026",
        'suite.yaml:1: name: should be a valid string, found 2026; write "2026"',
    ),
    "percent": (
        "[1.0, 0.1]",
        "[1, 5]",
        "suite.yaml:10: evaluate.probe.fractions[1]: should be less than or equal to 1, found 5; "
        "it is a share: 5 % is 0.05",
    ),
    "duplicate key": ("seeds: [0]", "seeds: [0]\nseeds: [1]", "suite.yaml:3: "),
    "wrong type": (
        "epochs: 2",
        "epochs: many",
        "suite.yaml:8: pretrain.epochs: should be a valid integer, found 'many'",
    ),
    "number as text": (
        "epochs: 2",
        "epochs: '2'",
        "suite.yaml:8: pretrain.epochs: should be a valid integer, found '2'; write 2",
    ),
    "float for int": (
        "epochs: 2",
        "epochs: 2.5",
        "suite.yaml:8: pretrain.epochs: should be a valid integer, found 2.5",
    ),
    "bool for int": (
        "epochs: 2",
        "epochs: true",
        "suite.yaml:8: pretrain.epochs: should be a valid integer, found True",
    ),
    "negative": (
        "epochs: 2",
        "epochs: -1",
        "suite.yaml:8: pretrain.epochs: should be greater than or equal to 0, found -1",
    ),
    "method": ("[simclr]", "[simclar]", "suite.yaml:4: unknown method 'simclar'; did you mean 'simclr'?"),
    "data set": ("[toy]", "[tay]", "suite.yaml:7: unknown dataset 'tay'; did you mean 'toy'?"),
    "backbone": (
        "[resnet10w16s2]",
        "[resnet81]",
        "suite.yaml:6: unknown backbone 'resnet81'; did you mean 'resnet18'?",
    ),
    "embedding": (
        "sem: {L: 4, V: 3}",
        "wide: {type: sme, L: 4, V: 3}",
        "suite.yaml:5: grid.embeddings.wide.type: unknown type 'sme'; did you mean 'sem'?",
    ),
    "embedding without type": (
        "sem: {L: 4, V: 3}",
        "wide: {L: 4, V: 3}",
        "suite.yaml:5: missing key 'type' in grid.embeddings.wide",
    ),
    "recipe": (
        "recipe: quick",
        "recipe: quik",
        "suite.yaml:8: method 'simclr' has no recipe 'quik'; did you mean 'quick'?",
    ),
    "V too small": (
        "V: 3",
        "V: 1",
        "suite.yaml:5: grid.embeddings.sem.V: should be greater than or equal to 2, found 1",
    ),
    "L too small": (
        "L: 4",
        "L: 0",
        "suite.yaml:5: grid.embeddings.sem.L: should be greater than or equal to 1, found 0",
    ),
    "too wide": (
        "L: 4, V: 3",
        "L: 1048576, V: 2",
        "suite.yaml:5: grid.embeddings.sem: L*V = 2097152 is above the limit of 1048576",
    ),
    "no size": ("L: 4, V: 3", "L: 4", "suite.yaml:5: grid.embeddings.sem: embedding type sem needs V"),
    "size of none": ("none: {}", "none: {L: 4}", "suite.yaml:5: grid.embeddings.none: embedding type none takes no L"),
    "tau nan": ("V: 3", "V: 3, tau: .nan", "suite.yaml:5: grid.embeddings.sem.tau: nan is not a finite number"),
    "tau inf": ("V: 3", "V: 3, tau: .inf", "suite.yaml:5: grid.embeddings.sem.tau: inf is not a finite number"),
    "tau zero": ("V: 3", "V: 3, tau: 0", "suite.yaml:5: grid.embeddings.sem.tau: should be greater than 0, found 0"),
    "tau negative": (
        "V: 3",
        "V: 3, tau_target: -1",
        "suite.yaml:5: grid.embeddings.sem.tau_target: should be greater than 0, found -1",
    ),
    "tau of the grid": (
        "tau: [0.3, 1.0]",
        "tau: [0.3, 0]",
        "suite.yaml:10: evaluate.probe.tau[1]: should be greater than 0, found 0",
    ),
    "empty tau": ("tau: [0.3, 1.0]", "tau: []", "suite.yaml:10: evaluate.probe.tau: must not be empty"),
    "fraction": (
        "[1.0, 0.1]",
        "[1.5]",
        "suite.yaml:10: evaluate.probe.fractions[0]: should be less than or equal to 1, found 1.5",
    ),
    "one penalty": (
        "l2: [1e-4, 1e-2]",
        "l2: [1e-4]",
        "suite.yaml:10: evaluate.probe: l2 needs two values, or arms without a temperature could not search as many",
    ),
    "epochs without end": (
        "epochs: 2",
        "epochs: 99999999999",
        "suite.yaml:8: pretrain.epochs: should be less than or equal to 1000000, found 99999999999",
    ),
    "empty seeds": ("seeds: [0]", "seeds: []", "suite.yaml:2: seeds: must not be empty"),
    "repeated seed": ("seeds: [0]", "seeds: [0, 1, 0]", "suite.yaml:2: seeds: 0 stands there twice"),
    "empty grid": ("methods: [simclr]", "methods: []", "suite.yaml:4: grid.methods: must not be empty"),
    "no grids": (
        SUITE[SUITE.index("grid:") : SUITE.index("pretrain:")],
        "grid: []\n",
        "suite.yaml:3: grid: must not be empty",
    ),
    "missing key": ("seeds: [0]\n", "", "suite.yaml:1: missing key 'seeds'"),
    "name": (
        "name: tiny",
        "name: ../tiny",
        "suite.yaml:1: name: '../tiny' is no name: letters, digits, '.', '_' and '-' only",
    ),
    "batch": (
        "batch_size: 50",
        "batch_size: 500",
        "suite.yaml:8: simclr's 500 images a step are more than the 200 training images of 'toy'",
    ),
    "python tag": ("name: tiny", "name: !!python/object/apply:os.mkdir [hacked]", "suite.yaml:1: "),
    "tab": ("  methods:", "\tmethods:", "suite.yaml:4: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_for_each_mistake(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, expected = MISTAKES[name]
    assert right in SUITE
    write(folder, "suite.yaml", SUITE.replace(right, wrong, 1))
    lines = problems(capsys, "suite.yaml")
    assert len(lines) == 1
    assert lines[0] == expected or (expected.endswith(": ") and lines[0].startswith(expected))
    assert not (folder / "hacked").exists()


def test_all_mistakes_of_all_files_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("seeds: [0]", "seeds: []").replace("[simclr]", "[simclr, byl]"))
    write(folder, "datasets/toy.yaml", TOY_YAML.replace("image_size: 16", "image_size: small"))
    assert problems(capsys, "suite.yaml") == [
        "suite.yaml:4: unknown method 'byl'; did you mean 'byol'?",
        "datasets/toy.yaml:4: image_size: should be a valid integer, found 'small'",
        "suite.yaml:2: seeds: must not be empty",
    ]


CARD_MISTAKES = {
    "an argument of the engine's": (
        "{type: python}",
        "{type: python, arguments: {count: 3}}",
        "datasets/toy.yaml:2: arguments must not hold 'count', which the card's other keys give",
    ),
    "class missing from a superclass": (
        "cold: [blue, grey]",
        "cold: [blue]",
        "datasets/toy.yaml:6: superclasses must hold every class once; look at 'grey'",
    ),
    "strange superclass member": (
        "[blue, grey]",
        "[blue, gray]",
        "datasets/toy.yaml:6: superclasses must hold every class once; look at 'gray'",
    ),
    "repeated class": (
        "[red, green, blue, grey]",
        "[red, red, blue, grey]",
        "datasets/toy.yaml:5: classes: 'red' stands there twice",
    ),
    "no test split": (", test: 80", "", "suite.yaml:7: 'toy' has no labelled train and test images, which probe needs"),
    "std of zero": (
        "std: [0.25,",
        "std: [0,",
        "datasets/toy.yaml:7: normalise.std[0]: should be greater than 0, found 0",
    ),
    "unknown source": (
        "{type: python}",
        "{type: pyton}",
        "datasets/toy.yaml:2: source.type: unknown type 'pyton'; did you mean 'python'?",
    ),
}


@pytest.mark.parametrize("name", CARD_MISTAKES)
def test_mistakes_in_a_data_card(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, expected = CARD_MISTAKES[name]
    assert right in TOY_YAML
    write(folder, "datasets/toy.yaml", TOY_YAML.replace(right, wrong, 1))
    line = problems(capsys, "suite.yaml")[0]
    where, _, what = expected.partition(": ")
    assert what in line
    assert line.startswith(where) or what.startswith(("superclasses must", "splits needs"))


def test_mistakes_in_code_beside_a_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "datasets/toy.py", TOY_PY.replace("def load", "def lode"))
    assert problems(capsys, "suite.yaml") == ["datasets/toy.yaml:2: datasets/toy.py has no function 'load'"]
    write(folder, "datasets/toy.py", "def load(:\n")
    assert problems(capsys, "suite.yaml")[0].startswith("datasets/toy.py:1: not valid Python")
    (folder / "datasets/toy.py").unlink()
    assert problems(capsys, "suite.yaml") == ["datasets/toy.yaml:1: the code datasets/toy.py is missing"]


def test_code_in_another_encoding(folder: Path) -> None:
    path = folder / "datasets/toy.py"
    path.write_bytes(b"# coding: latin-1\n# caf\xe9\n" + path.read_bytes())
    assert main(["plan", "suite.yaml"]) == 0
    _, labels = load_code(path).load("train", count=8, image_size=4)
    assert len(labels) == 8


METHOD_PY = """
from sem_bench.method import Method


class Mine(Method):
    def __init__(self, encoder, *, hidden, out=8):
        super().__init__(encoder)
"""
METHOD_YAML = """
class: Mine
summary: mine
source: me
recipes:
  quick:
    source: ours
    epochs: 1
    batch_size: 50
    optimizer: {name: sgd, lr: 0.1}
    views: [{}, {}]
    parameters: {hidden: 8}
    sem: {tau: 1}
"""


def test_mistakes_in_a_method_card(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    write(folder, "methods/mine.py", METHOD_PY)
    write(folder, "methods/mine.yaml", METHOD_YAML)
    assert main(["plan", "suite.yaml"]) == 0
    capsys.readouterr()
    for right, wrong, expected in (
        (
            "class: Mine",
            "class: Mime",
            "methods/mine.yaml:1: methods/mine.py has no class 'Mime'; did you mean 'Mine'?",
        ),
        ("{hidden: 8}", "{hiden: 8}", "methods/mine.yaml:11: Mine takes no parameter 'hiden'; did you mean 'hidden'?"),
        (
            "name: sgd",
            "name: sdg",
            "methods/mine.yaml:9: recipes.quick.optimizer.name: unknown name 'sdg'; did you mean 'sgd'?",
        ),
        (
            "views: [{}, {}]",
            "views: [{crop_scale: [1.0, 0.2]}]",
            "methods/mine.yaml:10: recipes.quick.views[0].crop_scale: [1, 0.2] is reversed",
        ),
        ("    source: ours\n", "", "methods/mine.yaml:5: missing key 'source' in recipes.quick"),
        ("me\n", "me\nlimits: {hidden: [1, 4]}\n", "methods/mine.yaml:12: hidden must lie from 1 to 4, found 8"),
        ("me\n", "me\nlimits: {hidden: [4, 1]}\n", "methods/mine.yaml:4: limits.hidden: [4, 1] is reversed"),
        ("me\n", "me\nlimits: {depth: [1, 4]}\n", "methods/mine.yaml:4: no recipe has a parameter 'depth'"),
    ):
        assert right in METHOD_YAML
        write(folder, "methods/mine.yaml", METHOD_YAML.replace(right, wrong, 1))
        assert problems(capsys, "suite.yaml")[0] == expected


def test_files_that_are_no_suite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "suite.yaml" in problems(capsys, "suit.yaml")[0]
    assert "folder" in problems(capsys, "datasets")[0]
    (folder / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    assert problems(capsys, "latin.yaml")[0].startswith("latin.yaml:1: not UTF-8")
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))
    write(folder, "bomb.yaml", bomb)
    assert problems(capsys, "bomb.yaml")[0].startswith("bomb.yaml:")
    write(folder, "list.yaml", "- a\n- b\n")
    assert problems(capsys, "list.yaml") == ["list.yaml:1: expected keys and values, found a list"]


def test_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "suite.yaml", "--set", "pretrain.epochs=3", "--set", "evaluate={knn: {}}"]) == 0
    output = capsys.readouterr().out
    assert "-e3-s0" in output and "probe" not in output
    for assignment, expected in (
        ("pretrain.epoch=3", "--set pretrain.epoch=3: unknown key 'epoch' in pretrain; did you mean 'epochs'?"),
        ("seeds=[]", "--set seeds=[]: seeds: must not be empty"),
        ("seeds", "--set seeds: expected KEY=VALUE, such as pretrain.epochs=5"),
        ("name.x=1", "--set name.x=1: 'x' stands below a value, not below keys"),
        ("grid.methods=[simclar]", "--set grid.methods=[simclar]: unknown method 'simclar'; did you mean 'simclr'?"),
    ):
        assert problems(capsys, "suite.yaml", "--set", assignment) == [expected]
    assert problems(capsys, "suite.yaml", "--set", "seeds=[0")[0].startswith("--set seeds=[0:1: ")


def test_set_reaches_each_grid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", TWO_GRIDS)
    assert main(["plan", "suite.yaml", "--set", "grid.backbones=[resnet10w16]"]) == 0
    output = capsys.readouterr().out
    assert "simclr-none-resnet10w16-toy" in output and "byol-none-resnet10w16-toy" in output
    assert "resnet10w16s2" not in output


def test_mistakes_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["plan"], ["run", "suite.yaml", "--rerun", "some"], ["dance"], ["list", "seeds"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_set_reaches_one_grid_by_its_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "suite.yaml", TWO_GRIDS)
    assert main(["plan", "suite.yaml", "--set", "grid.1.backbones=[resnet10w16]"]) == 0
    output = capsys.readouterr().out
    assert "simclr-none-resnet10w16s2-toy" in output and "byol-none-resnet10w16-toy" in output
    expected = "--set grid.2.methods=[byol]: the suite has grids 0 to 1"
    assert problems(capsys, "suite.yaml", "--set", "grid.2.methods=[byol]") == [expected]
    write(folder, "suite.yaml", SUITE)
    assert main(["plan", "suite.yaml", "--set", "grid.0.methods=[byol]"]) == 2  # no list there
    capsys.readouterr()


def test_a_grid_can_have_a_recipe_and_changes_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TWO_GRIDS.replace("{methods: [byol],", "{pretrain: {epochs: 7, recipe: small}, methods: [byol],")
    write(folder, "suite.yaml", text)
    assert main(["plan", "suite.yaml"]) == 0
    output = capsys.readouterr().out
    assert "simclr-none-resnet10w16s2-toy-e1-s0" in output and "byol-none-resnet10w16s2-toy-e7-s0" in output
    write(folder, "suite.yaml", text.replace("recipe: small", "recipe: smal"))
    (line,) = problems(capsys, "suite.yaml")
    assert line.startswith("suite.yaml:5: method 'byol' has no recipe 'smal'; did you mean 'small'?")
    write(folder, "suite.yaml", text.replace("epochs: 7", "epoch: 7"))
    assert "unknown key 'epoch' in grid[1].pretrain; did you mean 'epochs'?" in problems(capsys, "suite.yaml")[0]


def test_two_grids_that_would_share_a_row_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = TWO_GRIDS.replace("[byol]", "[simclr]")
    write(folder, "suite.yaml", same)
    assert main(["plan", "suite.yaml"]) == 0  # they are the same jobs
    capsys.readouterr()
    for change in ("pretrain: {lr: 0.001}", "images: {pretrain: 100, train: 100}"):
        other = same.replace("  - {methods", f"  - {{{change}, methods", 2).replace(f"{{{change}, ", "{", 1)
        write(folder, "suite.yaml", other)
        if "images" in change:  # which the row names
            assert main(["plan", "suite.yaml"]) == 0
            capsys.readouterr()
            continue
        assert problems(capsys, "suite.yaml") == [
            "suite.yaml:5: simclr with 'none' is trained otherwise than in grid 0, and would share its row: "
            "give it another label, such as none_2: {type: none, ...}"
        ]
        write(folder, "suite.yaml", other[::-1].replace("{none: {}}"[::-1], "{none_2: {type: none}}"[::-1], 1)[::-1])
        assert main(["plan", "suite.yaml"]) == 0
        capsys.readouterr()


def test_only_can_be_given_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite.yaml", "--only", "pretrain/simclr-none", "--only", "pretrain/simclr-sem"]) == 0
    assert len(list((folder / "results/pretrain").glob("*/result.json"))) == 2
