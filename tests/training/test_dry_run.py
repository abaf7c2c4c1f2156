"""What every method must do, in every embedding; the same check runs on a user's own method in `doctor`."""

from pathlib import Path

import pytest
import torch

from sem_bench.cli import main
from sem_bench.config.cards import Library
from sem_bench.runs.plan import read_plan
from sem_bench.training import card as training_card
from sem_bench.training import dry_run
from sem_bench.training.job import PretrainJob
from tests.helpers.places import REPOSITORY
from tests.helpers.toy import SUITE, method_card, write

METHODS = [name for name in Library(REPOSITORY).names("method") if name != "external"]
EMBEDDINGS = {
    "none": "{}",
    "linear": "{L: 4, V: 3}",
    "sem": "{L: 4, V: 3, tau: 1.0, tau_target: 0.5}",
    "gumbel": "{L: 4, V: 3, tau: 1.0}",
    "sparsemax": "{L: 4, V: 3, tau: 1.0}",
    "argmax": "{L: 4, V: 3, tau: 1.0}",
    "fsq": "{L: 4, V: 3}",
}


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name: str, embedding: str, folder: Path) -> None:
    settings = [f"grid.methods=[{name}]", f"grid.embeddings={{{embedding}: {EMBEDDINGS[embedding]}}}"]
    job = read_plan(Path("suite.yaml"), settings).jobs[0]
    assert isinstance(job.config, PretrainJob)
    assert dry_run.trial(job.config, job.method_code)[0] == []


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_multi_crop(name: str, folder: Path) -> None:
    """A recipe with two more views of another size."""
    repository = REPOSITORY
    card = (repository / f"methods/{name}.yaml").read_text()
    local = "      - *view\n" + 2 * "      - {size: 12, crop_scale: [0.1, 0.4], flip: 0.5}\n"
    assert card.count("      - *view\n") == 1
    write(folder, f"methods/{name}.yaml", card.replace("      - *view\n", local))
    write(folder, f"methods/{name}.py", (repository / f"methods/{name}.py").read_text())
    job = read_plan(Path("suite.yaml"), [f"grid.methods=[{name}]"]).jobs[0]
    assert isinstance(job.config, PretrainJob) and len(job.config.training.views) == 4
    assert dry_run.trial(job.config, job.method_code)[0] == []
    assert main(["run", "suite.yaml", "--set", f"grid.methods=[{name}]", "--only", "pretrain/"]) == 0


def test_a_queue_that_is_used_survives_a_restart(folder: Path) -> None:
    job = read_plan(Path("suite.yaml"), ["grid.methods=[swav]"]).jobs[0]
    assert isinstance(job.config, PretrainJob)
    queued = dict(job.config.training.parameters) | {"queue": 16, "queue_from": 0.0}
    training = job.config.training.model_copy(update={"parameters": queued})
    assert dry_run.trial(job.config.model_copy(update={"training": training}), job.method_code)[0] == []


def test_images_that_are_too_small_for_bfloat16(folder: Path) -> None:
    """At 8 px the last stage sees single points, whose gradients torch gets wrong in bfloat16 on a CPU."""
    card = (folder / "datasets/toy.yaml").read_text()
    write(folder, "datasets/toy.yaml", card.replace("image_size: 16", "image_size: 8"))
    job = read_plan(Path("suite.yaml")).jobs[0]
    assert isinstance(job.config, PretrainJob)
    for _ in range(3):
        assert dry_run.trial(job.config, job.method_code)[0] == []


MINE = '''
import torch
from torch import nn

from sem_bench.method import Method


class Mine(Method):
    """The two views shall be alike, and their mean shall follow a running one."""

    def __init__(self, encoder, *, width):
        super().__init__(encoder)
        self.head = nn.Linear(encoder.out_dim, width)
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, batch):
        return tuple(self.head(self.encoder(view)) for view in batch.views)

    def loss(self, first, second):
        self.latest = first.detach().mean(0)
        return ((first - second) ** 2).mean() + ((first - self.centre) ** 2).mean()

    def after_step(self, step, total):
        self.centre.lerp_(self.latest, 0.1)
'''
CARD = method_card("Mine", parameters="width: 8")


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ("", "", "ok"),
        (
            'self.register_buffer("centre", torch.zeros(width))',
            "self.centre = torch.zeros(width)",
            "it goes on otherwise",
        ),
        ("second) ** 2).mean() +", "second) ** 2).mean(1) +", "it fails in its first steps: TypeError: "),
        ("self.encoder(view)", "self.encoder(view).detach()", "no gradient reaches encoder.backbone."),
        ("return ((first", "return torch.inf * ((first", "the loss is inf"),
        (
            "self.head(",
            "self.haed(",
            "it fails in its first steps: AttributeError: 'Mine' object has no attribute 'haed'",
        ),
    ],
)
def test_doctor_looks_at_the_methods_of_a_suite(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, expected: str
) -> None:
    assert right in MINE
    write(folder, "methods/mine.py", MINE.replace(right, wrong))
    write(folder, "methods/mine.yaml", CARD)
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["doctor", "suite.yaml"]) == (0 if expected == "ok" else 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("method")]
    assert len(lines) == 2
    assert lines[0].startswith(f"method       mine none: {expected}") and f"mine sem: {expected}" in lines[1]


@pytest.mark.cases
@pytest.mark.parametrize("name", METHODS)
def test_the_smallest_batch_that_a_method_states(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It trains: another image changes the others' gradients in more than a sign. One less is refused with its line."""
    least = training_card.method_card(Library(REPOSITORY), name).content.smallest_batch
    write(folder, "suite.yaml", SUITE.replace("[simclr]", f"[{name}]").replace("50}", f"{least}, lr: 0.001}}"))
    for job in read_plan(Path("suite.yaml")).jobs:
        if isinstance(job.config, PretrainJob):
            assert job.config.training.batch_size == least
            assert dry_run.trial(job.config, job.method_code) == ([], least)
    assert main(["run", "suite.yaml", "--only", "pretrain/", "--set", "grid.images={train: 40, test: 20}"]) == 0
    capsys.readouterr()
    write(folder, "suite.yaml", (folder / "suite.yaml").read_text().replace(f"size: {least}", f"size: {least - 1}"))
    assert main(["plan", "suite.yaml"]) == 2
    refused = f"suite.yaml:8: {name} cannot be trained with batches of {least - 1}; the smallest that its card states"
    assert refused in capsys.readouterr().err


def test_batch_norm_of_two_images_leaves_signs() -> None:
    """Why the methods state three."""
    for count, signs in ((2, True), (3, False)):
        out = torch.nn.BatchNorm1d(8, affine=False)(torch.randn(count, 8, generator=torch.Generator().manual_seed(0)))
        assert bool((out.abs() - 1).abs().max() < 0.01) == signs


def test_a_recipe_below_the_cards_smallest_batch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "methods/mine.py", MINE)
    write(folder, "methods/mine.yaml", CARD.replace("recipes:", "smallest_batch: 64\nrecipes:"))
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["plan", "suite.yaml"]) == 2
    assert "methods/mine.yaml:9: 50 is below `smallest_batch`, 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("        assert len(first) < 20, 'a queue of 20'\n", "it fails with batches of 50, its own: AssertionError"),
        ("        first = first / (len(first) < 20)\n", "with batches of 50 the loss is "),
    ],
)
def test_doctor_tries_the_batch_of_the_arm(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    start = "        self.latest = first"
    write(folder, "methods/mine.py", MINE.replace(start, line + start))
    write(folder, "methods/mine.yaml", CARD)
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[mine]"))
    assert main(["doctor", "suite.yaml"]) == 2
    assert f"method       mine none: {said}" in capsys.readouterr().out
    assert main(["doctor", "suite.yaml", "--set", "pretrain.batch_size=16"]) == 0


def test_doctor_tries_every_recipe_and_batch_of_an_arm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "datasets/more.yaml", (folder / "datasets/toy.yaml").read_text().replace("train: 200", "train: 400"))
    write(folder, "datasets/more.py", (folder / "datasets/toy.py").read_text())
    grid = (
        "  methods: [simclr]\n  embeddings: {none: {}}\n  backbones: [resnet10w16s2]\n  datasets: [toy]\n"
        "- {methods: [simclr], embeddings: {none: {}}, backbones: [resnet10w16s2], datasets: [more],\n"
        "   pretrain: {batch_size: 100}}\n"
    )
    head, rest = SUITE.split("grid:\n")
    tail = rest[rest.index("pretrain:") :]
    write(folder, "suite.yaml", head + "grid:\n- " + grid.lstrip() + tail)
    assert main(["doctor", "suite.yaml"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("method")]
    assert [line.split(None, 1)[1] for line in lines] == [
        "simclr none: ok",
        "simclr none (none, 16 px): ok",
    ]


def test_a_batch_that_would_take_long_is_tried_smaller(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "WORK", 10**6)
    assert main(["doctor", "suite.yaml"]) == 0
    assert "method       simclr none: ok, tried with batches of 12 and not 50" in capsys.readouterr().out
