"""The probe's selection: splits that are stratified and seeded, and no label read that must not be."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sem_bench.config.fields import RuleName
from sem_bench.evaluations.measures import logistic, selection
from sem_bench.evaluations.measures.logistic import fit, fit_many
from sem_bench.evaluations.measures.selection import (
    Choice,
    FeatureReader,
    Rows,
    Selection,
    select,
    stratified_folds,
    stratified_holdout,
    stratified_subset,
)

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)
PENALTIES = [1e-6, 1e-4, 1e-2, 1e2]
CLASSES = 4


def per_class(labels: Rows, rows: Rows) -> Rows:
    return np.bincount(labels[rows], minlength=5)


@given(LABELS, st.floats(0.01, 1.0), st.integers(0, 2**63 - 1))
def test_a_subset_has_its_share_of_each_class(labels: Rows, fraction: float, seed: int) -> None:
    rows = stratified_subset(labels, fraction, seed=seed)
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(labels, minlength=5)
    wanted = [max(1, round(fraction * count)) if count else 0 for count in counts]
    assert per_class(labels, rows).tolist() == wanted
    np.testing.assert_array_equal(rows, stratified_subset(labels, fraction, seed=seed))


@given(LABELS, st.floats(0.05, 0.95), st.integers(0, 2**63 - 1))
def test_a_holdout_parts_the_rows_and_leaves_each_class_on_both_sides(labels: Rows, share: float, seed: int) -> None:
    fitted, held = stratified_holdout(labels, share, seed=seed)
    assert sorted([*fitted, *held]) == list(range(len(labels)))
    counts = np.bincount(labels, minlength=5)
    for count, left, right in zip(counts, per_class(labels, fitted), per_class(labels, held), strict=True):
        if count >= 2:
            assert left >= 1 and right >= 1
            assert abs(right - share * count) <= 1
        else:
            assert right == 0


@given(LABELS, st.integers(2, 5), st.integers(0, 2**63 - 1))
def test_folds_validate_on_each_row_once(labels: Rows, k: int, seed: int) -> None:
    counts = np.bincount(labels, minlength=5)
    folds = stratified_folds(labels, k, seed=seed)
    assert len(folds) == k
    assert sorted(np.concatenate([held for _, held in folds])) == np.flatnonzero(counts[labels] >= 2).tolist()
    sizes = [len(held) for _, held in folds]
    assert max(sizes) - min(sizes) <= 1
    for fitted, held in folds:
        assert sorted([*fitted, *held]) == list(range(len(labels)))
        spread = per_class(labels, held) - np.where(counts >= 2, counts, 0) / k
        assert (np.abs(spread) < 1).all()


def test_seeds_draw_differently() -> None:
    labels = np.arange(100) % 4
    assert len({stratified_subset(labels, 0.5, seed=seed).tobytes() for seed in range(20)}) == 20
    assert len({stratified_holdout(labels, 0.5, seed=seed)[1].tobytes() for seed in range(20)}) == 20
    assert len({stratified_folds(labels, 2, seed=seed)[0][1].tobytes() for seed in range(20)}) == 20


def test_senseless_shares_are_refused() -> None:
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match="a fraction lies in"):
            stratified_subset([0, 1], fraction, seed=0)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="a share lies in"):
            stratified_holdout([0, 1], share, seed=0)
    with pytest.raises(ValueError, match="at least 2 folds"):
        stratified_folds([0, 1], 1, seed=0)


class World:
    """Rows with labels, and three representations: tau_d 1 shows the label in noise, the others in more of it."""

    def __init__(self, n: int = 400, width: int = 12) -> None:
        random = torch.Generator().manual_seed(0)
        self.labels = np.arange(n) % CLASSES
        centres = torch.randn(CLASSES, width, generator=random)[torch.from_numpy(self.labels)]
        noise = torch.randn(n, width, generator=random)
        self.features = {tau: centres + blur * noise for tau, blur in ((0.1, 9.0), (1.0, 1.0), (10.0, 4.0))}
        self.read: set[int] = set()
        self.seen: set[int] = set()

    def labels_of(self, rows: Rows) -> Rows:
        self.read |= set(rows.tolist())
        return self.labels[rows]

    def features_of(self, tau: float) -> Callable[[Rows], Tensor]:
        def of(rows: Rows) -> Tensor:
            self.seen |= set(rows.tolist())
            return self.features[tau][torch.from_numpy(rows)]

        return of

    def select(self, rows: Rows, validation: Literal["holdout", "folds"] = "folds", seed: int = 0) -> Choice:
        representations = [(tau, self.features_of(tau)) for tau in self.features]
        return select(
            representations, self.labels_of, rows, classes=CLASSES, l2=PENALTIES, validation=validation, seed=seed
        )


def equal(one: Choice, other: Choice) -> bool:
    return (
        (one.key, one.l2, one.accuracy, one.tried) == (other.key, other.l2, other.accuracy, other.tried)
        and torch.equal(one.head.weight, other.head.weight)
        and torch.equal(one.head.bias, other.head.bias)
    )


@pytest.mark.parametrize("validation", ["holdout", "folds"])
def test_the_best_on_validation_is_chosen_and_refitted_on_all(validation: Literal["holdout", "folds"]) -> None:
    world = World()
    rows = np.arange(0, 400, 3)
    labels = world.labels[rows]
    choice = world.select(rows, validation, seed=5)
    splits = (
        [stratified_holdout(labels, 0.1, seed=5)] if validation == "holdout" else stratified_folds(labels, 5, seed=5)
    )
    for key, x in world.features.items():
        tried = list(choice.tried[key])
        assert set(PENALTIES) <= set(tried)
        right, total = np.zeros(len(tried)), 0
        for fitted, held in splits:
            y = torch.from_numpy(labels)
            found = fit(x[rows[fitted]], y[fitted], classes=CLASSES, l2=tried, tolerance=selection.ROUGH)
            right += [(head.predict(x[rows[held]]).argmax(1) == y[held]).sum().item() for head in found.heads]
            total += len(held)
        assert list(choice.tried[key].values()) == (right / total).tolist()
    assert choice.key == 1.0
    assert choice.accuracy == max(max(one.values()) for one in choice.tried.values()) == choice.tried[1.0][choice.l2]
    assert choice.candidates == sum(map(len, choice.tried.values())) and choice.best[1.0] == choice.l2
    refit = fit(world.features[1.0][rows], torch.from_numpy(labels), classes=CLASSES, l2=[choice.l2]).heads[0]
    torch.testing.assert_close(choice.head.weight, refit.weight)
    assert (choice.key_on_edge, choice.converged, choice.notes) == (False, True, [])


def test_of_equals_the_strongest_penalty_inside_the_grid_and_the_preferred_representation() -> None:
    world = World(80)
    world.features = {tau: torch.from_numpy(np.eye(4)[world.labels]).float() for tau in (0.1, 1.0, 10.0)}
    choice = world.select(np.arange(80))
    assert choice.tried == {tau: dict.fromkeys(PENALTIES, 1.0) for tau in (0.1, 1.0, 10.0)}
    assert (choice.key, choice.l2, choice.key_on_edge, choice.l2_on_edge) == (0.1, 1e-2, False, False)
    readers = [(tau, world.features_of(tau)) for tau in world.features]
    for preferred, key in ((0.2, 0.1), (0.9, 1.0), (50.0, 10.0), (10**-0.5, 0.1)):
        choice = selecting(world).choose(readers, PENALTIES, preferred=preferred, more=refused)
        assert (choice.key, choice.key_on_edge) == (key, False)


def selecting(world: World, count: int = 80) -> Selection:
    return Selection(world.labels_of, np.arange(count), classes=CLASSES, validation="folds", seed=0)


def refused(tau_d: float) -> FeatureReader:
    raise AssertionError(tau_d)


class Judged(Selection):
    """A selection whose candidates have the accuracies that a test says; notes what is asked."""

    def __init__(self, right: Callable[[float | None, float], int], *, rows: int = 80) -> None:
        self.world = World(rows)
        super().__init__(self.world.labels_of, np.arange(rows), classes=CLASSES, validation="folds", seed=0)
        self.answer, self.asked = right, list[tuple[float | None, float]]()
        self.keys: dict[FeatureReader, float | None] = {}

    def reader(self, key: float | None) -> FeatureReader:
        found = next((of for of, known in self.keys.items() if known == key), None)
        if found is None:
            found = self.world.features_of(1.0)
            self.keys[found] = key
        return found

    def _judge(self, readers: Sequence[FeatureReader], l2: Sequence[float]) -> list[list[int]]:
        asked = [[(self.keys[of], value) for value in l2] for of in readers]
        self.asked += [one for line in asked for one in line if one not in self.asked]
        return [[self.answer(*one) for one in line] for line in asked]

    def chosen(self, keys: Sequence[float | None], l2: Sequence[float], **options: Any) -> Choice:
        more = self.reader if keys[0] is not None else None
        choice = self.choose([(key, self.reader(key)) for key in keys], l2, more=more, **options)
        assert {(key, value) for key, line in choice.tried.items() for value in line} == set(self.asked)
        assert choice.candidates == len(self.asked)
        return choice


HALF_DECADES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


def distance(value: float, best: float) -> int:
    """Fewer right answers the farther from the best, in tenths of a decade."""
    return 80 - round(10 * abs(math.log10(value / best)))


@pytest.mark.parametrize(
    ("best", "added"),
    [
        (1e-3, []),
        (3e-5, []),
        (1e-5, [3e-6]),  # one more shows that it is the best
        (3e-2, [3e-2, 1e-1]),
        (1e-7, [3e-6, 1e-6, 3e-7, 1e-7, 3e-8]),
    ],
)
def test_l2_goes_on_until_the_best_lies_inside(best: float, added: list[float]) -> None:
    judged = Judged(lambda _, l2: distance(l2, best))
    choice = judged.chosen([None], HALF_DECADES)
    assert [l2 for _, l2 in judged.asked] == pytest.approx(HALF_DECADES + added)
    assert choice.l2 == pytest.approx(best) and not choice.l2_on_edge
    assert judged.sketched is None


def test_l2_stops_at_its_bounds_and_says_so() -> None:
    for best, last in ((1e-30, 1e-9), (1e30, 10)):
        choice = Judged(lambda _, l2, best=best: distance(l2, best) + 400).chosen([None], HALF_DECADES)  # type: ignore[misc]
        assert choice.l2 == pytest.approx(last) and choice.l2_on_edge and choice.candidates <= 21
    choice = Judged(lambda _, l2: -round(math.log10(l2))).chosen([None], [1e-3, 1e-2])
    assert choice.candidates == 6 and choice.l2 == pytest.approx(1e-7) and choice.l2_on_edge  # three times two


def test_what_no_longer_changes_is_no_edge() -> None:
    """With few labels accuracy is the same beyond some penalty."""
    choice = Judged(lambda _, l2: min(60, distance(l2, 1e-1))).chosen([None], HALF_DECADES)
    assert (choice.candidates, choice.l2, choice.l2_on_edge) == (7, 3e-3, False)


def test_the_search_of_what_has_no_temperature_has_as_many_candidates() -> None:
    fine = Judged(lambda _, l2: distance(l2, 3e-2))
    choice = fine.chosen([None], HALF_DECADES, between=3)
    assert set(HALF_DECADES) <= set(choice.tried[None]) and choice.candidates == 3 * 7 + 3
    assert choice.l2 == pytest.approx(3e-2)
    steps = np.diff(np.log10(list(choice.tried[None])))
    assert steps.max() < 0.2 and steps.min() > 0.15
    heated = Judged(lambda _, l2: distance(l2, 1e-3)).chosen([0.3, 1.0, 3.0], HALF_DECADES, preferred=1.0)
    assert heated.candidates == 3 * 7
    everywhere = Judged(lambda key, l2: distance(l2, 1e-30) + 400 - round(10 * math.log10(key or 1)))
    unheated = Judged(lambda _, l2: distance(l2, 1e-30) + 400)
    most = everywhere.chosen([0.3, 1.0, 3.0], HALF_DECADES, preferred=1.0)
    assert most.candidates <= 63 >= unheated.chosen([None], HALF_DECADES, between=3).candidates
    assert most.l2_on_edge and most.key_on_edge


@pytest.mark.parametrize(
    ("best", "added"), [(1.0, []), (0.3, [0.1]), (3.0, [10]), (30.0, [10, 30, 100]), (0.08, [0.1, 0.03])]
)
def test_tau_d_goes_on_with_a_search_of_l2_of_its_own(best: float, added: list[float]) -> None:
    judged = Judged(lambda key, l2: distance(key or 0, best) + distance(l2, 1e-3 if key != 10 else 1e-6))
    choice = judged.chosen([0.3, 1.0, 3.0], HALF_DECADES, preferred=1.0)
    assert list(choice.tried) == pytest.approx(sorted([0.3, 1.0, 3.0, *added]))
    assert choice.key is not None and abs(math.log(choice.key / best)) < 0.6 and not choice.key_on_edge
    assert choice.l2 == 1e-3 and not choice.l2_on_edge
    if 10 in choice.tried:
        assert choice.best[10] == pytest.approx(1e-6)


def test_a_line_of_the_search_is_the_search_at_fixed_tau_d() -> None:
    world = World()
    one = selecting(world, 200)
    readers = {tau: world.features_of(tau) for tau in world.features}
    choice = one.choose(list(readers.items()), [1e-4, 1e-3, 1e-2])
    world.seen.clear()
    for tau, reader in readers.items():
        fixed = one.choose([(tau, reader)], [1e-4, 1e-3, 1e-2])
        assert fixed.tried == {tau: choice.tried[tau]} and fixed.l2 == choice.best[tau]
        assert equal(fixed, selecting(world, 200).choose([(tau, reader)], [1e-4, 1e-3, 1e-2]))


def test_what_two_choices_have_in_common_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Sequence[float]] = []

    def counted(problems: Any, *, l2: Sequence[float], **options: Any) -> Any:
        calls.append(l2)
        return fit_many(problems, l2=l2, **options)

    monkeypatch.setattr(selection, "fit_many", counted)
    world = World()
    one, reader = selecting(world, 200), world.features_of(1.0)
    choice = one.choose([(None, reader)], PENALTIES)
    fitted = len(calls)
    assert equal(one.choose([(None, reader)], PENALTIES), choice) and len(calls) == fitted
    finer = one.choose([(None, reader)], PENALTIES, between=2)
    assert not set(choice.tried[None]) & {l2 for some in calls[fitted:] if len(some) > 1 for l2 in some}
    assert choice.tried[None].items() <= finer.tried[None].items()


def test_a_grid_of_one_has_no_edge() -> None:
    world = World(80)
    one = [(None, world.features_of(1.0))]
    choice = select(one, world.labels_of, np.arange(80), classes=4, l2=[1e-3], validation="holdout", seed=0)
    assert (choice.key, choice.l2, choice.key_on_edge, choice.l2_on_edge) == (None, 1e-3, False, False)


@pytest.mark.parametrize("fraction", [0.02, 0.05, 0.2])
def test_no_label_outside_the_subset_is_read(fraction: float) -> None:
    world = World()
    rows = stratified_subset(world.labels, fraction, seed=3)
    before = world.select(rows)
    assert world.read == world.seen == set(rows.tolist())
    outside = np.setdiff1d(np.arange(400), rows)
    world.labels[outside] = 3 - world.labels[outside]
    assert equal(world.select(rows), before)


def test_a_label_inside_the_subset_counts() -> None:
    world = World()
    rows = stratified_subset(world.labels, 0.05, seed=3)
    before = world.select(rows)
    world.labels[rows] = np.random.default_rng(0).permutation(world.labels[rows])
    assert not equal(world.select(rows), before)


def test_where_nothing_can_be_validated_the_middle_is_taken() -> None:
    world = World()
    choice = world.select(stratified_subset(world.labels, 0.01, seed=0))
    assert (choice.key, choice.l2, choice.accuracy, choice.tried) == (1.0, 1e-2, None, {})
    assert (choice.key_on_edge, choice.l2_on_edge) == (False, False)
    assert choice.notes == ["no selection: 4 of 4 classes have a single label; middle of the grids"]


def test_a_class_with_a_single_label_does_not_stop_the_others() -> None:
    world = World()
    world.labels[:] = np.where(np.arange(400) == 7, 3, world.labels % 3)
    choice = world.select(np.arange(100))
    assert choice.key == 1.0
    assert choice.notes == ["1 of 4 classes have a single label, on which nothing is validated"]


@pytest.mark.parametrize(
    "setting", [{"FEW_ROWS": 0}, {"FEW_ROWS": 0, "IN_MEMORY": 0, "CHUNK": 32}], ids=["one by one", "streamed"]
)
def test_large_data_give_the_same_choice(setting: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    rows = np.arange(0, 400, 2)
    before = world.select(rows, "holdout")
    for name, value in setting.items():
        monkeypatch.setattr(selection, name, value)
    after = world.select(rows, "holdout")
    assert (after.key, after.l2, after.tried) == (before.key, before.l2, before.tried)
    torch.testing.assert_close(after.head.weight, before.head.weight, rtol=0.02, atol=0.02)


def test_wide_features_of_few_rows_give_the_choice_of_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(width=700)
    rows = np.arange(60)
    before = world.select(rows)
    monkeypatch.setattr(selection, "compress", lambda x: x)
    after = world.select(rows)
    assert (after.key, after.l2, after.tried) == (before.key, before.l2, before.tried)


def test_fits_that_did_not_converge_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "fit_many", partial(fit_many, max_iter=0))
    choice = World().select(np.arange(100))
    assert not choice.converged
    assert any("candidate fits did not converge" in note for note in choice.notes)


def expected(tried: dict[float, float], rule: str, total: int) -> float:
    """The penalty of a representation that a rule takes, from the accuracies of its candidates."""
    top = max(tried.values())
    inside = [l2 for l2 in tried if min(tried) < l2 < max(tried)]
    best = [l2 for l2, accuracy in tried.items() if accuracy == top]
    best = [l2 for l2 in best if l2 in inside] or best
    if rule == "weakest":
        return min(best)
    if rule == "median":
        return sorted(best)[len(best) // 2]
    slack = math.sqrt(top * (1 - top) / total) if rule == "one_se" else 0.0
    return max([max(best), *(l2 for l2 in inside if tried[l2] >= top - slack - 1e-12)])


@pytest.mark.parametrize("seed", range(4))
def test_rules_choose_among_the_same_candidates(seed: int) -> None:
    """Of equal ones the strongest, the median or the weakest; or the strongest within a standard error of the best."""
    world, rows = World(), np.arange(60)
    representations = [(tau, world.features_of(tau)) for tau in world.features]
    selection = Selection(world.labels_of, rows, classes=CLASSES, validation="folds", seed=seed)
    rules: dict[RuleName, Choice] = {}
    for rule in get_args(RuleName):
        rules[rule] = selection.choose(representations, [1e-6, 1e-4, 1e-2, 1.0], preferred=10.0, rule=rule)
        choice = rules[rule]
        assert choice.tried == rules["best"].tried
        for key, tried in choice.tried.items():
            assert choice.best[key] == expected(tried, rule, len(rows))
        assert choice.key is not None and choice.l2 == choice.best[choice.key]
        assert choice.accuracy == choice.tried[choice.key][choice.l2]
        tops = {key: max(tried.values()) for key, tried in choice.tried.items()}
        top = max(tops.values())
        slack = math.sqrt(top * (1 - top) / len(rows)) if rule == "one_se" else 0.0
        assert choice.key == max(key for key, one in tops.items() if key and one >= top - slack - 1e-12)
    assert rules["weakest"].l2 <= rules["best"].l2 <= rules["one_se"].l2 or rules["one_se"].key != rules["best"].key


def test_labels_may_be_a_tensor() -> None:
    labels: npt.ArrayLike = torch.arange(20) % 2
    assert per_class(np.asarray(labels), stratified_subset(labels, 0.5, seed=0))[:2].tolist() == [5, 5]


@pytest.mark.parametrize("validation", ["holdout", "folds"])
def test_features_that_are_all_alike_give_chance(validation: Literal["holdout", "folds"]) -> None:
    labels = np.arange(40) % CLASSES
    constant: Callable[[Rows], Tensor] = lambda rows: torch.ones(len(rows), 100)  # noqa: E731 - a collapsed network
    choice = select(
        [(None, constant)],
        lambda rows: labels[rows],
        np.arange(40),
        classes=CLASSES,
        l2=PENALTIES,
        validation=validation,
        seed=0,
    )
    assert choice.accuracy == pytest.approx(1 / CLASSES)


def sketched_from(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and numbers beyond which candidates are judged on a sketch."""
    for module in (logistic, selection):
        monkeypatch.setattr(module, "WIDEST_GRAM", size)
    monkeypatch.setattr(selection, "WIDEST_EXACT", size)


@pytest.mark.parametrize("value", [0.0, 0.125])
def test_wide_features_that_are_all_alike_give_chance(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sketched_from(200, monkeypatch)
    labels = np.arange(300) % 3
    choice = select(
        [(None, lambda rows: torch.full((len(rows), 250), value))],
        lambda rows: labels[rows],
        np.arange(300),
        classes=3,
        l2=[1e-3, 1e-1],
        validation="holdout",
        seed=0,
        sketched=64,
    )
    assert choice.accuracy == pytest.approx(1 / 3)
    assert torch.isfinite(choice.head.weight).all()


def test_wide_candidates_are_judged_on_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of low rank lose nothing; others nearly the same head and choice as without a sketch."""
    sketched_from(1000, monkeypatch)
    random = torch.Generator().manual_seed(0)
    count, width, classes = 1500, 1200, 3
    labels = torch.arange(count) % classes
    hidden = torch.randn(count, 24, generator=random) + 1.5 * torch.randn(classes, 24, generator=random)[labels]
    weight = torch.randn(24, width, generator=random) / 24**0.5
    softmax = (hidden @ weight).view(count, width // 4, 4).softmax(2).flatten(1)

    def chosen(x: Tensor, sketched: int | None) -> Choice:
        return select(
            [(None, lambda rows: x[torch.from_numpy(rows)])],
            lambda rows: labels[torch.from_numpy(rows)].numpy(),
            np.arange(count),
            classes=classes,
            l2=[1e-3, 1e-1],
            validation="holdout",
            seed=0,
            sketched=sketched,
        )

    for x in (hidden @ weight, softmax):
        x = x.bfloat16().float() / x.square().sum(1).mean().sqrt()
        exact, sketch = chosen(x, None), chosen(x, 256)
        assert sketch.l2 == exact.l2
        assert sketch.converged
        assert sketch.tried[None].keys() == exact.tried[None].keys()
        assert max(abs(sketch.tried[None][l2] - accuracy) for l2, accuracy in exact.tried[None].items()) < 0.01
        assert objective(sketch, x, labels) < (1 + 1e-4) * objective(exact, x, labels)


def test_wide_features_of_some_rows_are_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between 1,024 and 4,096 rows: judged as on all numbers, which are computed once, and for the chosen head."""
    random = torch.Generator().manual_seed(0)
    count, width, classes = 1100, 1300, 3
    labels = torch.arange(count) % classes
    x = (
        torch.randn(count, width, generator=random) + torch.randn(classes, width, generator=random)[labels]
    ) / math.sqrt(width)
    read: list[int] = []

    def reader(rows: Rows) -> Tensor:
        read.append(len(rows))
        return x.index_select(0, torch.from_numpy(rows))

    def chosen() -> Choice:
        read.clear()
        truth = labels.numpy()
        found = Selection(lambda rows: truth[rows], np.arange(count), classes=classes, validation="folds", seed=0)
        return found.choose([(None, reader)], [1e-4, 1e-3, 1e-2])

    exact, times = chosen(), len([rows for rows in read if rows > 1])
    monkeypatch.setattr(selection, "WIDEST_EXACT", 1200)
    compressed = chosen()
    assert (compressed.l2, compressed.tried.keys()) == (exact.l2, exact.tried.keys())
    for l2, accuracy in exact.tried[None].items():
        assert abs(compressed.tried[None][l2] - accuracy) <= 2 / count
    assert len([rows for rows in read if rows > 1]) == 2 < times


def objective(choice: Choice, x: Tensor, labels: Tensor) -> float:
    """Of its head, on all rows."""
    loss = torch.nn.functional.cross_entropy(choice.head.predict(x), labels)
    return float(loss + choice.l2 / 2 * choice.head.weight.square().sum())
