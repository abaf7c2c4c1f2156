"""The contract of backbones: images (B, 3, H, W) -> features h (B, out_dim)."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Any network that ends in a feature vector of `out_dim` numbers."""

    def __init__(self, network: nn.Module, out_dim: int) -> None:
        super().__init__()
        self.network = network
        self.out_dim = out_dim

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out_dim)."""
        h: Tensor = self.network(images)
        return h
