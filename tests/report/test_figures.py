"""Figures from rows written here by hand: which files there are, what they say, and that they show the values."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from sem_bench import analysis
from sem_bench.report.figures.look import Look
from tests.helpers.rows import rows_of

Json = dict[str, Any]


def draw(rows: Sequence[Json], folder: Path) -> list[Path]:
    """Rows of expressivity differ in their temperature, too."""
    apart = ((each["tau_d"],) if each["table"] == "expressivity" else () for each in rows)
    return analysis.draw(rows_of(each | {"apart": one} for each, one in zip(rows, apart, strict=True)), folder)


PLACE: Json = {
    "suite": "quick",
    "ip": None,
    "backbone": "resnet18",
    "dataset": "shapes",
    "recipe": "small",
    "epochs": 10,
}
EMBEDDINGS: dict[str, Json] = {
    "none": {"type": "none"},
    "linear": {"type": "linear", "L": 64, "V": 8},
    "sem": {"type": "sem", "L": 64, "V": 8, "tau": 1.0, "tau_target": 1.0},
}
MAIN = {"none": "h", "linear": "z", "sem": "sem"}
COLUMNS = {"100%": ("top1", 1.0), "1%": ("top1", 0.01), "kNN": ("knn_top1", 1.0)}


def row(table: str, method: str, embedding: str, column: str, metric: str, mean: float | None, **changes: Any) -> Json:
    """A row of three seeds."""
    base = PLACE | {"table": table, "method": method, "embedding": embedding, "column": column, "metric": metric}
    base |= {"embedding_config": EMBEDDINGS[embedding], "representation": MAIN[embedding], "fraction": 1.0}
    base |= {"tau_d": None, "mean": mean, "std": 0.7, "n": 3, "gain": None, "gain_low": None, "gain_high": None}
    return base | {"bootstrap": [], "published": None, "digests": ["a", "b", "c"], "notes": []} | changes


def gains(method: str, embedding: str, gain: float | None = 2.0, **changes: Any) -> list[Json]:
    interval = {} if gain is None else {"gain": gain, "gain_low": gain - 1.5, "gain_high": gain + 1.5}
    known = {} if embedding == "none" else interval
    return [
        row("comparison", method, embedding, column, metric, 70.0, fraction=fraction) | known | changes
        for column, (metric, fraction) in COLUMNS.items()
    ]


def entropy(method: str, embedding: str = "sem", **changes: Any) -> list[Json]:
    found: Json = {"histogram": [10, 40, 30, 15, 5], "course": [[0, 1.0], [5, 0.6], [10, 0.4]]}
    return [row("entropy", method, embedding, "train", "entropy_share", 0.4) | found | changes]


def expressivity(method: str, embedding: str, **changes: Any) -> list[Json]:
    taus = [("h", None), ("sem", 0.1), ("sem", 1.0)] if embedding == "sem" else [("h", None)]
    return [
        row("expressivity", method, embedding, column, metric, mean, labels=labels, fraction=fraction)
        | {"representation": representation, "tau_d": tau_d}
        | changes
        for representation, tau_d in taus
        for column, fraction, labels in (("1%", 0.01, 50), ("10%", 0.1, 500), ("100%", 1.0, 5000))
        for metric, mean in (("train", 95.0 - fraction), ("test", 60.0 + 9 * fraction), ("gap", 35.0 - 10 * fraction))
    ]


def corruptions(method: str, embedding: str, **changes: Any) -> list[Json]:
    values = [[60.0, 51.0, 42.0], [58.0, 47.0, 33.0]]
    matrix = {"corruptions": ["shot_noise", "fog"], "severities": [1, 3, 5], "values": values}
    return [row("robustness", method, embedding, "c", "top1", 48.5, matrix=matrix) | changes]


def relevance(method: str, embedding: str, **changes: Any) -> list[Json]:
    null = {"null": 0.1, "null_low": 0.07, "null_high": 0.13, "base_rate": 0.11}
    return [
        row("relevance", method, embedding, str(k), "relevance_per_class", 0.2 + 1 / (k + 3), std=0.02) | null | changes
        for k in (1, 5, 20)
    ]


KINDS: dict[str, Callable[..., list[Json]]] = {
    "gains": gains,
    "entropy": entropy,
    "expressivity": expressivity,
    "corruptions": corruptions,
    "relevance": relevance,
}


def suite(methods: Sequence[str], embeddings: Sequence[str] = ("none", "sem"), **changes: Any) -> list[Json]:
    """All tables; the entropy of SEM alone."""
    return [
        each
        for method in methods
        for embedding in embeddings
        for name, kind in KINDS.items()
        if name != "entropy" or embedding == "sem"
        for each in kind(method, embedding, **changes)
    ]


def text(path: Path) -> str:
    """All text of an SVG, which has to be well-formed."""
    return "\n".join(part.strip() for part in ElementTree.parse(path).getroot().itertext() if part.strip())


def texts(paths: Sequence[Path]) -> dict[str, str]:
    return {path.stem: text(path) for path in paths if path.suffix == ".svg"}


def check(paths: Sequence[Path]) -> None:
    """Each figure is there as an image with something on it, and as XML."""
    assert [path.suffix for path in paths] == [".png", ".svg"] * (len(paths) // 2)
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) >= 240
                assert round(image.info["dpi"][0]) == 150
                colours = image.convert("RGB").getcolors(maxcolors=2**24)
            assert colours is not None and len(colours) > 20
        else:
            assert len(text(path)) > 50
    assert {path.name for path in paths} == {path.name for path in paths[0].parent.iterdir()}  # no temporary is left


def test_all_five_with_names_axes_and_units(tmp_path: Path) -> None:
    paths = draw(suite(["byol"], ["none", "linear", "sem"]) + suite(["simclr"]), tmp_path)
    check(paths)
    found = texts(paths)
    assert list(found) == [
        *("gains", "corruptions", "relevance", "entropy"),
        *("expressivity-byol", "expressivity-simclr"),
    ]
    said = {
        "gains": ("byol", "simclr", "pooled (2)", "sem (L=64, V=8)", "gain in top-1 [points]", "1% of labels", "kNN"),
        "entropy": ("byol, sem (L=64, V=8)", "normalised entropy H / log V", "probability density", "epoch"),
        "expressivity-byol": ("byol", "labels", "test accuracy [%]", "[points]", "τ_d = 0.1", "none: h", "5,000"),
        "corruptions": ("byol", "severities 1, 3, 5", "accuracy [%]", "shot noise", "mean 48.5 %", "51.0", "46.0"),
        "relevance": ("byol", "simclr", "semantic relevance", "K", "base rate", "chance, 95 %", "standard deviation"),
    }
    for name, words in said.items():
        assert [
            word for word in (*words, "quick: shapes, resnet18, recipe small, 10 epochs") if word not in found[name]
        ] == []
    assert "left out" not in "".join(found.values())


def test_the_pooled_line_is_the_mean_of_the_methods(tmp_path: Path) -> None:
    """Marks at equal gains stand at equal x: pooled of 1 and 3 where a third method's 2 is."""
    paths = draw(gains("byol", "sem", 1.0) + gains("simclr", "sem", 3.0) + gains("dino", "linear", 2.0), tmp_path)
    marks = [
        each.attrib
        for each in ElementTree.parse(paths[1]).iter("{http://www.w3.org/2000/svg}use")
        if "x" in each.attrib
    ]
    at = {colour: [float(mark["x"]) for mark in marks if colour in mark["style"]] for colour in ("#e69f00", "#222222")}
    # Of the black ones, those that are neither ticks nor in the legend.
    assert any(abs(x - at["#e69f00"][0]) < 0.01 for x in at["#222222"])


CHANGES: dict[str, Callable[[Json], None]] = {
    "gains": lambda row: row.update(gain=row["gain"] + 0.2),
    "gains, interval": lambda row: row.update(gain_low=row["gain_low"] - 0.2),
    "entropy": lambda row: row["histogram"].__setitem__(1, 41),
    "entropy, course": lambda row: row["course"].__setitem__(1, [5, 0.62]),
    "expressivity": lambda row: row.update(mean=row["mean"] + 0.2),
    "expressivity, labels": lambda row: row.update(labels=row["labels"] + 20),
    "corruptions": lambda row: row["matrix"]["values"][1].__setitem__(1, 46.0),
    "relevance": lambda row: row.update(mean=row["mean"] + 0.01),
    "relevance, spread": lambda row: row.update(std=row["std"] + 0.01),
    "relevance, chance": lambda row: row.update(null_high=row["null_high"] + 0.01),
    "relevance, base rate": lambda row: row.update(base_rate=row["base_rate"] + 0.01),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_moves_its_mark(tmp_path: Path, change: str) -> None:
    """And the same rows give the same bytes, also after others."""
    before = KINDS[change.partition(",")[0]]("byol", "sem")
    after = deepcopy(before)
    CHANGES[change](after[0])
    first, moved, again = (
        [path.read_bytes() for path in draw(rows, tmp_path / name)]
        for name, rows in (("first", before), ("moved", after), ("again", before))
    )
    assert first == again
    assert len(first) == 2 and all(one != other for one, other in zip(first, moved, strict=True))


def test_nothing_to_show_writes_nothing(tmp_path: Path) -> None:
    hole: Json = {"mean": None, "std": None, "n": 0, "notes": ["missing: seed 0"]}
    nothing = [
        *(gains("byol", "none") + gains("byol", "sem", None, **hole) + gains("dino", "sem", None)),
        *entropy("byol", histogram=None, course=[]),
        *entropy("dino", **hole),
        *(each | {"labels": None} for each in expressivity("byol", "sem")),
        *corruptions("byol", "sem", **hole),
        *corruptions("dino", "sem", matrix=None, column="r"),
        *relevance("byol", "sem", **hole),
        row("transfer", "byol", "sem", "pets", "top1", 50.0),
    ]
    assert draw([], tmp_path) == draw(nothing, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_holes_are_left_out_and_said(tmp_path: Path) -> None:
    hole: Json = {"mean": None, "std": None, "n": 0, "notes": ["failed: seed 2"]}
    hole |= {"gain": None, "gain_low": None, "gain_high": None}
    rows = suite(["byol"])
    gone = suite(["simclr"], **hole)
    for each in gone:  # a hole has no extras
        for name in ("histogram", "course", "labels", "matrix", "null_low", "null_high", "base_rate"):
            each.pop(name, None)
    gone = [each for each in gone if each["table"] != "expressivity"] + expressivity(
        "byol", "linear", **hole | {"labels": None}
    )
    paths = draw(rows + gone, tmp_path)
    check(paths)
    found = texts(paths)
    assert list(found) == ["gains", "corruptions", "relevance", "entropy", "expressivity-byol"]
    for name in ("gains", "entropy", "relevance", "expressivity-byol"):
        said = found[name].replace("\n", " ")
        assert "left out: " in said and "(failed: seed 2)" in said, name
    assert "pooled (2) sem" in found["gains"].replace("\n", " ")  # the mean over methods is a hole too


def test_a_gain_that_is_not_there_is_said_with_its_reason(tmp_path: Path) -> None:
    note = "cpu fp32 against cuda bf16: no gain"
    paths = draw(
        gains("byol", "sem") + gains("dino", "sem", None, notes=["l2 on its edge", note], gain_notes=[note]), tmp_path
    )
    assert note in text(paths[1]).replace("\n", " ")


def test_some_panels_of_a_figure(tmp_path: Path) -> None:
    course = texts(draw(entropy("byol", histogram=None), tmp_path / "course"))["entropy"]
    assert "epoch" in course and "density" not in course
    counts = texts(draw(entropy("byol", course=None), tmp_path / "counts"))["entropy"]
    assert "epoch\n" not in counts and "density" in counts
    tests = [each for each in expressivity("byol", "none") if each["metric"] == "test"]
    alone = texts(draw(tests, tmp_path / "tests"))["expressivity-byol"]
    assert "test accuracy [%]" in alone and "labelled" not in alone
    bare = [{name: value for name, value in each.items() if "null" not in name and name != "base_rate"}
            for each in relevance("byol", "sem")]  # fmt: skip
    assert "base rate" not in texts(draw(bare, tmp_path / "bare"))["relevance"]


def test_expressivity_is_drawn_at_one_penalty_where_there_is_one(tmp_path: Path) -> None:
    chosen = expressivity("byol", "sem")
    fixed = [
        each | {"representation": each["representation"] + ", l2 1e-06", "fixed_l2": 1e-6, "mean": each["mean"] + 1}
        for each in chosen
    ]
    both, alone, old = (
        texts(draw(rows, tmp_path / name))["expressivity-byol"]
        for rows, name in ((chosen + fixed, "both"), (fixed, "alone"), (chosen, "old"))
    )
    assert both == alone != old
    assert "l2 = 1e-06 everywhere" in both and "left out" not in both
    assert "everywhere" not in old


def test_one_seed_is_hollow_and_has_no_bars(tmp_path: Path) -> None:
    one: Json = {"n": 1, "std": None, "gain_low": None, "gain_high": None}
    found = texts(draw(suite(["byol"], **one), tmp_path))
    draw(suite(["byol"]), tmp_path / "three")
    for name in ("gains", "entropy", "expressivity-byol", "relevance"):
        hollow = [len(re.findall("fill: #ffffff; stroke", (folder / f"{name}.svg").read_text()))
                  for folder in (tmp_path, tmp_path / "three")]  # fmt: skip
        assert hollow[0] > hollow[1] == 0, name
    assert "hollow markers: one seed" in found["gains"].replace("\n", " ")
    assert "n = 1 seed;" in found["relevance"] and "n = 1 seed" in found["corruptions"]
    assert not any("t-interval" in each or "standard deviation" in each for each in found.values())


def test_an_interval_that_dwarfs_the_gains_is_cut(tmp_path: Path) -> None:
    wide = gains("byol", "sem", 2.0, gain_low=-90.0, gain_high=94.0, n=2)
    said = text(draw(wide, tmp_path)[1])
    assert "arrows: the interval goes on" in said and "50" not in said


def test_many_methods(tmp_path: Path) -> None:
    """Twenty and their twins in another configuration: each its own name, and no two drawn alike."""
    names = [f"method_{number}" for number in range(20)]
    rows = [each for name in names for each in gains(name, "sem") + entropy(name) + relevance(name, "sem")]
    paths = draw(rows + entropy("method_3"), tmp_path)
    check(paths)
    for said in texts(paths).values():
        assert [name for name in names if name not in said] == []
    entropies = tmp_path / "entropy.svg"
    assert "method_3 (2), sem" in text(entropies)
    styles = [each.get("style", "") for each in ElementTree.parse(entropies).iter()]
    strokes = {tuple(re.findall("(?:dasharray|stroke): [^;]+", style)) for style in styles if "width: 1.4" in style}
    assert len(strokes) == 21


def test_awkward_names(tmp_path: Path) -> None:
    """What XML, file systems and mathematical notation dislike. Names alike to a file system stay apart."""
    names = ["_x", "a<b>&\"'", "$x^{$", "../../passwd", "a", "A", "x\x00y\nz", "方法", "con", "", "n" * 300]
    rows = [each | {"suite": "q\x07<&$"} for name in names for each in gains(name, "sem") + expressivity(name, "sem")]
    paths = draw(rows, tmp_path)
    check(paths)
    assert len(paths) == 2 + 2 * len(names) and len({path.name.lower() for path in paths}) == len(paths)
    assert all(path.parent == tmp_path and len(path.name) < 100 and path.name.isascii() for path in paths)
    said = text(tmp_path / "gains.svg")
    assert [name for name in names if name not in said] == ["x\x00y\nz", "n" * 300]
    assert "x?y?z" in said and "n" * 30 + "…" in said and "q?<&$: shapes" in said


def test_a_file_for_each_group(tmp_path: Path) -> None:
    """Named by what differs. Methods keep their colours between them, and IP-IRM is a method of its own."""
    other: Json = {"backbone": "resnet 50/x", "epochs": 100}
    ip = [each | {"ip": {"every": 5}} for each in gains("byol", "sem")]
    paths = draw(gains("byol", "sem") + ip + [each | other for each in gains("byol", "sem")], tmp_path)
    check(paths)
    found = texts(paths)
    assert list(found) == ["gains-resnet18-10epochs", "gains-resnet_50_x-100epochs"]
    assert "byol + IP" in found["gains-resnet18-10epochs"] and "+ IP" not in found["gains-resnet_50_x-100epochs"]
    assert "pooled" not in "".join(found.values())  # with IP-IRM and without are not pooled
    assert all("#d55e00" in path.read_text() for path in paths if path.suffix == ".svg")


def test_a_method_keeps_its_colour_beside_others(tmp_path: Path) -> None:
    alone, among = draw(gains("mine", "sem"), tmp_path / "alone"), tmp_path / "among"
    draw(gains("aaa", "linear") + gains("mine", "sem"), among)

    def colour(path: Path) -> set[str]:
        used = (each.get("style", "") for each in ElementTree.parse(path).iter())
        return {style.partition("stroke: ")[2][:7] for style in used if "stroke-width: 1.4" in style}

    assert len(colour(alone[1])) == 1 and colour(alone[1]) < colour(among / "gains.svg")


def test_a_users_matplotlib_settings_neither_matter_nor_change(tmp_path: Path) -> None:
    import matplotlib

    plain = [path.read_bytes() for path in draw(gains("byol", "sem"), tmp_path)]
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        styled = [path.read_bytes() for path in draw(gains("byol", "sem"), tmp_path)]
        assert matplotlib.rcParams["font.size"] == 20
    assert plain == styled


def test_importing_is_light_and_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from sem_bench.analysis import draw\n"
        "assert not {'matplotlib', 'numpy', 'torch'} & sys.modules.keys()\n"
        "assert draw([], pathlib.Path(sys.argv[1])) == [] and 'matplotlib' not in sys.modules\n"
        "from sem_bench import Row; import json; rows = [Row(**each) for each in json.loads(sys.stdin.read())]\n"
        "assert len(draw(rows, pathlib.Path(sys.argv[1]))) == 2\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    rows = json.dumps([vars(each) for each in rows_of(gains("byol", "sem"))])
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    done = subprocess.run(command, input=rows, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_six_methods_take_seconds(tmp_path: Path) -> None:
    rows = suite(["simclr", "moco", "byol", "swav", "dino", "simsiam"])
    wide = [[50.0 + severity for severity in range(5)]] * 15
    matrix = {"corruptions": [f"corruption_{i}" for i in range(15)], "severities": [1, 2, 3, 4, 5], "values": wide}
    rows = [each | {"matrix": matrix} if "matrix" in each else each for each in rows]
    start = time.process_time()
    paths = draw(rows, tmp_path)
    assert len(paths) == 2 * (3 + 1 + 6)
    assert time.process_time() - start < 10  # a third of it on an idle core


def test_a_marker_is_that_of_the_type_or_of_its_card() -> None:
    """Whatever the suite calls the embedding; two of one type differ."""
    sem = entropy("byol")[0]

    def markers(*rows: Json) -> list[str]:
        found = rows_of(rows)
        look = Look(found)
        return [look.marker(each, hollow=False)["marker"] for each in found]

    assert markers(sem) == markers(sem | {"embedding": "wide"}) == ["s"]
    assert markers(sem | {"marker": "*"}) == ["*"]
    assert markers(sem | {"embedding": "linear"}, sem) == ["s", "v"]
    assert markers(sem | {"embedding_config": {"type": "of tomorrow"}}) == ["v"]


def test_panels_of_gains_have_one_scale() -> None:
    """A short bar in one of them is a small gain in all."""
    found = [*suite(["byol", "simclr"]), *gains("moco", "none"), *gains("moco", "sem")]
    found[-1] |= {"gain": -9.0, "gain_low": -10.5, "gain_high": -7.5}  # of one column
    figure = analysis.Results(rows_of(found), [], Path()).figure("gains")
    limits = [axis.get_xlim() for axis in figure.axes]
    assert len(limits) == 3 and len(set(limits)) == 1 and limits[0][0] < -10


def test_only_figures_with_markers_speak_of_hollow_ones(tmp_path: Path) -> None:
    found = texts(draw(suite(["byol"], n=1), tmp_path))
    assert {name: "hollow markers" in said for name, said in found.items()} == {
        name: name != "corruptions" for name in found
    }


def test_one_seed_has_no_bars_to_speak_of(tmp_path: Path) -> None:
    found = suite(["byol", "simclr"], n=1, std=None, gain_low=None, gain_high=None)
    said = texts(draw(found, tmp_path))["gains"]
    assert "pooled: mean of the methods" in said and "bars" not in said
