"""What is wrong with a suite, beyond the schema: names, cards, recipes, data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sem_bench.base.digest import canonical_json
from sem_bench.config.cards import Library
from sem_bench.config.validation import Document, Location, at, did_you_mean, validate
from sem_bench.data.card import dataset_card
from sem_bench.errors import MOST, UserError
from sem_bench.evaluation import AnyEvaluation, Asking
from sem_bench.nets.card import backbone_card, embedding_card, settings_problems
from sem_bench.runs.job import Job
from sem_bench.runs.suite import Grid, Suite, suite_model
from sem_bench.runs.sweep_card import sweep_card
from sem_bench.training.card import defines, method_card
from sem_bench.training.job import PRETRAIN

LOAD: dict[str, Callable[[Library, str], object]] = {
    "method": method_card,
    "dataset": dataset_card,
    "backbone": backbone_card,
    "embedding": embedding_card,
    "sweep": sweep_card,
}
GRID_NAMES = {"methods": "method", "datasets": "dataset", "evaluate_on": "dataset", "backbones": "backbone"}


def checked(
    document: Document, library: Library, evaluations: Mapping[str, AnyEvaluation]
) -> tuple[Suite | None, list[str]]:
    """The suite, and everything that is wrong with it and with the cards that it names."""
    problems = [
        *_unknown_names(document, library, _named(document, evaluations)),
        *_embedding_problems(document, library),
        *_unknown_names(document, library, _named_sweeps(document)),
    ]
    try:
        suite = validate(suite_model(evaluations), document)
    except UserError as error:
        return None, problems + error.problems
    if not problems:
        problems = _recipe_problems(suite, document, library)
    return suite, problems or [
        *_data_problems(suite, document, library, evaluations),
        *_evaluation_problems(suite, document, library, evaluations),
        *_sweep_problems(suite, document),
    ]


def row_clashes(found: Sequence[tuple[int, Job]], document: Document) -> list[str]:
    """Grids whose arms would share a row of a table, though they are not the same pretraining."""
    rows: dict[tuple[object, ...], tuple[int, str]] = {}
    problems = []
    for number, job in found:
        if job.stage is PRETRAIN:
            cell = job.cell
            settings = canonical_json(cell.embedding_config), cell.recipe, cell.epochs, cell.seed
            row = (cell.method, cell.ip is not None, cell.embedding, cell.backbone, cell.dataset, *settings)
            first, digest = rows.setdefault(row, (number, job.digest))
            if digest != job.digest:
                example = f"{cell.embedding}_2: {{type: {cell.embedding_config['type']}, ...}}"
                text = (
                    f"{cell.method} with {cell.embedding!r} is trained otherwise than in grid {first}, and would share "
                    f"its row: give it another label, such as {example}"
                )
                problems.append(at(document, ("grid", number), text))
    return list(dict.fromkeys(problems))


def _grids(data: object) -> list[tuple[Location, dict[str, Any]]]:
    grid = data.get("grid") if isinstance(data, dict) else None
    if isinstance(grid, dict):
        return [(("grid",), grid)]
    if isinstance(grid, list):
        return [(("grid", i), part) for i, part in enumerate(grid) if isinstance(part, dict)]
    return []


Named = Iterator[tuple[Location, str, object]]  # place, kind of card, name or names: of the raw file, perhaps anything


def _named(document: Document, evaluations: Mapping[str, AnyEvaluation]) -> Named:
    """What the grids and the settings of evaluations name."""
    for location, grid in _grids(document.data):
        for key, kind in GRID_NAMES.items():
            yield (*location, key), kind, grid.get(key)
    evaluate = document.data.get("evaluate") if isinstance(document.data, dict) else None
    for name, asked in evaluate.items() if isinstance(evaluate, dict) else ():
        if name in evaluations and isinstance(asked, dict):
            for key, kind in evaluations[name].names.items():
                yield ("evaluate", name, key), kind, asked.get(key)


def _named_sweeps(document: Document) -> Named:
    """The sweeps that it contains."""
    sweeps = document.data.get("sweeps") if isinstance(document.data, dict) else None
    for i, use in enumerate(sweeps if isinstance(sweeps, list) else []):
        if isinstance(use, dict) and isinstance(name := use.get("use"), str):
            yield ("sweeps", i, "use"), "sweep", name


def _unknown_names(document: Document, library: Library, named: Named) -> list[str]:
    """Mistakes in the names and in the cards named, so that they come with all others."""
    problems: list[str] = []
    for location, kind, names in named:
        for i, name in enumerate(names if isinstance(names, list) else [names]):
            if not isinstance(name, str):
                continue
            here = (*location, i) if isinstance(names, list) else location
            if len(problems) == MOST - 1:
                return [*problems, at(document, here, "names from here on are not looked at")]
            try:
                LOAD[kind](library, name)
            except KeyError:
                known = library.names(kind)
                problems.append(at(document, here, f"unknown {kind} {name!r}{did_you_mean(name, known)}"))
            except ValueError as error:
                problems.append(at(document, here, str(error)))
            except UserError as error:
                problems += error.problems
    return problems


def _embedding_problems(document: Document, library: Library) -> Iterator[str]:
    """Mistakes in the grids' embeddings, and in their cards."""
    for location, grid in _grids(document.data):
        embeddings = grid.get("embeddings")
        for label in embeddings if isinstance(embeddings, dict) else ():
            yield from settings_problems(library, document, (*location, "embeddings", label))


def _sweep_problems(suite: Suite, document: Document) -> Iterator[str]:
    """Methods that a sweep is to use and the suite does not."""
    known = list(dict.fromkeys(name for grid in suite.grid for name in grid.methods))
    for i, use in enumerate(suite.sweeps):
        for j, name in enumerate(use.methods or ()):
            if name not in known:
                text = f"{name!r} is no method of this suite{did_you_mean(name, known)}"
                yield at(document, ("sweeps", i, "methods", j), text)


def _recipe_problems(suite: Suite, document: Document, library: Library) -> list[str]:
    problems = []
    for (here, _), grid in zip(_grids(document.data), suite.grid, strict=True):
        wanted = suite.pretraining(grid).recipe
        place = ("pretrain", "recipe") if grid.pretrain.recipe is None else (*here, "pretrain", "recipe")
        for name in sorted(grid.methods):
            card = method_card(library, name).content
            if wanted not in card.recipes and not card.external:
                text = f"method {name!r} has no recipe {wanted!r}{did_you_mean(wanted, card.recipes)}"
                problems.append(at(document, place, text))
        if suite.pretraining(grid).mixup is not None:
            place = (*here, "pretrain", "mixup") if grid.pretrain.mixup is not None else ("pretrain", "mixup")
            problems += [at(document, place, text) for text in _unmixable(grid, library)]
        for key, text in _method_problems(grid, library):
            problems.append(at(document, (*here, key), text))
    return list(dict.fromkeys(problems))


def _unmixable(grid: Grid, library: Library) -> Iterator[str]:
    """What is wrong with a grid's methods where they are to be trained with MixUp."""
    able = [name for name in library.names("method") if method_card(library, name).content.contrasts is not None]
    if unable := [name for name in grid.methods if name not in able]:
        yield f"{unable[0]} cannot be trained with MixUp; these can: {', '.join(able)}"


def _method_problems(grid: Grid, library: Library) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of `ip`, and of external methods."""
    cards = {name: method_card(library, name) for name in grid.methods}
    if grid.ip is not None and (unable := [name for name, card in cards.items() if not defines(card, "environments")]):
        able = [name for name in library.names("method") if defines(method_card(library, name), "environments")]
        yield "ip", f"{unable[0]} cannot be trained with IP-IRM; these can: {', '.join(able)}"
    external = [name for name, card in cards.items() if card.content.external]
    if external and grid.checkpoint is None:
        yield "methods", f"{external[0]} needs `checkpoint`, the file with its weights, in this grid"
    if grid.checkpoint is not None and len(external) < len(cards):
        other = next(name for name in cards if name not in external)
        yield (
            "checkpoint",
            f"{other} is trained from scratch; `checkpoint` is for method external, in a grid of its own",
        )
    if grid.prefix is not None and grid.checkpoint is None:
        yield "prefix", "`prefix` belongs to a `checkpoint`"
    if grid.input != "rgb" and grid.checkpoint is None:
        yield "input", "`input` belongs to a `checkpoint`"
    for label, embedding in grid.embeddings.items() if external else ():
        card = embedding_card(library, embedding.type).content
        if card.temperature and card.trained and embedding.tau is None:
            yield "embeddings", f"{label!r} needs tau, the temperature that its checkpoint was trained at"


def _data_problems(
    suite: Suite, document: Document, library: Library, evaluations: Mapping[str, AnyEvaluation]
) -> list[str]:
    """What each grid wants of its data sets, and they cannot give."""
    problems = []
    for (here, _), grid in zip(_grids(document.data), suite.grid, strict=True):
        for j, name in enumerate(grid.datasets):
            for key, text in _mismatches(suite, grid, name, library, evaluations):
                place = (*here, "datasets", j) if key == "datasets" else (*here, *key.split("."))
                if key in ("batch_size", "accumulate"):
                    own = getattr(grid.pretrain, key) is not None
                    place = (*here, "pretrain", key) if own else ("pretrain", key)
                problems.append(at(document, place, text))
    return problems


def _evaluation_problems(
    suite: Suite, document: Document, library: Library, evaluations: Mapping[str, AnyEvaluation]
) -> Iterator[str]:
    """What the evaluations want of data sets and methods, and these do not have; once each."""
    grids = {grid.evaluate_on or name: grid for grid in suite.grid for name in grid.datasets}
    counts = {
        name: grid.images.train or dataset_card(library, name).content.splits.get("train", 0)
        for name, grid in grids.items()
    }
    known = {method for grid in suite.grid for method in grid.methods}
    asking = Asking(library, known, counts, dict(suite.evaluate))
    for name, evaluation in evaluations.items():
        if (asked := suite.asked(name)) is None:
            continue
        for keys, text in evaluation.problems(asked, asking):
            yield at(document, ("evaluate", name, *keys), text)
        for data in counts if evaluation.labels and not evaluation.multi_label else ():
            if dataset_card(library, data).content.multi_label:
                text = f"{name} reads one class an image, and {data!r} has several: probe and transfer take it"
                yield at(document, ("evaluate", name), text)
        for i, method in enumerate(getattr(asked, "methods", None) or ()):
            if method not in known:
                text = f"{method!r} is no method of this suite{did_you_mean(method, known)}"
                yield at(document, ("evaluate", name, "methods", i), text)


def _mismatches(
    suite: Suite, grid: Grid, name: str, library: Library, evaluations: Mapping[str, AnyEvaluation]
) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for pretraining on a data set and evaluating as the grid says."""
    card = dataset_card(library, name).content
    target = grid.evaluate_on or name
    evaluated = dataset_card(library, target).content
    if "train" not in card.splits:
        yield "datasets", f"{name!r} is a shifted test set: it has no train split"
        return
    stages = [stage for stage, asked in suite.evaluate if asked is not None and evaluations[stage].labels]
    if stages and not evaluated.labelled:
        where = "evaluate_on" if grid.evaluate_on else "datasets"
        able = " and ".join(stage for stage, evaluation in evaluations.items() if not evaluation.labels)
        hint = "" if grid.evaluate_on else f"; `evaluate_on` names the data set to evaluate on, and {able} need none"
        yield where, f"{target!r} has no labelled train and test images, which {stages[0]} needs{hint}"
        return
    if card.image_size != evaluated.image_size:
        yield "evaluate_on", f"{target!r} has images of {evaluated.image_size} px, {name!r} of {card.image_size} px"
    labelling = [method for method in grid.methods if method_card(library, method).content.labels]
    if labelling and card.classes is None:
        yield "datasets", f"{labelling[0]} reads labels, which {name!r} does not have"
    elif labelling and card.multi_label:
        yield "datasets", f"{labelling[0]} reads one class an image, and {name!r} has several"
    for known in (card, evaluated) if grid.input == "grey" else ():
        if known.normalise and (len(set(known.normalise.mean)) > 1 or len(set(known.normalise.std)) > 1):
            yield "input", "`input: grey` needs one mean and one std for all channels in the card of the data set"
            break
    limits, counts = grid.images, card.splits["train"]
    pretrain = limits.pretrain or (limits.train if target == name else None)
    for key, limit, available, of in (
        ("pretrain", limits.pretrain, counts, name),
        ("train", limits.train, evaluated.splits.get("train", 0), target),
        ("test", limits.test, evaluated.splits.get("test", 0), target),
    ):
        if limit is not None and limit > available:
            split = "test" if key == "test" else "training"
            yield f"images.{key}", f"grid.images.{key}: {limit}, but {of!r} has {available} {split} images"
    for key, limit in (("train", limits.train), ("test", limits.test)):
        if limit is not None and limit < len(evaluated.classes or []):
            yield f"images.{key}", f"grid.images.{key}: {limit} images for {len(evaluated.classes or [])} classes"
    changes = suite.pretraining(grid)
    for method in grid.methods:
        content = method_card(library, method).content
        if content.external:
            continue
        recipe = content.recipes[changes.recipe]
        batch = changes.batch_size or recipe.batch_size
        size = batch * (changes.accumulate or recipe.accumulate)
        count = min(pretrain or counts, counts)
        if batch < content.smallest_batch:
            text = f"{method} cannot be trained with batches of {batch}; the smallest that its card states is"
            yield "batch_size", f"{text} {content.smallest_batch}"
        elif size < content.smallest_step and changes.lr is None and not recipe.optimizer.lr_per_256:
            lr = recipe.optimizer.lr
            follows = float(f"{lr * size / (recipe.batch_size * recipe.accumulate):.1g}")
            yield (
                "batch_size",
                f"{method} diverges at {size} images a step with the recipe's lr {lr:g}, which is not scaled: "
                f"give `lr` as well, as `lr: {follows:g}`, or {content.smallest_step} images and more",
            )
        if size > count:
            text = f"{method}'s {size} images a step are more than the {count} training images of {name!r}"
            yield "batch_size" if changes.accumulate is None else "accumulate", text
