"""A step asks the device for nothing: the host would wait for a GPU. And a loss that it hears of late is not lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from sem_bench.base.device import placed
from sem_bench.cli import main
from sem_bench.nets.encoder_parts import built_in
from sem_bench.training.card import method_card
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.dry_run import IMAGES, noise, shortened, started
from sem_bench.training.job import MethodRef, PretrainJob
from sem_bench.training.views import ViewPlan, Views
from tests.helpers.commands import BROKEN_LOSS, FRAGILE
from tests.helpers.methods import EMBEDDINGS, LIBRARY, TRAINED, build, pretrain_job
from tests.helpers.toy import SUITE, write

CPU = torch.device("cpu")
STEPS = 20
ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero"}
LIGHTLYS = {"simclr", "vicreg"}  # lightly's losses take the off-diagonal by a mask, which a GPU has to count
MASKS = {"index", "index_put"}


class Asked(TorchDispatchMode):
    """What asks for numbers that would be on a GPU: those of the roots, and all that is computed from them."""

    def __init__(self, roots: Iterator[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.there: Any = WeakIdKeyDictionary()
        for root in roots:
            self.there[root] = True
        self.found: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = list(_tensors([args, kwargs]))
        there = any(one in self.there for one in given)
        name = function.overloadpacket.__name__
        masks = name.rstrip("_") in MASKS and any(one.dtype == torch.bool for one in _tensors(args[1]))
        if there and (name in ASKING or masks):
            self.found.add(name)
        result = function(*args, **(kwargs or {}))
        for one in _tensors(result) if there else ():
            self.there[one] = True
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def asked(name: str, embedding: str) -> set[str]:
    """What the steps of a method in its quick recipe ask for."""
    card = method_card(LIBRARY, name)
    job = pretrain_job(**EMBEDDINGS[embedding])
    ref = MethodRef(name=name, class_name=card.content.class_name, code="0", labels=card.content.labels)
    recipe = {field: getattr(card.content.recipes["quick"], field) for field in ("parameters", "views", "optimizer")}
    job = job.model_copy(update={"method": ref, "training": job.training.model_copy(update=recipe)})
    job, parts = shortened(job, built_in(job.embedding, job.backbone))
    job = with_epochs(job, -(-STEPS // (IMAGES // job.training.batch_size)))
    with Views(ViewPlan.of(job), noise(16), CPU, last=STEPS) as views:
        state, step = started(job, card.code, views, parts)
        assert views.images is not None
        weights = [*state.method.parameters(), *(buffer for buffer in state.method.buffers() if buffer.ndim)]
        with Asked(iter([*weights, views.images])) as mode:
            for _ in range(STEPS):
                step()
                state.step += 1
    found: set[str] = mode.found
    return found


def with_epochs(job: PretrainJob, epochs: int) -> PretrainJob:
    return job.model_copy(update={"training": job.training.model_copy(update={"epochs": epochs})})


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_waits_for_nothing(name: str) -> None:
    for embedding in ("none", "sem"):
        assert asked(name, embedding) == (MASKS if name in LIGHTLYS else set())


def test_the_watch_sees_what_asks() -> None:
    weight = torch.ones(3)
    with Asked(iter([weight])) as mode:
        float(torch.ones(3).sum())
        assert not mode.found
        bool((2 * weight).sum() > 1)
        weight[weight > 0]
    assert mode.found == {"_local_scalar_dense", "index"}


@pytest.mark.parametrize("name", ["dino", "swav", "moco"])
def test_single_numbers_of_a_method_stay_on_the_host(name: str) -> None:
    """A step asks them how far the training is. The rest goes to the device."""
    method = placed(build(name), torch.device("meta"))
    here = {key for key, value in method.state_dict().items() if value.device == CPU}
    own = {key for key, value in build(name).named_buffers() if value.ndim == 0 and "num_batches" not in key}
    assert here == own != set()
    assert method.encoder.backbone.network[1].num_batches_tracked.device.type == "meta"


def training() -> TrainingState:
    method = build("simclr")
    return TrainingState(method, torch.optim.SGD(method.parameters()), "images")


def test_a_loss_is_looked_at_late_and_with_its_own_place() -> None:
    state = training()
    for number, losses in enumerate([[1.0, 2.0], [3.0, 3.0], [float("nan"), 1.0]]):
        state.note(torch.tensor(losses), f"step {number}")
        state.look(behind=1)
    assert state.losses == [1.5, 3.0]
    state.note(torch.tensor([2.0]), "step 3")
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="the loss is nan in step 2"):
            state.look()
    assert state.losses == [1.5, 3.0]


def test_no_checkpoint_after_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    state = training()
    state.note(torch.tensor([1.0]), "step 0")
    state.save(tmp_path / "checkpoint.pt")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["losses"] == [1.0]
    before = (tmp_path / "checkpoint.pt").read_bytes()
    state.note(torch.tensor([float("inf")]), "step 1")
    with pytest.raises(FloatingPointError, match="the loss is inf in step 1"):
        state.save(tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("after", ["return (first * 0).mean()", "raise RuntimeError('of nan weights')"])
def test_the_step_that_failed_is_named_whatever_comes_after(folder: Path, after: str) -> None:
    """The third loss is not finite; the next step goes on, or fails by itself."""
    loss = f"""
        self.count = getattr(self, "count", -1) + 1
        if self.count > 2:
            {after}
        return (first - second).square().mean() * (float("nan") if self.count == 2 else 1.0)
"""
    start = BROKEN_LOSS.index("        if Path")
    write(folder, "methods/fragile.py", BROKEN_LOSS[:start] + loss)
    write(folder, "methods/fragile.yaml", FRAGILE)
    write(folder, "suite.yaml", SUITE.replace("[simclr]", "[fragile]"))
    assert main(["run", "suite.yaml", "--only", "pretrain/fragile-none"]) == 1
    (error,) = folder.glob("results/pretrain/*/error.txt")
    assert "FloatingPointError: the loss is nan in epoch 0, step 2 of 8" in error.read_text()
    for path in folder.glob("results/pretrain/*/checkpoint.pt"):  # of an earlier step, if any
        kept = torch.load(path, weights_only=True)
        assert kept["step"] == len(kept["losses"]) <= 2
