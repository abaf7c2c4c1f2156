"""What a user's code may change of the process, and what is put back after it, so that no job sees what another left.

Not put back: what code adds to `sys.path` and imported modules, which it may need later, threads that go on, and what
is written into objects of others.
"""

import gc
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from copy import copy
from functools import partial
from typing import Any, NamedTuple, TextIO, cast


class _Part(NamedTuple):
    """A part of a process's state: what reads it, and what sets it."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], object]
    drawn: bool = False  # random numbers: to draw them is no change worth a word


class _Lent:
    """A stream that code may write to, and may not close."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Who closes it has said all."""
        self._stream.flush()


@contextmanager
def kept() -> Iterator[list[str]]:
    """Within, code may do what it likes; afterwards all is as it was. What it prints goes to standard error.

    Gives a list that says in the end what had to be put back.
    """
    changed: list[str] = []
    stream = cast(TextIO, _Lent(sys.stderr))
    with warnings.catch_warnings(), redirect_stdout(stream), redirect_stderr(stream):
        before = [(part, part.get()) for part in _parts()]
        try:
            yield changed
        finally:
            for part, value in before:
                with suppress(Exception):  # the others are put back, whatever it has done to this one
                    if part.drawn or part.get() != value:
                        part.set(value)
                        changed += [part.name] if not part.drawn and part.name not in changed else []


def _parts() -> list[_Part]:
    """What is put back, in this order. The default dtype is first: what is looked at later may make a tensor."""
    parts = [*_of_python(), *_of_the_system()]
    if "numpy" in sys.modules:
        parts += _of_numpy()
    return [*_of_torch(), *parts] if "torch" in sys.modules else parts


def _attribute(of: Any, name: str, said: str) -> _Part:
    return _Part(said, partial(getattr, of, name), partial(setattr, of, name))


def _of_python() -> Iterator[_Part]:
    root = logging.getLogger()
    yield _Part("the random numbers of Python", random.getstate, random.setstate, drawn=True)
    for name in ("excepthook", "unraisablehook", "stdin", "stderr"):
        yield _attribute(sys, name, f"sys.{name}")
    yield _attribute(threading, "excepthook", "threading.excepthook")
    yield from map(_entries, ("path", "meta_path", "path_hooks"))
    yield _Part("the limit of recursions", sys.getrecursionlimit, sys.setrecursionlimit)
    yield _Part("the garbage collector", gc.isenabled, lambda on: gc.enable() if on else gc.disable())
    yield _attribute(root, "level", "the level of the log")
    yield _attribute(root.manager, "disable", "the level of the log")
    yield _Part("the handlers of the log", lambda: list(root.handlers), partial(setattr, root, "handlers"))
    yield _names("random", random)


def _entries(name: str) -> _Part:
    """What a list of `sys` holds for imports; new ones stay."""
    known = list(getattr(sys, name))

    def look() -> list[Any]:
        return [one for one in known if one in getattr(sys, name)]

    def put_back(before: list[Any]) -> None:
        new = [one for one in getattr(sys, name) if one not in known]
        setattr(sys, name, [*new, *before])

    return _Part(f"sys.{name}", look, put_back)


def _of_the_system() -> Iterator[_Part]:
    yield _Part("the working folder", os.getcwd, os.chdir)
    yield _Part("the environment", _environment, _set_environment)
    yield _Part("the mask of new files", _umask, os.umask)
    for name in ("FSIZE", "NOFILE", "AS", "DATA", "STACK", "CPU"):
        kind = getattr(resource, f"RLIMIT_{name}")
        yield _Part("limits of the process", partial(resource.getrlimit, kind), partial(resource.setrlimit, kind))
    yield _Part("blocked signals", partial(signal.pthread_sigmask, signal.SIG_BLOCK, ()), _block)
    if hasattr(os, "sched_getaffinity"):
        yield _Part("the CPU cores", partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0))
    if threading.current_thread() is threading.main_thread():
        yield _Part("signal handlers", _handlers, _set_handlers)
        yield _Part("an alarm", _alarm, partial(signal.setitimer, signal.ITIMER_REAL))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _block(signals: set[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def _alarm() -> float:
    """Seconds to a signal that would end the process; 0.0: none is set."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


def _environment() -> dict[str, str]:
    """Without what torch's own compiler notes there when it is imported."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")}


def _set_environment(environment: dict[str, str]) -> None:
    for name in _environment().keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) != handler:  # None: not one of Python's
            signal.signal(number, handler)


def _names(said: str, *modules: Any) -> _Part:
    """The functions and classes of modules, where code puts others in their place; new names stay."""

    known = [(module, name) for module in modules for name, value in vars(module).items() if callable(value)]

    def look() -> list[Any]:
        return [_unwrapped(vars(module).get(name)) for module, name in known]

    def put_back(before: list[Any]) -> None:
        for (module, name), value in zip(known, before, strict=True):
            setattr(module, name, value)

    return _Part(f"functions of {said}", look, put_back)


_TRAINERS = ("torch.nn.modules", "torch.nn.parameter", "torch.optim")  # modules whose classes all training uses


def _classes_of(modules: list[Any]) -> _Part:
    """What torch's classes define, be it replaced, added or taken away."""
    import torch

    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    known = [torch.Tensor, *(one for one in found if one.__module__.startswith(_TRAINERS))]
    for one in known:  # torch does so itself when it makes the first of a class
        step: Any = vars(one).get("step")
        if issubclass(one, torch.optim.Optimizer) and step is not None and not hasattr(step, "hooked"):
            hooked: Any = torch.optim.Optimizer.profile_hook_step(step)
            hooked.hooked = True
            setattr(one, "step", hooked)  # noqa: B010 - no type checker takes it for the method

    def look() -> dict[tuple[type, str], Any]:
        return {(one, name): value for one in known for name, value in vars(one).items() if _defined(name, value)}

    def put_back(before: dict[tuple[type, str], Any]) -> None:
        now = look()
        for one, name in now.keys() - before.keys():
            delattr(one, name)
        for (one, name), value in before.items():
            if now.get((one, name)) is not value:
                setattr(one, name, value)

    return _Part("classes of torch", look, put_back)


def _defined(name: str, value: Any) -> bool:
    """Whether a class has it from its code, and not from Python, which notes things there as `__slotnames__`."""
    return callable(value) or isinstance(value, classmethod | staticmethod | property) or not name.startswith("_")


def _hooks(*modules: Any) -> _Part:
    """What torch calls at each step of all models and optimizers."""
    names = [(module, name) for module in modules for name in vars(module) if name.startswith("_global_")]

    def look() -> list[Any]:
        return [copy(vars(module)[name]) for module, name in names]

    def put_back(before: list[Any]) -> None:
        for (module, name), value in zip(names, before, strict=True):
            there = vars(module)[name]
            if isinstance(there, dict):  # others hold the same one
                there.clear()
                there.update(value)
            else:
                setattr(module, name, value)

    return _Part("hooks of torch", look, put_back)


def _unwrapped(value: Any) -> Any:
    """What torch's compiler, which is imported late, wraps when it is; its globals tell it from a user's wrapper."""
    by_torch = getattr(value, "__globals__", {}).get("__name__") == "torch._compile"
    return getattr(value, "__wrapped__", value) if by_torch else value


def _of_numpy() -> Iterator[_Part]:
    import numpy as np

    yield _Part("the random numbers of numpy", np.random.get_state, np.random.set_state, drawn=True)
    yield _Part("numpy's handling of errors", np.geterr, lambda how: np.seterr(**how))
    yield _names("numpy", np, np.random)


def _of_torch() -> Iterator[_Part]:
    import torch

    yield _Part("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype)
    trainers = [module for name, module in sys.modules.items() if name.startswith(_TRAINERS)]
    yield _names("torch", torch, torch.nn, torch.nn.functional, torch.nn.init, torch.random, *trainers)
    yield _classes_of(trainers)
    yield _hooks(*(sys.modules[name] for name in ("torch.nn.modules.module", "torch.optim.optimizer")))
    yield _Part("torch's default device", torch.get_default_device, _set_default_device)
    yield _Part("torch's random numbers", torch.get_rng_state, torch.set_rng_state, drawn=True)
    yield _Part("torch's threads", torch.get_num_threads, torch.set_num_threads)
    yield _Part("whether torch keeps gradients", torch.is_grad_enabled, torch.set_grad_enabled)
    yield _Part("torch's check for anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly)
    yield _Part(
        "torch's deterministic algorithms", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    )
    yield _Part("torch's precision of products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield _Part("torch's denormal numbers", _flushes_denormals, torch.set_flush_denormal)
    for device in ("cpu", "cuda"):
        enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
        yield _Part("torch's autocast", partial(enabled, device), partial(torch.set_autocast_enabled, device))
        yield _Part("torch's autocast", partial(dtype, device), partial(torch.set_autocast_dtype, device))
    for name, of in _switches():
        if hasattr(of, name):
            yield _attribute(of, name, "switches of torch.backends")
    cuda: Any = torch.backends.cuda
    for kind in ("flash", "mem_efficient", "math", "cudnn"):
        yield _Part(
            "switches of torch.backends", getattr(cuda, f"{kind}_sdp_enabled"), getattr(cuda, f"enable_{kind}_sdp")
        )
    if torch.cuda.is_initialized():
        yield _Part("torch's random numbers", torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all, drawn=True)
        yield _Part("the GPU", torch.cuda.current_device, torch.cuda.set_device)


def _switches() -> Iterator[tuple[str, Any]]:
    import torch

    backends: Any = torch.backends
    for name in ("enabled", "deterministic", "allow_tf32"):
        yield name, backends.mkldnn
    for name in ("enabled", "deterministic", "allow_tf32", "benchmark", "benchmark_limit"):
        yield name, backends.cudnn
    for name in ("allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"):
        yield name, backends.cuda.matmul
    products = (backends.mkldnn, backends.cudnn, backends.cuda)
    for of in (
        backends,
        *products,
        *(getattr(one, name, None) for one in products for name in ("matmul", "conv", "rnn")),
    ):
        yield "fp32_precision", of


def _set_default_device(device: Any) -> None:
    import torch

    torch.set_default_device(None)
    if torch.get_default_device() != device:
        torch.set_default_device(device)


def _flushes_denormals() -> bool:
    import torch

    return float(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1) == 0.0
