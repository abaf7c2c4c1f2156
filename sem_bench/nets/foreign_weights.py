"""Foreign weights in our encoder: files of torchvision, timm, lightly, solo-learn, the original SEM code, or ours.

All of these are trees of tensors whose dotted names end alike, or as one of `namings` has them. So a file is laid flat,
and the backbone is found as the prefix below which every one of our names stands with the right shape; nothing is known
of wrappers.
"""

import re
import tarfile
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sem_bench.base import mistaken
from sem_bench.base.files import shown
from sem_bench.embedding import Embedding
from sem_bench.encoder import Encoder
from sem_bench.nets import inert_pickle, positions
from sem_bench.nets.embeddings import sem
from sem_bench.nets.namings import WRAPPERS, Naming, namings, plain_names, same_order, with_head
from sem_bench.nets.vit_names import REGISTERS, as_timm_has_it

Tensors = Mapping[str, Tensor]
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as Pillow makes images grey (ITU-R 601-2)
DEPTH = 6  # levels of mappings that are looked through: a pickle may hold itself
COUNTER = "num_batches_tracked"  # of BatchNorm: unused at momentum 0.1, and absent from old files
# Of a backbone's prefix: what makes it the embedding's, other names of its layers, and whether groups come first.
LAYOUTS: list[tuple[str, str, dict[str, str], bool]] = [
    ("backbone.network", "embedding", {}, False),  # ours
    ("backbone", "embedder", {"linear": "0", "norm": "1"}, True),  # the original SEM code
]


def load_weights(encoder: Encoder, path: Path, *, prefix: str | None = None, grey: bool = False) -> list[str]:
    """Fill `encoder` in place from a PyTorch or .safetensors file; returns notes on what was taken and left out.

    `prefix` says which of several networks to take, by any components of its dotted name ("encoder_q"). `grey`: the
    network there has a first layer of one channel. Raises ValueError, one line, and leaves the encoder as it was.
    """
    try:
        tree, unread = _read(path)
        flat, network = _flat(tree), encoder.backbone.network
        if not flat:
            raise ValueError(_as_a_module(path, tree) or "no tensors with names in it")
        plain = plain_names(flat, network)
        tensors = as_timm_has_it(network, {plain[name]: value for name, value in flat.items()})
        try:
            asked = prefix if prefix is None else WRAPPERS.sub("", f"{prefix}.")
            place, notes = _find(network, tensors, asked, grey=grey)
        except _NothingFitsError as error:
            raise ValueError(_as_a_module(path, tree) or str(error)) from error
        values = place.values(tensors)
        embedding, more = _embedding(encoder.embedding, tensors, place.prefix)
        for name, value in [*values.items(), *embedding.items()]:
            if not value.isfinite().all():
                raise ValueError(f"{name!r} has values that are not finite")
            if name.endswith("running_var") and (value < 0).any():
                raise ValueError(f"{name!r} has variances below 0")
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    encoder.backbone.network.load_state_dict(values)
    encoder.embedding.load_state_dict(embedding)
    if unread:
        more.append(f"not read, as they are no weights: {', '.join(unread[:4])}{', ...' if len(unread) > 4 else ''}")
    return notes + more


class _NothingFitsError(ValueError):
    """Our network is not in the file."""


def _read(path: Path) -> tuple[Any, list[str]]:
    """What the file holds, and the classes that stand-ins took the place of. Nothing in it is run."""
    try:
        path.open("rb").close()
    except IsADirectoryError:
        raise ValueError("a folder: name the file of weights in it") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    try:
        if _is_safetensors(path):
            return _safetensors(path), []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that torch refuses in the next moment
            try:
                with torch.serialization.safe_globals([Namespace]):  # a bag of names: Lightning keeps arguments in one
                    return torch.load(path, map_location="cpu", weights_only=True), []
            except Exception:  # objects beside the weights, a scripted module, damaged bytes: all of which it may say
                return inert_pickle.load(path)
    except ImportError:
        raise ValueError("reading .safetensors needs another package: pip install safetensors") from None
    except Exception as error:  # damaged bytes make a reader raise anything
        instead = _instead(path)
        text = "no file of weights that torch can read, or damaged"
        raise ValueError(f"{text}: {instead}" if instead else text) from error


def _is_safetensors(path: Path) -> bool:
    """Whether it begins as such files do, whatever its name: the length of a header of JSON, and that."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") < path.stat().st_size


def _instead(path: Path) -> str:
    """What a file is in place of weights, in words; "" where that is not known."""
    with path.open("rb") as file:
        start = file.read(300)
    if known := mistaken.kind_of(start):
        return known
    if start.startswith(b"\x1f\x8b") or tarfile.is_tarfile(path):
        return "an archive: unpack it first"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("data.pkl") for name in archive.namelist()):
                return "an archive: unpack it first"
        if path.suffix == ".safetensors":  # torch goes by the name
            return "a file of torch under another name: call it .pt"
    return "a text, no weights" if start.isascii() and start.decode().isprintable() else ""


def _as_a_module(path: Path, tree: object) -> str:
    """What to do with a network that was pickled whole; "" where the file holds none."""
    for _, one in inert_pickle.objects(tree):
        if isinstance(tree, inert_pickle.StandIn) or {"_modules", "_parameters"} <= one.attributes.keys():
            return (
                f"has pickled objects ({one.of}), which may run code and are not loaded; if you trust it, where its "
                "code is installed, take the network from it and save its state dict alone: "
                f"`model = torch.load({path.name!r}, weights_only=False)` and "
                "`torch.save(model.state_dict(), 'state.pt')`"
            )
    return ""


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _flat(tree: object, above: str = "", depth: int = 0) -> dict[str, Tensor]:
    """All tensors of a tree of mappings, by their dotted names."""
    if isinstance(tree, Tensor):
        return {above: tree} if above and tree.is_cpu and tree.layout == torch.strided else {}
    if isinstance(tree, inert_pickle.StandIn):
        tree = tree.entries
    if isinstance(tree, list | tuple) and any(isinstance(one, Mapping) for one in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping) or depth > DEPTH:
        return {}
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{above}.{key}" if above else str(key), depth + 1))
    return flat


@dataclass(frozen=True)
class _Found:
    """Our network below a prefix of the file, its tensors under the names of `naming`."""

    network: nn.Module
    prefix: str  # "" or "state_dict.backbone."
    naming: Naming
    grey: bool = False  # its first layer has one channel

    def key(self, name: str) -> str:
        """The file's name of one of ours."""
        return self.prefix + self.naming.theirs(name)

    def value(self, name: str, ours: Tensor, tensors: Tensors) -> Tensor | None:
        """The file's tensor for one of ours, at its shape; None where there is none."""
        theirs = tensors.get(self.key(name))
        if theirs is None or _alike(theirs, ours):
            return theirs
        if self.grey and ours.ndim == 4 and theirs.shape == (len(ours), 1, *ours.shape[2:]):
            return theirs * torch.tensor(LUMA).view(1, 3, 1, 1)  # of the luma what the layer makes of a grey image
        return positions.resampled(self.network, theirs) if name == positions.NAME else None

    def values(self, tensors: Tensors) -> dict[str, Tensor]:
        """A whole state dict for the network."""
        own = self.network.state_dict()
        return {name: _cast(self.value(name, value, tensors), value) for name, value in own.items()}

    def agreement(self, tensors: Tensors) -> tuple[int, str]:
        """How many names have the right shape, and the first thing that speaks against this place, or ""."""
        own = {name: value for name, value in self.network.state_dict().items() if not name.endswith(COUNTER)}
        wrong = [name for name, value in own.items() if self.value(name, value, tensors) is None]
        agreed = len(own) - len(wrong)
        if wrong:
            theirs = tensors.get(self.key(wrong[0]))
            text = _difference(self.key(wrong[0]), theirs, own[wrong[0]], only=len(wrong) == 1)
            return agreed, text + _other_stem(self.network, theirs, only=len(wrong) == 1)
        if self.grey and not any(_is_grey(tensors.get(self.key(name)), value) for name, value in own.items()):
            return agreed, "`input: grey`, but its first layer has three channels"
        if tokens := next((key for key, name in self.rest(tensors).items() if name in REGISTERS), None):
            return agreed, (
                f"{tokens!r} is there: tokens that this backbone has not; those of DINOv2's registers are in "
                "timm's models named reg4, such as `timm/vit_small_patch14_reg4_dinov2`"
            )
        inside = next((key for key, name in self.rest(tensors).items() if not _is_behind(self.network, name)), None)
        if inside:
            return agreed, f"{inside!r} is there and not here: another backbone?"
        return agreed, self.naming.refusal

    def rest(self, tensors: Tensors) -> dict[str, str]:
        """What else stands there, and what it would be called here."""
        known = {self.key(name) for name in self.network.state_dict()}
        below = [key for key in tensors if key.startswith(self.prefix) and key not in known]
        return {key: self.naming.ours(key.removeprefix(self.prefix)) for key in below}

    def notes(self, tensors: Tensors) -> list[str]:
        """What was done to names and numbers."""
        theirs = tensors.get(self.key(positions.NAME))
        ours = self.network.state_dict().get(positions.NAME)
        notes = [self.naming.note] if self.naming.note else []
        notes += ["the stem of one channel reads the luma of an image"] if self.grey else []
        if theirs is not None and ours is not None and theirs.shape != ours.shape:
            notes.append(positions.note(self.network, theirs))
        return notes


def _find(network: nn.Module, tensors: Tensors, chosen: str | None, *, grey: bool = False) -> tuple[_Found, list[str]]:
    """The one place of our network in the file, and notes. Raises ValueError."""
    said = (chosen or "").rstrip(".")
    agreements: dict[str, tuple[_Found, int, str]] = {}
    for place in _places(network, tensors, grey=grey):
        agreed, problem = place.agreement(tensors)
        if place.prefix not in agreements or agreed > agreements[place.prefix][1]:
            agreements[place.prefix] = place, agreed, problem
    fits = {prefix: place for prefix, (place, _, problem) in agreements.items() if not problem}
    wanted = [prefix for prefix in agreements if chosen is None or _is_below(prefix, chosen)]
    if not wanted:
        there = sorted(fits or {key.partition(".")[0] for key in tensors})
        what = "no name of our backbone is in it" if chosen is None else f"nothing of our backbone is below {said!r}"
        raise _NothingFitsError(
            f"{what}; there is {', '.join(map(_said, there[:8]))}{_under_other_names(network, tensors)}"
        )
    if not any(prefix in fits for prefix in wanted):
        nearest = max(wanted, key=lambda prefix: (agreements[prefix][1], -len(prefix)))
        why = agreements[nearest][2] + ("" if agreements[nearest][1] > 9 else _under_other_names(network, tensors))
        raise _NothingFitsError(f"nothing fits; nearest is {_said(nearest)}: {why}")
    online = [prefix for prefix in wanted if prefix in fits and (chosen is not None or "momentum" not in prefix)]
    if not online:
        raise ValueError(f"only a momentum branch fits, {', '.join(map(_said, fits))}: `prefix` takes it all the same")
    best: list[str] = []  # networks that differ: which of them is meant, their names do not say
    for prefix in sorted(online, key=len):
        values = fits[prefix].values(tensors)
        if not any(_equal(values, fits[other].values(tensors)) for other in best):
            best.append(prefix)
    if len(best) > 1:
        raise ValueError(f"{' and '.join(map(_said, best))} fit, and differ: `prefix` chooses one")
    others = [_said(prefix) for prefix in fits if prefix != best[0]]
    notes = [f"backbone read from {_said(best[0])}" + (f", not {', '.join(others)}" if others else "")]
    notes += fits[best[0]].notes(tensors)
    if left := list(dict.fromkeys(name.partition(".")[0] for name in fits[best[0]].rest(tensors).values())):
        notes.append(f"in the file and not used: {', '.join(left[:8])}")
    return fits[best[0]], notes


def _places(network: nn.Module, tensors: Tensors, *, grey: bool) -> list[_Found]:
    """Wherever a name of ours, or what one of the namings makes of it, ends one of the file's."""
    found = []
    cuts = [(key, cut) for key in tensors for cut in [0, *(dot.end() for dot in re.finditer(r"\.", key))]]
    for naming in namings(network):
        names = {naming.theirs(name) for name in network.state_dict()}
        prefixes = dict.fromkeys(key[:cut] for key, cut in cuts if key[cut:] in names)
        found += [_Found(network, prefix, naming, grey) for prefix in prefixes]
    return found


def _under_other_names(network: nn.Module, tensors: Tensors) -> str:
    """Where the file has our shapes in our order: what to do about the names; "" otherwise."""
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTER)}
    for prefix in sorted({key[: dot.end()] for key in tensors for dot in re.finditer(r"\.", key)} | {""}, key=len):
        below = {key: value for key, value in tensors.items() if key.startswith(prefix) and not key.endswith(COUNTER)}
        if first := same_order(own, below):
            ours = next(one for one, other in zip(own, below, strict=False) if other == first)
            return (
                f"; below {_said(prefix)} our shapes stand in our order under other names, {first!r} for {ours!r}: "
                "where it is the same network, save it under ours"
            )
    return ""


def _equal(one: Tensors, other: Tensors) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items() if not name.endswith(COUNTER))


def _said(prefix: str) -> str:
    return repr(prefix.rstrip(".")) if prefix else "the top level of the file"


def _is_below(prefix: str, chosen: str) -> bool:
    asked = chosen.strip(".")
    return f".{asked}." in f".{prefix}" if asked else not prefix


def _alike(theirs: Tensor | None, ours: Tensor) -> bool:
    if theirs is None:
        return False
    return theirs.shape == ours.shape and theirs.is_floating_point() == ours.is_floating_point()


def _is_grey(theirs: Tensor | None, ours: Tensor) -> bool:
    return theirs is not None and ours.ndim == theirs.ndim == 4 and (theirs.shape[1], ours.shape[1]) == (1, 3)


def _cast(theirs: Tensor | None, ours: Tensor) -> Tensor:
    return theirs.to(ours.dtype) if theirs is not None and _alike(theirs, ours) else ours


def _difference(key: str, theirs: Tensor | None, ours: Tensor, *, only: bool = False) -> str:
    if theirs is None:
        return f"no {key!r}, which is {tuple(ours.shape)} here: another backbone?"
    if theirs.shape == ours.shape:
        return f"{key!r} is {theirs.dtype} there and {ours.dtype} here"
    shapes = f"{key!r} is {tuple(theirs.shape)} there and {tuple(ours.shape)} here"
    if theirs.ndim == ours.ndim == 4 and ours.shape[1] == 3 and theirs.shape[1] != 3 and len(theirs) == len(ours):
        channels = f"{theirs.shape[1]} channel{'s' if theirs.shape[1] > 1 else ''}"
        way = ": `input: grey` beside `checkpoint` feeds it the luma" if theirs.shape[1] == 1 else ""
        return f"{shapes}: made for images of {channels}; ours have 3{way}"
    if key.endswith("patch_embed.proj.weight") and theirs.shape[:2] == ours.shape[:2]:
        return f"{shapes}: patches of {theirs.shape[-1]} px there and of {ours.shape[-1]} px here"
    stem = only and ours.ndim == 4 and theirs.shape[:2] == ours.shape[:2]
    why = "a stem for images of another size (up to 64 px it is 3x3)?" if stem else "another backbone?"
    return f"{shapes}: {why}"


def _other_stem(network: nn.Module, theirs: Tensor | None, *, only: bool) -> str:
    """Which backbone has the stem for large images at any size; "" where nothing else is the matter."""
    if not only or theirs is None or theirs.shape[1:] != (3, 7, 7) or not hasattr(network, "layer4"):
        return ""
    convolutions = sum(1 for name, _ in network.named_modules() if re.fullmatch(r"layer\d\.\d+\.conv\d", name))
    return f" `backbones: [timm/resnet{convolutions + 2}]` has that stem at any size"


def _is_behind(network: nn.Module, name: str) -> bool:
    """Whether a name that we lack is beside our network, or a head where we have none, and no layer inside.

    Inside would be another network: ResNet-34 has all the names and shapes of ResNet-18.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    order = {path: position for position, path in enumerate(modules)}
    parts = name.split(".")
    path = next((p for n in range(len(parts), 0, -1) if (p := ".".join(parts[:n])) in modules), None)
    last = max(order[own.rpartition(".")[0]] for own in network.state_dict())
    return path is None or (not modules[path].state_dict() and order[path] > last)


def _embedding(module: Embedding, tensors: Tensors, backbone: str) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict of our embedding from what stands beside the backbone, and notes. Raises ValueError."""
    for old, new, layers, group_major in LAYOUTS:
        before, found, after = backbone.rpartition(old)
        prefix = f"{before}{new}{after}"
        if not found or not any(key.startswith(prefix) for key in tensors):
            continue
        if not module.state_dict():
            return {}, [f"in the file and not used: {_said(prefix)}, as the encoder here has no embedding"]
        keys = {name: prefix + with_head(name, layers) for name in module.state_dict()}
        if more := [key for key in tensors if key.startswith(prefix) and key not in keys.values()]:
            raise ValueError(f"{more[0]!r} is there, and no such part of the embedding here")
        values = _embedding_values(module, tensors, keys, group_major=group_major)
        return values, [f"embedding read from {_said(prefix)}"]
    if module.state_dict():
        size = f"{module.out_dim} numbers" if module.groups is None else f"L*V = {module.out_dim}"
        raise ValueError(f"the encoder has an embedding ({size}), the file none beside its backbone")
    return {}, []


def _embedding_values(
    module: Embedding, tensors: Tensors, keys: Mapping[str, str], *, group_major: bool
) -> dict[str, Tensor]:
    groups = module.groups
    if groups is not None and (weight := tensors.get(keys.get("linear.weight", ""))) is not None:
        size = f"L*V = {groups[0]}*{groups[1]} = {module.out_dim}"
        if weight.ndim == 2 and len(weight) != module.out_dim:
            raise ValueError(f"the embedding there has L*V = {len(weight)} numbers, the one here {size}")
    values = {}
    for name, ours in module.state_dict().items():
        theirs = tensors.get(keys[name])
        if not name.endswith(COUNTER) and not _alike(theirs, ours):
            raise ValueError(_difference(keys[name], theirs, ours))
        value = _cast(theirs, ours)
        if group_major and groups is not None and value.ndim and len(value) == module.out_dim:
            # the rows, or the numbers of a vector
            value = sem.from_group_major(value.movedim(0, -1), L=groups[0], V=groups[1]).movedim(-1, 0)
        values[name] = value
    return values
