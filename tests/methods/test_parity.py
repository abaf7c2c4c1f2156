"""Losses, queues, codes, centres, schedules and momentum branches against references written by hand, in float64."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.method import Batch
from sem_bench.nets.embeddings import sem
from tests.helpers.methods import TRAINED, batch, build
from tests.helpers.tensors import random, softmax, unit

# Each online part and its momentum average.
MOMENTUM = {
    "byol": {"encoder": "target_encoder", "projector": "target_projector"},
    "moco": {"encoder": "key_encoder", "projector": "key_projector"},
    "dino": {"encoder": "teacher_encoder", "head": "teacher_head"},
}
SWAV: dict[str, Any] = {"hidden": 8, "out": 5, "prototypes": 3, "temperature": 0.2, "epsilon": 0.1, "iterations": 3}
DINO: dict[str, Any] = {
    "hidden": 8,
    "bottleneck": 4,
    "prototypes": 6,
    "student_temperature": 0.2,
    "centre_momentum": 0.7,
}


def multi_crop(size: int = 4) -> Batch:
    large, small = batch(size).views, [view[..., :16, :16] for view in batch(size, seed=1).views]
    return Batch([*large, *small], torch.arange(size))


def assert_same(loss: Callable[..., Tensor], reference: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    """Same value, and same gradient with respect to the inputs."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value, expected = loss(*inputs), reference(*inputs)
    assert value.dtype == torch.float64 and value.ndim == 0
    torch.testing.assert_close(value.detach(), expected.detach(), rtol=1e-10, atol=1e-10)
    for got, wanted in zip(torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert wanted.abs().sum() > 0
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10)


# MoCo


def info_nce(
    queries: Tensor, keys: Tensor, queue: list[tuple[int, Tensor]], images: list[int], temperature: float
) -> Tensor:
    """He et al., equation 1, query by query. The queue holds (image, key of unit length)."""
    losses = []
    for query, key, image in zip(queries, keys, images, strict=True):
        others = [negative for owner, negative in queue if owner != image]
        scores = torch.stack([unit(query) @ unit(key), *(unit(query) @ negative for negative in others)]) / temperature
        losses.append(-torch.log(softmax(scores)[0]))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("queue", [12, 8, 7, 4])  # three batches of 4 fill it, go round, do not divide it, are it
def test_moco_loss_and_queue(queue: int) -> None:
    method = build("moco", hidden=8, out=5, queue=queue, temperature=0.3).double()
    fifo = [[(-1, key) for key in side] for side in method.queue.clone()]  # of each view, the oldest first
    assert all(float(key.norm()) == pytest.approx(1, abs=1e-6) for side in fifo for _, key in side)
    for step, images in enumerate([[0, 1, 2, 3], [4, 5, 6, 7], [8, 0, 5, 9], [1, 8, 10, 11]]):  # some come again
        q0, q1, k0, k1 = random(4, 4, 5, seed=step)

        def reference(q0: Tensor, q1: Tensor, k0: Tensor = k0, k1: Tensor = k1, images: list[int] = images) -> Tensor:
            return (info_nce(q0, k1, fifo[1], images, 0.3) + info_nce(q1, k0, fifo[0], images, 0.3)) / 2

        extra = (k0, k1, torch.tensor(images, dtype=torch.float64))  # the engine makes floats of all outputs
        assert_same(lambda q0, q1, extra=extra: method.loss(q0, q1, *extra), reference, (q0, q1))
        method.after_batch()
        method.after_step(step, 10)
        for side, keys in enumerate((k0, k1)):
            fifo[side] = (fifo[side] + [(image, unit(key)) for image, key in zip(images, keys, strict=True)])[-queue:]
            stored = method.queue[side].roll(-int(method.position), 0)
            torch.testing.assert_close(stored, torch.stack([key for _, key in fifo[side]]))
        assert method.owners.roll(-int(method.position)).tolist() == [image for image, _ in fifo[0]]


def test_moco_batch_larger_than_the_queue() -> None:
    method = build("moco", hidden=8, out=5, queue=3).double()
    for step in range(2):
        images = torch.arange(8) + 8 * step
        q0, q1, k0, k1 = random(4, 8, 5, seed=step)
        method.loss(q0, q1, k0, k1, images)
        method.after_batch()
        method.after_step(step, 2)
        rows = [int(owner) - 8 * step for owner in method.owners]
        assert len(set(rows)) == 3 and set(rows) <= set(range(8))  # of three images of this batch
        for side, keys in enumerate((k0, k1)):
            torch.testing.assert_close(method.queue[side], torch.stack([unit(keys[row]) for row in rows]))


def test_moco_own_key_is_no_negative_in_a_later_epoch() -> None:
    method = build("moco", hidden=8, out=5, queue=8).double()
    for step, images in enumerate(([0, 1], [2, 3], [1, 0])):
        outputs = (*random(4, 2, 5, seed=step), torch.tensor(images))
        loss = method.loss(*outputs)
        method.after_batch()
        method.after_step(step, 6)
    outputs = (*random(4, 1, 5, seed=9), torch.tensor([0]))
    loss = method.loss(*outputs)
    own = (method.owners == 0).nonzero().flatten().tolist()
    assert own == [0, 5]  # of the first step and of the third
    method.queue[:, own] *= -3
    assert torch.equal(method.loss(*outputs), loss)
    for slot in set(range(8)) - set(own):
        before = method.queue.clone()
        method.queue[:, slot] *= -3
        assert not torch.isclose(method.loss(*outputs), loss), slot
        method.queue.copy_(before)


# Momentum branches: MoCo, BYOL, DINO


@pytest.mark.parametrize("name", MOMENTUM)
def test_momentum_branch_gets_no_gradient(name: str) -> None:
    method = build(name, "sem")
    outputs = method(batch())
    targets = {"byol": outputs[2:], "moco": outputs[2:4], "dino": outputs[:2]}[name]
    assert not any(target.requires_grad for target in targets)
    method.loss(*outputs).backward()
    for online, average in MOMENTUM[name].items():
        assert any(p.grad is not None for p in getattr(method, online).parameters())
        assert all(p.grad is None and not p.requires_grad for p in getattr(method, average).parameters())


@pytest.mark.parametrize("embedding", ["none", "linear", "sem"])
@pytest.mark.parametrize("name", MOMENTUM)
def test_momentum_branch_starts_as_a_separate_copy(name: str, embedding: str) -> None:
    method = build(name, embedding)
    for online, average in MOMENTUM[name].items():
        first, second = getattr(method, online).state_dict(), getattr(method, average).state_dict()
        assert first.keys() == second.keys()
        assert ("embedding.linear.weight" in first) == (online == "encoder" and embedding != "none")
        for key, value in first.items():
            assert torch.equal(value, second[key]) and value.data_ptr() != second[key].data_ptr(), key
    averages = {average for names in MOMENTUM.values() for average in names.values()}
    assert {key for key, _ in method.named_children()} & averages == set(MOMENTUM[name].values())  # none forgotten
    assert sum(isinstance(module, Encoder) for module in method.modules()) == 2


@pytest.mark.parametrize("name", MOMENTUM)
def test_momentum_average_and_its_schedule(name: str) -> None:
    end = 0.98 if name == "moco" else 1.0
    changes: dict[str, Any] = {"final_momentum": end} if name == "moco" else {}
    method = build(name, "sem", momentum=0.9, **changes)
    method.loss(*method(batch()))  # MoCo's queue wants keys
    method.double()
    source = torch.Generator().manual_seed(0)
    second = end - (end - 0.9) * (1 + math.cos(math.pi / 5)) / 2  # step 2 of 0 to 10
    for step, momentum in {0: 0.9, 2: second, 5: (0.9 + end) / 2, 10: end}.items():
        pairs = [
            (a, b)
            for online, average in MOMENTUM[name].items()
            for a, b in zip(getattr(method, online).parameters(), getattr(method, average).parameters(), strict=True)
        ]
        with torch.no_grad():
            for online_value, _ in pairs:
                online_value.add_(torch.randn(online_value.shape, generator=source, dtype=torch.float64))
        expected = [momentum * b.clone() + (1 - momentum) * a for a, b in pairs]
        method.after_batch()
        method.after_step(step, 11)
        for (_, b), value in zip(pairs, expected, strict=True):
            torch.testing.assert_close(b, value, rtol=0, atol=1e-12)


# SwAV


def sinkhorn(scores: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    """Caron et al. 2020, appendix A: B features by K prototypes; each code sums to 1, each prototype to B/K."""
    B, K = len(scores), len(scores[0])
    Q = [[math.exp(score / epsilon) for score in row] for row in scores]
    for _ in range(iterations):
        columns = [sum(row[k] for row in Q) for k in range(K)]
        Q = [[row[k] / columns[k] * B / K for k in range(K)] for row in Q]
        Q = [[value / sum(row) for value in row] for row in Q]
    return Q


def swapped_prediction(
    *projections: Tensor, prototypes: Tensor, queues: Sequence[Sequence[Tensor]] = ((), ()), iterations: int = 3
) -> Tensor:
    """Equation 2 and its multi-crop form (section 3.3), the mean over pairs. The queues hold features."""
    features = [[unit(row) for row in projection] for projection in projections]
    pairs = []
    for i in (0, 1):
        scores = [(prototypes @ feature).tolist() for feature in [*features[i], *queues[i]]]
        codes = sinkhorn(scores, SWAV["epsilon"], iterations)[: len(features[i])]
        for v in range(len(features)):
            if v != i:
                for code, feature in zip(codes, features[v], strict=True):
                    p = softmax(prototypes @ feature / SWAV["temperature"])
                    pairs.append(-(torch.tensor(code, dtype=torch.float64) * torch.log(p)).sum())
    return torch.stack(pairs).mean()


def swav(embedding: str = "none", **changes: float) -> Any:
    return build("swav", embedding, **{**SWAV, "queue": 0, "queue_from": 0.0, "frozen": 0.0, **changes})


def test_sinkhorn_divides_features_equally() -> None:
    codes = torch.tensor(sinkhorn(random(6, 3).tolist(), 0.5, 100), dtype=torch.float64)
    torch.testing.assert_close(codes.sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((3,), 2.0, dtype=torch.float64))


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("iterations", [1, 3, 30])
def test_swav_loss(views: int, iterations: int) -> None:
    method = swav(iterations=iterations).double()
    weight = method.prototypes.weight

    def reference(*projections: Tensor) -> Tensor:
        return swapped_prediction(*projections, prototypes=weight, iterations=iterations)

    projections = list(random(views, 4, 5))
    assert_same(method.loss, reference, projections)
    got = torch.autograd.grad(method.loss(*projections), weight)
    wanted = torch.autograd.grad(reference(*projections), weight)
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10)


def test_swav_codes_of_equal_features_are_uniform() -> None:
    # Equal features would all have the code of their nearest prototype; the equal partition makes it (1/3, 1/3, 1/3).
    method = swav().double()
    first, second = random(1, 5).expand(4, 5), random(1, 5, seed=1).expand(4, 5)
    log_p = [torch.log(softmax(method.prototypes.weight @ unit(x[0]) / 0.2)) for x in (first, second)]
    expected = -(log_p[0].mean() + log_p[1].mean()) / 2
    torch.testing.assert_close(method.loss(first, second), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [8, 6])  # a multiple of the batch, and none
def test_swav_queue(size: int) -> None:
    method = swav(queue=size, queue_from=0.5).double()
    weight = method.prototypes.weight.detach()
    fifo: list[list[Tensor]] = [[], []]  # the oldest last
    used = []
    for step in range(8):
        projections = random(3, 4, 5, seed=step)
        full = len(fifo[0]) == size
        queues = fifo if full and step / 8 >= 0.5 else ([], [])
        expected = swapped_prediction(*projections, prototypes=weight, queues=queues)
        without = swapped_prediction(*projections, prototypes=weight)
        loss = method.loss(*projections)
        torch.testing.assert_close(loss.detach(), expected, rtol=0, atol=1e-10)
        used.append(not torch.isclose(expected, without))
        method.after_batch()
        method.after_step(step, 8)
        fifo = [([unit(row) for row in projections[side]] + fifo[side])[:size] for side in (0, 1)]
        if len(fifo[0]) == size:
            torch.testing.assert_close(method.queue, torch.stack([torch.stack(side) for side in fifo]))
    assert used == [False] * 4 + [True] * 4


def test_swav_queue_waits_until_it_is_full() -> None:
    method = swav(queue=12).double()
    weight = method.prototypes.weight.detach()
    for step in range(3):  # two batches of 4 are not enough
        projections = random(2, 4, 5, seed=step)
        expected = swapped_prediction(*projections, prototypes=weight)
        torch.testing.assert_close(method.loss(*projections).detach(), expected, rtol=0, atol=1e-10)
        method.after_batch()
        method.after_step(step, 100)
    projections = random(2, 4, 5, seed=3)
    assert not torch.isclose(method.loss(*projections), swapped_prediction(*projections, prototypes=weight))


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_prototypes_stand_still_until_the_share_is_over(name: str) -> None:
    method = swav(frozen=0.5) if name == "swav" else build("dino", **DINO, frozen=0.5, warmup=0.0)
    weight = method.prototypes.weight if name == "swav" else method.head.prototypes.weight
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5, weight_decay=0.1)
    moved = []
    for step in range(6):
        before = F.normalize(weight.detach())  # only directions count: weight decay may change lengths
        optimizer.zero_grad()
        method.loss(*method(batch(seed=step))).backward()
        assert (weight.grad is None or not weight.grad.any()) == (step < 3)
        optimizer.step()
        method.after_batch()
        method.after_step(step, 6)
        moved.append(not torch.allclose(F.normalize(weight), before, atol=1e-6))
    assert moved == [False] * 3 + [True] * 3


def test_swav_prototypes_have_unit_length() -> None:
    method = swav()
    optimizer = torch.optim.SGD(method.parameters(), lr=5.0)
    lengths = [method.prototypes.weight.norm(dim=1)]
    for step in range(3):
        optimizer.zero_grad()
        method.loss(*method(batch(seed=step))).backward()
        optimizer.step()
        assert not torch.allclose(method.prototypes.weight.norm(dim=1), torch.ones(3), atol=1e-3)
        method.after_batch()
        method.after_step(step, 3)
        lengths.append(method.prototypes.weight.norm(dim=1))
    torch.testing.assert_close(torch.stack(lengths), torch.ones(4, 3))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_swav_logits_are_float32_under_autocast(scale: float) -> None:
    method = swav("sem", epsilon=0.05, queue=4)
    seen: list[Tensor] = []
    method.criterion.register_forward_pre_hook(lambda _, inputs: seen.extend(x for part in inputs for x in part or []))
    for step, logits in enumerate((2, 4)):  # in the second step there is a queue
        with torch.autocast("cpu", torch.bfloat16):
            outputs = method(batch(4, seed=step))
        assert all(output.dtype == torch.bfloat16 for output in outputs)
        loss = method.loss(*(scale * output.float() for output in outputs))  # as the engine does
        assert loss.dtype == torch.float32 and torch.isfinite(loss)
        assert [x.dtype for x in seen] == [torch.float32] * logits
        assert all(x.abs().max() <= 1 + 1e-6 for x in seen)  # cosines
        seen.clear()
        method.after_batch()
        method.after_step(step, 2)


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_multi_crop_views_of_two_sizes(name: str) -> None:
    method = (swav("sem") if name == "swav" else build("dino", "sem", **DINO)).train()
    outputs = method(multi_crop())
    assert len(outputs) == (4 if name == "swav" else 6) and len({output.shape for output in outputs}) == 1
    loss = method.loss(*outputs)
    grads = torch.autograd.grad(loss, outputs[-2:])  # the small views take part
    assert all(grad.abs().sum() > 0 for grad in grads)


# DINO


def dino_loss(
    teacher: Sequence[Tensor], student: Sequence[Tensor], *, centre: Tensor, teacher_temperature: float
) -> Tensor:
    """Caron et al. 2021, equation 3 and algorithm 1: all pairs of a teacher's view and another view of the student."""
    pairs = []
    for t in range(len(teacher)):
        for s in range(len(student)):
            if s != t:
                for goal, guess in zip(teacher[t], student[s], strict=True):
                    target = softmax((goal - centre) / teacher_temperature)
                    pairs.append(-(target * torch.log(softmax(guess / DINO["student_temperature"]))).sum())
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("views", [2, 4])
def test_dino_loss_centre_and_temperature(views: int) -> None:
    # temperatures that float32 has exactly, as lightly rounds the teacher's
    schedule: dict[str, Any] = {"first_temperature": 0.25, "teacher_temperature": 0.5, "warmup": 0.5}
    method = build("dino", **DINO, **schedule).double()
    centre = torch.zeros(6, dtype=torch.float64)
    for step, temperature in enumerate([0.25, 0.3125, 0.375, 0.4375, 0.5, 0.5, 0.5, 0.5]):
        assert method.temperature_now() == temperature
        teacher, student = list(random(2, 4, 6, seed=step) + 0.5), list(random(views, 4, 6, seed=100 + step))
        old = centre.clone()
        value = method.loss(*teacher, *student)
        expected = dino_loss(teacher, student, centre=old, teacher_temperature=temperature)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)
        rows = torch.cat(teacher)
        centre = 0.7 * centre + 0.3 * sum(rows) / len(rows)
        torch.testing.assert_close(method.criterion.center.flatten(), centre, rtol=0, atol=1e-12)
        method.after_batch()
        method.after_step(step, 8)


def test_dino_gradient_reaches_only_the_student_of_another_view() -> None:
    fixed = DINO | {"centre_momentum": 1.0, "first_temperature": 0.5, "teacher_temperature": 0.5}  # the centre stays 0
    method = build("dino", **fixed).double()
    teacher, student = list(random(2, 4, 6)), list(random(2, 4, 6, seed=1))
    zero = torch.zeros(6, dtype=torch.float64)
    assert_same(
        lambda *student: method.loss(*teacher, *student),
        lambda *student: dino_loss(teacher, student, centre=zero, teacher_temperature=0.5),
        student,
    )
    grads = []
    for first in (teacher[0], random(4, 6, seed=2)):
        leaves = [x.clone().requires_grad_() for x in student]
        grads.append(torch.autograd.grad(method.loss(first, teacher[1], *leaves), leaves))
    assert torch.equal(grads[0][0], grads[1][0]) and not torch.allclose(grads[0][1], grads[1][1])


def test_dino_head_gives_cosines() -> None:
    method = build("dino", **DINO)
    with torch.no_grad():
        teacher, _, *student = method(batch())
        bottleneck = method.head.layers(method.encoder(batch().views[0]))
    assert torch.equal(teacher, student[0])  # one network so far
    prototypes = method.head.prototypes.weight.detach()
    expected = [[unit(row) @ unit(prototype) for prototype in prototypes] for row in bottleneck]
    torch.testing.assert_close(student[0], torch.tensor(expected))


# SimSiam, Barlow Twins, VICReg


def negative_cosine(first: Tensor, second: Tensor) -> Tensor:
    return -torch.stack([unit(p) @ unit(z) for p, z in zip(first, second, strict=True)]).mean()


def test_simsiam_loss() -> None:
    z0, z1 = random(2, 4, 5, seed=1)
    assert_same(
        lambda p0, p1: build("simsiam").loss(p0, p1, z0, z1),
        lambda p0, p1: (negative_cosine(p0, z1) + negative_cosine(p1, z0)) / 2,
        list(random(2, 4, 5)),
    )


def test_simsiam_stops_the_gradient() -> None:
    method = build("simsiam", "linear").double()
    views = [view.double() for view in batch().views]
    parameters = [*method.encoder.parameters(), *method.projector.parameters()]
    grads = []
    for stop in (True, False):
        z = [method.projector(method.encoder(views[0])), method.projector(method.encoder.target(views[1]))]
        targets = [part.detach() for part in z] if stop else z
        p = [method.predictor(part) for part in z]
        loss = (negative_cosine(p[0], targets[1]) + negative_cosine(p[1], targets[0])) / 2
        grads.append(torch.autograd.grad(loss, [q for q in parameters if q.requires_grad]))
    got = torch.autograd.grad(method.loss(*method(Batch(views, torch.arange(8)))), parameters)
    for value, stopped in zip(got, grads[0], strict=True):
        torch.testing.assert_close(value, stopped, rtol=1e-6, atol=1e-9)
    assert any(not torch.allclose(value, free, rtol=1e-3) for value, free in zip(got, grads[1], strict=True))


def barlow_twins(first: Tensor, second: Tensor, *, off_diagonal: float, scale: float) -> Tensor:
    """Zbontar et al., equations 1 and 2, feature by feature; the features are centred over the batch."""
    a, b = ((z - z.sum(0) / len(z)).T for z in (first, second))
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(len(a)):
        for j in range(len(b)):
            correlation = (a[i] * b[j]).sum() / ((a[i] ** 2).sum().sqrt() * (b[j] ** 2).sum().sqrt())
            loss = loss + ((1 - correlation) ** 2 if i == j else off_diagonal * correlation**2)
    return scale * loss


def test_barlow_twins_loss() -> None:
    method = build("barlow_twins", off_diagonal=0.03, scale=0.4)
    first, second = random(2, 6, 4) * 1e3 + 50  # so large that the 1e-5 which lightly adds to a variance is nothing
    assert_same(
        method.loss,
        lambda a, b: barlow_twins(a, b, off_diagonal=0.03, scale=0.4),
        (first, second + first),
    )


def vicreg(first: Tensor, second: Tensor, *, invariance: float, variance: float, covariance: float) -> Tensor:
    """Bardes et al., equations 1 to 6 as in their code, which takes the means over features and over branches.

    (Equation 5 sums the squared differences over features, equation 6 sums the variance terms of the branches.)
    """
    n, d = first.shape
    total = invariance * ((first - second) ** 2).sum() / (n * d)
    for z in (first, second):
        centred = (z - z.sum(0) / n).T
        cov = [[(centred[i] * centred[j]).sum() / (n - 1) for j in range(d)] for i in range(d)]
        hinges = [torch.clamp(1 - (cov[j][j] + 1e-4).sqrt(), min=0) for j in range(d)]
        total = total + variance * torch.stack(hinges).mean() / 2
        total = (
            total + covariance * torch.stack([cov[i][j] ** 2 for i in range(d) for j in range(d) if i != j]).sum() / d
        )
    return total


def test_vicreg_loss() -> None:
    weights: dict[str, Any] = {"invariance": 3.0, "variance": 5.0, "covariance": 0.7}
    z = random(2, 6, 4) * torch.tensor([0.2, 0.7, 1.5, 3.0], dtype=torch.float64)  # hinges on both sides of 1
    assert_same(build("vicreg", **weights).loss, lambda a, b: vicreg(a, b, **weights), list(z))


# SEM


def plain_sem(z: Tensor, *, L: int, V: int, tau: float) -> Tensor:
    """Lavoie et al., equation 1: group by group, group-major."""
    return torch.cat([softmax(z[group * V : (group + 1) * V] / tau) for group in range(L)])


@pytest.mark.parametrize("tau", [0.1, 1.0, 3.0])
def test_sem_gradient(tau: float) -> None:
    L, V = 3, 4
    weights = random(2, L * V, seed=1)

    def plain(z: Tensor) -> Tensor:
        return (weights * torch.stack([plain_sem(row, L=L, V=V, tau=tau) for row in z])).sum()

    def inner(z: Tensor) -> Tensor:
        y = sem.simplex_softmax(sem.from_group_major(z, L=L, V=V), L=L, V=V, tau=tau)
        return (weights * sem.to_group_major(y, L=L, V=V)).sum()

    z = random(2, L * V)
    assert_same(lambda z: (weights * sem.simplicial_embedding(z, L=L, V=V, tau=tau)).sum(), plain, [z])
    assert_same(inner, plain, [z])
    z.requires_grad_()
    assert torch.autograd.gradcheck(inner, z)


def test_sem_module_gradient() -> None:
    L, V, tau = 3, 4, 0.5
    torch.manual_seed(0)
    module = sem.SimplicialEmbedding(5, L=L, V=V, tau=tau)
    h = torch.randn(6, 5)
    weights = torch.randn(6, L * V)
    z = h @ module.linear.weight.T
    z = (z - z.mean(0)) / (z.var(0, correction=0) + module.norm.eps).sqrt() * module.norm.weight + module.norm.bias
    # number v of group l stands at v*L + l
    groups = [torch.stack([softmax(row[group::L] / tau) for group in range(L)], 1).flatten() for row in z]
    parameters = list(module.parameters())
    wanted = torch.autograd.grad((weights * torch.stack(groups)).sum(), parameters)
    got = torch.autograd.grad((weights * module(h)).sum(), parameters)
    for value, expected in zip(got, wanted, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("embedding", ["linear", "sem"])
@pytest.mark.parametrize("name", TRAINED)
def test_the_embedding_trains(name: str, embedding: str) -> None:
    method = build(name, embedding)
    weight = method.encoder.embedding.linear.weight
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        before = weight.detach().clone()
        optimizer.zero_grad()
        method.loss(*method(batch(seed=step))).backward()
        optimizer.step()
        method.after_batch()
        method.after_step(step, 2)
        assert (weight - before).abs().max() > 1e-6
