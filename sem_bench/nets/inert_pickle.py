"""A pickle read without running it: tensors and plain containers as they are, an inert stand-in for the rest.

`torch.load(weights_only=True)` refuses a whole file for one number of numpy beside the weights. Here such an object
becomes a `StandIn`: its class is neither imported nor called. What a pickle can name at all is the table `_KNOWN`, and
nothing but that table and stand-ins is ever called.
"""

import io
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import torch
from torch import Tensor

MAX_NAMES = 1000  # different classes in one pickle


class StandIn:
    """In the place of an object whose class is not loaded: the class's name, the object's attributes and its entries.

    Entries are those of a mapping of a class of its own, as of a settings library.
    """

    of = ""
    dump_patches = False  # torch asks this of the classes in its oldest files

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}
        self.entries: dict[Any, Any] = {}


def load(path: Path) -> tuple[Any, list[str]]:
    """What torch wrote into a file, tensors on the CPU; and the names of the classes that were not loaded.

    Raises anything for a damaged file, pickle.UnpicklingError for one that asks for more than data.
    """
    names: list[str] = []

    class Unpickler(_Unpickler):
        met = names

    class Pickle:
        """What torch takes for the module pickle."""

        __name__ = "inert"

        @staticmethod
        def load(file: Any, **_: Any) -> Any:
            return Unpickler(file).load()

    Pickle.Unpickler = Unpickler  # type: ignore[attr-defined]
    if tarfile.is_tarfile(path):  # torch before 0.2: its reader unpacks into a folder
        raise pickle.UnpicklingError("a file of torch 0.1")
    scripted = _without_code(path)
    tree = torch.load(scripted or path, map_location="cpu", weights_only=False, pickle_module=Pickle)
    return (unwrapped(tree) if scripted else tree), ([] if scripted else list(dict.fromkeys(names)))


def _without_code(path: Path) -> io.BytesIO | None:
    """A TorchScript archive as an archive of tensors: torch would run it as a program otherwise. None: it is none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not any(PurePosixPath(name).name == "constants.pkl" for name in names):
            return None
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as tensors:
            for name in names:
                parts = PurePosixPath(name).parts[1:]
                if parts and (parts[0] in ("data", "data.pkl", "version", "byteorder")):
                    tensors.writestr(name, archive.read(name))
    copy.seek(0)
    return copy


def objects(tree: Any, above: str = "", depth: int = 6) -> Iterator[tuple[str, StandIn]]:
    """The stand-ins in a tree of mappings and their dotted names."""
    if isinstance(tree, StandIn):
        yield above, tree
    mapping = tree.entries if isinstance(tree, StandIn) else tree
    if isinstance(mapping, dict) and depth:
        for key, value in mapping.items():
            yield from objects(value, f"{above}.{key}" if above else str(key), depth - 1)


def unwrapped(tree: Any, depth: int = 40) -> Any:
    """The tree with the attributes of each stand-in in its place: of a scripted module its weights and children."""
    if isinstance(tree, StandIn):
        tree = tree.attributes
    if isinstance(tree, dict) and depth:
        return {key: unwrapped(value, depth - 1) for key, value in tree.items()}
    return tree if isinstance(tree, Tensor) else None


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """torch._utils._rebuild_tensor and its later forms, without hooks and metadata."""
    made: Tensor = torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))
    return made


def _first(data: Any = None, *_: Any) -> Any:
    """Of a parameter: its tensor."""
    return data if isinstance(data, Tensor) else None


def _with_type(build: Any = None, _: Any = None, arguments: Any = (), *__: Any) -> Any:
    """A tensor with attributes of its own: the tensor."""
    return build(*arguments) if build in _CALLED else None


def _mapping(*_: Any) -> OrderedDict[Any, Any]:
    """An empty mapping, filled by the pickle: a defaultdict's factory is left out."""
    return OrderedDict()


def _list(items: Any = (), *_: Any) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else []


_KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_type,
    ("torch.nn.parameter", "Parameter"): _first,
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("builtins", "dict"): _mapping,
    ("__builtin__", "dict"): _mapping,
    ("collections", "deque"): _list,
    ("builtins", "list"): _list,
    ("torch", "Size"): _list,
}
_CALLED = frozenset(_KNOWN.values())
_STORAGE = {("torch", "UntypedStorage"), ("torch.storage", "UntypedStorage")}  # named, never called
_OLD: Any = pickle._Unpickler  # in Python: each opcode is a method that can be replaced


class _Unpickler(_OLD):  # type: ignore[misc]
    """Opcodes that would call or change an object do so to plain containers and stand-ins only."""

    met: list[str]  # the names of the classes that were not loaded

    def __init__(self, file: Any, **_: Any) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")

    def find_class(self, module: str, name: str) -> Any:
        """A function of the table, or a new stand-in's class. Nothing is imported."""
        if (known := _KNOWN.get((module, name))) is not None:
            return known
        if (module, name) in _STORAGE:
            return torch.UntypedStorage
        if len(self.met) >= MAX_NAMES:
            raise pickle.UnpicklingError("too many classes")
        self.met.append(f"{module}.{name}")
        return type("StandIn", (StandIn,), {"of": f"{module}.{name}"})

    def get_extension(self, code: int) -> None:
        """The registry of this process is not a file's business."""
        raise pickle.UnpicklingError(f"extension {code}")

    def _made(self, build: Any, arguments: Any) -> Any:
        if isinstance(build, type) and issubclass(build, StandIn):
            return build()
        if any(build is known for known in _CALLED) and isinstance(arguments, tuple):
            return build(*arguments)
        raise pickle.UnpicklingError("calls what is no class")

    def load_binpersid(self) -> None:
        """The numbers of a tensor. Of a module in torch's oldest files: its class."""
        asked = self.stack[-1]
        if isinstance(asked, tuple) and len(asked) > 1 and asked[0] in ("module", b"module"):
            self.stack[-1] = asked[1]
        else:
            super().load_binpersid()

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def _instantiate(self, build: Any, arguments: Any) -> None:
        self.append(self._made(build, tuple(arguments)))

    def load_build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                if isinstance(part, dict):
                    self.stack[-1].attributes.update(part)

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def load_additems(self) -> None:
        items = self.pop_mark()
        if isinstance(self.stack[-1], set):
            self.stack[-1].update(items)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list[Any]) -> None:
        into = self.stack[-1].entries if isinstance(self.stack[-1], StandIn) else self.stack[-1]
        if isinstance(into, dict):
            into.update(zip(items[::2], items[1::2], strict=True))

    dispatch: ClassVar[dict[int, Any]] = dict(_OLD.dispatch)
    for _code, _method in (
        (pickle.BINPERSID, load_binpersid),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
    ):
        dispatch[_code[0]] = _method
