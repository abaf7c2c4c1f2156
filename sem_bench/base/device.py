"""Devices, and what to compute in on them."""

import torch

from sem_bench.base import world
from sem_bench.errors import UserError


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


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """What autocast may have narrowed, as float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def precision(device: torch.device) -> str:
    """What to compute in: "bf16" where the hardware multiplies bfloat16 faster than float32, else "fp32"."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"
