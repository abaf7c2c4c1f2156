"""One optimiser step: views, forward, loss, backward.

Of several processes, each does the forward and backward of its own rows; the loss is that of all rows, in each.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sem_bench.backbone import Backbone
from sem_bench.base import world
from sem_bench.base.device import at_least_float32, precision
from sem_bench.base.randomness import derived_seed
from sem_bench.method import Method
from sem_bench.training import learning_rates, parameter_groups
from sem_bench.training.checkpoint import TrainingState
from sem_bench.training.job import PretrainJob
from sem_bench.training.views import Views
from sem_bench.training.wrapper import Wrapper


@torch.no_grad()
def strides_over_points(backbone: Backbone, image_size: int) -> bool:
    """Whether a convolution with a stride sees maps of 1 x 1: images too small for the network.

    torch (2.15) leaves memory it never wrote in the gradient of such a convolution in bfloat16 on a CPU.
    """
    seen: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        seen.append(max(module.stride) > 1 and inputs[0].shape[-2:] == (1, 1))

    copied = copy.deepcopy(backbone).eval()
    for module in copied.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(look)
    copied(torch.zeros(1, 3, image_size, image_size))
    return any(seen)


def _tensors(outputs: object, method: Method) -> Sequence[Tensor]:
    """What forward gave. Raises TypeError where these are no tensors in a tuple."""
    if not isinstance(outputs, tuple | list):
        raise TypeError(f"{_name(method)}.forward gives {_kind(outputs)}, not a tuple of tensors")
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(f"{_name(method)}.forward gives {_kind(output)} among its outputs, not tensors alone")
    return outputs


def _name(method: Method) -> str:
    while isinstance(method, Wrapper):
        method = method.method
    return type(method).__name__


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _of_all_processes(outputs: Sequence[Tensor], *, rows: int) -> list[Tensor]:
    """The outputs for the global batch. Raises ValueError for one that has not a row for each image."""
    for output in outputs if world.size() > 1 else ():
        if output.shape[:1] != (rows,):
            text = f"forward gives {tuple(output.shape)} for {rows} images; on several devices it must give {rows} rows"
            raise ValueError(text)
    return [world.gather(at_least_float32(output)) for output in outputs]


@dataclass
class Step:
    """One optimiser step."""

    job: PretrainJob
    state: TrainingState
    views: Views
    device: torch.device

    def __post_init__(self) -> None:
        sizes = {view.size or self.job.data.image_size for view in self.job.training.views}
        backbone = self.state.method.encoder.backbone
        tiny = self.device.type == "cpu" and any(strides_over_points(backbone, size) for size in sizes)
        self.bf16 = precision(self.device) == "bf16" and not tiny
        self.steps_per_epoch = self.views.steps_per_epoch

    def __call__(self) -> Tensor:
        """Do it; returns the losses of its batches (accumulate,), on the device: the host waits for nothing."""
        state, training = self.state, self.job.training
        learning_rates.set_lr(state.optimizer, training, step=state.step, steps_per_epoch=self.steps_per_epoch)
        torch.manual_seed(derived_seed(self.job.seed, "noise", state.step))  # for what a method or embedding draws
        state.optimizer.zero_grad(set_to_none=True)
        first = state.step * training.accumulate
        losses = [self._batch(number) for number in range(first, first + training.accumulate)]
        world.average(p.grad for p in state.method.parameters() if p.grad is not None)
        parameter_groups.limit_gradient(state.method, training)
        state.optimizer.step()
        state.method.after_step(state.step, training.epochs * self.steps_per_epoch)
        return torch.stack(losses)

    def _batch(self, number: int) -> Tensor:
        """Add the gradient of a batch; its loss."""
        state = self.state
        began = time.perf_counter()
        batch = self.views.batch(number)
        state.augmenting += time.perf_counter() - began
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = _tensors(state.method(batch), state.method)
        loss = state.method.loss(*_of_all_processes(outputs, rows=len(batch.indices)))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TypeError(f"{_name(state.method)}.loss gives {_kind(loss)}, not a tensor of one number")
        (loss / self.job.training.accumulate).backward()
        state.method.after_batch()
        return loss.detach().reshape(())
