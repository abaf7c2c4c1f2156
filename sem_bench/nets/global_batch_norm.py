"""BatchNorm with the statistics of the global batch, where several processes train together."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sem_bench.base import world
from sem_bench.base.device import at_least_float32

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class GlobalBatchNorm(nn.SyncBatchNorm):
    """torch's on GPUs; the same on a CPU, which torch's refuses."""

    def forward(self, x: Tensor) -> Tensor:
        """(B / size, C, ...) -> the same."""
        if x.is_cuda or not self.training:
            normalised: Tensor = super().forward(x)
            return normalised
        wide = at_least_float32(x)
        dims, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        own = torch.stack(torch.var_mean(wide, dims, correction=0))
        variances, means = world.gather(own[None]).unbind(1)  # (size, C): in one message
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        count = world.size() * x.numel() // x.shape[1]
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normalised = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """As torch.nn.BatchNorm2d does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


class _ThenActivation(GlobalBatchNorm):
    """timm's BatchNormAct2d: dropout and the activation follow."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(B / size, C, H, W) -> the same."""
        activated: Tensor = self.act(self.drop(super().forward(x)))
        return activated


def make_global(network: nn.Module) -> None:
    """Make every BatchNorm in a network global; its parameters and buffers, and their names, stay.

    Raises ValueError for kinds of BatchNorm of others, which may do more.
    """
    made: dict[nn.Module, nn.Module] = {}  # one may stand in several places, under several names
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                made[child] = made.get(child) or _made_global(child)
                setattr(module, name, made[child])


def _made_global(norm: _BatchNorm) -> nn.Module:
    kind = type(norm)
    activated = kind.__name__ == "BatchNormAct2d" and kind.__module__.startswith("timm.")
    if kind not in KNOWN and not activated:
        raise ValueError(f"{kind.__name__} is a BatchNorm that is not known to work on several devices")
    own = _ThenActivation if activated else GlobalBatchNorm
    made = own(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    if activated:
        made.drop, made.act = norm.drop, norm.act
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    return made.train(norm.training)
