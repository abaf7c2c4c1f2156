"""SimCLR and BYOL against formulas written by hand, and what every method must do."""

import math

import pytest
import torch
from torch.nn import functional as F

from sem_bench.nets.embeddings.sem import SimplicialEmbedding
from sem_bench.training.card import method_card
from tests.helpers.methods import EMBEDDINGS, LIBRARY, TRAINED, batch, build


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("name", TRAINED)
def test_every_method_trains_its_whole_encoder(name: str, embedding: str) -> None:
    method = build(name, embedding)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    before = {key: value.clone() for key, value in method.encoder.named_parameters()}
    for step in range(2):
        loss = method.loss(*method(batch(seed=step)))
        assert loss.ndim == 0 and torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(step, 2)
    for key, value in method.encoder.named_parameters():
        assert not torch.equal(before[key], value), f"{name}: {key} did not move"


@pytest.mark.parametrize("name", sorted(set(TRAINED) - {"supervised"}))
def test_where_tau_target_acts(name: str) -> None:
    """In the momentum branch, else on the second view: nothing else changes with it."""
    methods = {tau: build(name, "sem") for tau in (1.0, 0.2)}
    for tau, method in methods.items():
        for module in method.modules():
            if isinstance(module, SimplicialEmbedding):
                module.target_temperature = tau
    plain, heated = (methods[tau](batch()) for tau in (1.0, 0.2))
    changed = [not torch.equal(a, b) for a, b in zip(plain, heated, strict=True)]
    expected = {
        "byol": [False, False, True, True],  # predictions, targets
        "moco": [False, False, True, True, False],  # queries, keys, indices
        "dino": [True, True, False, False],  # teacher, student
        "simsiam": [False, True, False, True],  # predictions, projections
    }.get(name, [False, True])  # the projections of the two views
    assert changed == expected


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Chen et al. 2020, equation 1, pair by pair."""
    z = [row / row.norm() for row in torch.cat([first, second])]
    n = len(first)
    losses = []
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        scores = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in range(2 * n) if k != i}
        losses.append(-math.log(scores[partner] / sum(scores.values())))
    return sum(losses) / len(losses)


def test_simclr_loss() -> None:
    method = build("simclr", temperature=0.3)
    first, second = torch.randn(2, 6, 16, dtype=torch.float64)
    assert float(method.loss(first, second)) == pytest.approx(nt_xent(first, second, 0.3), abs=1e-9)


def test_byol_loss() -> None:
    method = build("byol")
    p0, p1, t0, t1 = torch.randn(4, 5, 7, dtype=torch.float64)
    # Grill et al. 2020, equation 2: the squared distance of normalised vectors, both directions summed
    expected = sum(
        float(((F.normalize(p, dim=1) - F.normalize(t, dim=1)) ** 2).sum(1).mean()) for p, t in ((p0, t1), (p1, t0))
    )
    assert float(method.loss(p0, p1, t0, t1)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_byol_momentum_branch(embedding: str) -> None:
    method = build("byol", embedding, momentum=0.9)
    online = {
        **dict(method.encoder.named_parameters("encoder")),
        **dict(method.projector.named_parameters("projector")),
    }
    target = {
        **dict(method.target_encoder.named_parameters("encoder")),
        **dict(method.target_projector.named_parameters("projector")),
    }
    assert online.keys() == target.keys()
    assert any("embedding" in key for key in online) == (embedding != "none")
    for key, value in target.items():
        assert torch.equal(value, online[key]) and not value.requires_grad  # starts as a copy
    start = {key: value.clone() for key, value in target.items()}
    with torch.no_grad():
        for value in online.values():
            value.add_(1.0)
    method.after_step(0, 11)  # the first step has the base momentum
    for key, value in target.items():
        assert torch.allclose(value, 0.9 * start[key] + 0.1 * online[key], atol=1e-6), key
    moved = {key: value.clone() for key, value in target.items()}
    method.after_step(10, 11)  # at the end the momentum is 1
    assert all(torch.equal(value, moved[key]) for key, value in target.items())


def test_byol_targets_have_no_gradient_and_use_tau_target() -> None:
    method = build("byol", "sem")
    views = batch()
    p0, _, t0, _ = method(views)
    assert p0.requires_grad and not t0.requires_grad
    method.train()
    expected = method.target_projector(method.target_encoder.target(views.views[0]))
    assert torch.allclose(t0, expected)
    assert not torch.allclose(t0, method.target_projector(method.target_encoder(views.views[0])))


def test_byol_keeps_its_own_running_statistics() -> None:
    method = build("byol")
    own = method.target_encoder.backbone.network[1].running_mean
    method.loss(*method(batch()))
    online = method.encoder.backbone.network[1].running_mean
    assert own.abs().sum() > 0 and torch.allclose(own, online)  # same weights and views so far
    with torch.no_grad():
        method.encoder.backbone.network[0].weight.mul_(2)
    method(batch())
    assert not torch.allclose(own, online)


def test_simclr_embeds_the_second_view_at_tau_target() -> None:
    method = build("simclr", "sem").eval()
    views = batch()
    _, second = method(views)
    assert torch.allclose(second, method.projector(method.encoder.target(views.views[1])))
    assert not torch.allclose(second, method.projector(method.encoder(views.views[1])))


def test_supervised_needs_labels_and_self_supervised_methods_never_see_them() -> None:
    for name in TRAINED:
        assert method_card(LIBRARY, name).content.labels == (name == "supervised")
    method = build("supervised")
    logits, labels = method(batch(views=1))
    assert torch.equal(method.loss(logits, labels.float()), F.cross_entropy(logits, labels))
