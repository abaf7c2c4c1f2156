"""The processes that compute together, one a device: which of them this is, and what passes among them.

In a training each has its rows of the global batch, computes the same loss from the rows of all, and averages its
gradients with the others'. What flows back into a process's own rows is the sum over all processes, so `size` times the
loss's gradient; the average is then the gradient, and parameters that only the loss uses, alike in all, keep theirs. An
evaluation parts its rows and sums. Alone, a process is the world.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import FileStore  # type: ignore[attr-defined]


class PeerError(Exception):
    """Another process of the world did not answer: it is dead, or too late."""


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0. Process 0 writes files and tells of progress."""
    return dist.get_rank() if dist.is_initialized() else 0


class Seat(NamedTuple):
    """Which process this is to be, and how it meets the others."""

    number: int
    size: int  # how many there are
    meeting: Path  # a file
    patience: float  # seconds that one waits for another
    on_gpu: bool


@contextmanager
def joined(seat: Seat) -> Iterator[None]:
    """Within, this process has its seat. Where another does not answer in time: PeerError."""
    hook = sys.excepthook  # torch puts one of its own around it
    backend = "cpu:gloo,cuda:nccl" if seat.on_gpu else "gloo"
    with _answered():
        store = FileStore(str(seat.meeting), seat.size)
        patience = timedelta(seconds=seat.patience)
        dist.init_process_group(backend, store=store, rank=seat.number, world_size=seat.size, timeout=patience)
    try:
        yield
    except BaseException:  # the others may be in the middle of a message, and NCCL would wait for its end
        if seat.on_gpu:
            dist.distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()
        raise
    else:
        dist.destroy_process_group()
    finally:
        sys.excepthook = hook


def share(rows: int) -> slice:
    """This process's part of so many rows."""
    return slice(rank() * rows // size(), (rank() + 1) * rows // size())


def gather(rows: Tensor) -> Tensor:
    """The rows of the global batch (B, ...) from this process's own (B / size, ...), with their gradient."""
    if size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


@torch.no_grad()
def total(x: Tensor) -> Tensor:
    """The sum of all processes' tensors."""
    return _reduced(x, dist.ReduceOp.SUM)


@torch.no_grad()
def largest(x: Tensor) -> Tensor:
    """The largest of each number in all processes' tensors."""
    return _reduced(x, dist.ReduceOp.MAX)


def meet() -> None:
    """Wait for all others."""
    total(torch.zeros(()))


def check_alike(what: str, *numbers: float) -> None:
    """Raise RuntimeError where the processes do not have the same numbers."""
    own = torch.tensor(numbers, dtype=torch.float64).nan_to_num()
    if not torch.equal(largest(own), -largest(-own)):
        raise RuntimeError(f"the devices of this job have different {what}")


def as_one(draw: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """What `draw` makes of this process's rows, with the random numbers that they have in the global batch.

    `draw` draws them from torch's global generator, for the rows of the tensor it gets, and treats rows one by one.
    """
    if size() == 1:
        return draw(rows)
    before = rows.new_zeros(rank() * len(rows), *rows.shape[1:])
    after = rows.new_zeros((size() - rank() - 1) * len(rows), *rows.shape[1:])
    return draw(torch.cat([before, rows, after]))[len(before) : len(before) + len(rows)]


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Put the mean over all processes into each of the tensors, such as gradients."""
    if size() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for alike in by_type.values():  # in one message: each costs a round of waiting
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])
        _all_reduce(flat)
        flat /= size()
        for tensor, part in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(part.view(tensor.shape))


@torch.no_grad()
def from_first(tensor: Tensor) -> None:
    """Put what process 0 has into the tensor of all."""
    if size() > 1:
        with _answered():
            dist.broadcast(tensor, 0)


def as_first(said: bool) -> bool:
    """What process 0 says."""
    word = torch.tensor(int(said))
    from_first(word)
    return bool(word)


def dealt(own: Iterable[Tensor], rows: Sequence[int]) -> Iterator[Tensor]:
    """Parts (n, ...) of something long, which the processes compute in turn: in process 0 all of them in order, in
    the others none. `own` are those of this process; `rows` has the n of each part of all.
    """
    parts = iter(own)
    for number, length in enumerate(rows):
        owner = number % size()
        if owner == rank():
            part = next(parts)
            if owner > 0:
                with _answered():
                    dist.send(part.cpu().contiguous(), 0)
            else:
                yield part
        elif rank() == 0:
            received = torch.empty(length, *part.shape[1:], dtype=part.dtype)
            with _answered():
                dist.recv(received, owner)
            yield received


def _reduced(x: Tensor, how: "dist.ReduceOp.RedOpType") -> Tensor:
    if size() == 1:
        return x
    found = x.clone()
    with _answered():
        dist.all_reduce(found, how)
    return found


def _all_reduce(tensor: Tensor) -> None:
    with _answered():
        dist.all_reduce(tensor)


@contextmanager
def _answered() -> Iterator[None]:
    """Errors of the connection, such as that of a process that is gone, as PeerError."""
    try:
        yield
    except RuntimeError as error:  # of which torch's own are kinds
        raise PeerError(str(error)) from error


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty(rows.shape, dtype=rows.dtype, device=rows.device) for _ in range(size())]
        with _answered():
            dist.all_gather(parts, rows.contiguous())
        ctx.own = slice(rank() * len(rows), (rank() + 1) * len(rows))
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        _all_reduce(summed)
        return summed[ctx.own]
