"""Devices, and what to compute in on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from sem_bench.base import world
from sem_bench.errors import UserError

N = TypeVar("N", bound=nn.Module)


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes a GPU where there is one, each of several processes its own.

    Raises UserError for "cuda" without one.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here")
    if world.size() > 1 and name == "cuda":
        number = 0 if torch.cuda.device_count() == 1 else world.rank()  # each sees its own alone, or all
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    return torch.device(name)


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """From the CPU to a device; from pinned memory, so that the host need not wait for a GPU."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def placed(method: N, device: torch.device) -> N:
    """A method on its device, channels-last, but for its single numbers (buffers of no dimension).

    They stay on the CPU: a step asks for them, such as for the share of the training that is over, and would wait for a
    GPU. Those of normalisation layers, which nobody asks for, go along.
    """
    host = [module for module in method.modules() if not isinstance(module, _NormBase)]
    numbers = [(module, name, b) for module in host for name, b in module.named_buffers(recurse=False) if b.ndim == 0]
    method = method.to(device).to(memory_format=torch.channels_last)
    for module, name, number in numbers:
        module._buffers[name] = number
    return method


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """What autocast may have narrowed, as float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def rough_products(device: torch.device) -> Iterator[None]:
    """Within, float32 products may round their factors to bfloat16 where that is faster; sums stay in float32.

    On a GPU factors are rounded to TF32.
    """
    on_gpu = device.type == "cuda"
    matmul: Any = torch.backends.cuda.matmul if on_gpu else torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    if precision(device) == "bf16":
        matmul.fp32_precision = "tf32" if on_gpu else "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


_wanted = "auto"  # what the user says, of this process


@contextmanager
def on_one_core(device: torch.device) -> Iterator[None]:
    """Within, operations on a CPU take one thread: small ones wait longer for a second one than it helps."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def compute_in(wanted: str) -> None:
    """Set what `precision` says of every device: "fp32", "bf16", or "auto", what suits the device."""
    global _wanted
    _wanted = wanted


def precision(device: torch.device) -> str:
    """What to compute in: what the user says, else "bf16" where the hardware multiplies it faster than float32.

    A processor without such products computes in bfloat16 all the same, with the same roundings, but slower.
    """
    if _wanted != "auto":
        return _wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"
