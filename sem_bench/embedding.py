"""The contract of embeddings: from backbone features h (B, d) to what the method's heads see (B, out_dim)."""

from torch import Tensor, nn


class Embedding(nn.Module):
    """Stands between the backbone and the heads.

    A subclass is built as `Class(in_dim, **parameters)`, with `tau` and `tau_target` where its card says that it has a
    temperature. It sets `out_dim`, and says with the other attributes what evaluations may ask of it.
    """

    out_dim: int
    representation: str = "h"  # what tables call its output; from its card. "h": it is the backbone's feature
    temperature: float | None = None  # in training; None: there is none, and none is searched
    target_temperature: float | None = None  # of momentum branches and second views
    groups: tuple[int, int] | None = None  # (L, V) where the output is L probability vectors of V numbers, as (B, V*L)

    def raw(self, h: Tensor) -> Tensor:
        """z (B, n): what stands before the nonlinearity; the output itself where there is none."""
        z: Tensor = self(h)
        return z

    def log_probabilities(self, z: Tensor, temperature: float) -> Tensor:
        """log p (B, V, L) of the probability vectors that z (B, V, L) of `raw` becomes: where there are groups.

        Those of a softmax, as in SEM; an embedding with other vectors says its own, finite also where p is 0.
        """
        return (z.float() / temperature).log_softmax(1)

    def forward(self, h: Tensor, temperature: float | None = None) -> Tensor:
        """h (B, d) -> (B, out_dim), at `temperature` or else at that of training."""
        raise NotImplementedError
