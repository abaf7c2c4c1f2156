"""Supervised training with the same encoder, data and budget: a ceiling, and a check that the data can be learned."""

from torch import Tensor, nn
from torch.nn import functional as F

from sem_bench.encoder import Encoder
from sem_bench.method import Batch, Method


class Supervised(Method):
    """A linear classifier on the encoder, cross-entropy on one view."""

    def __init__(self, encoder: Encoder, *, classes: int) -> None:
        super().__init__(encoder)
        self.classifier = nn.Linear(encoder.out_dim, classes)

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Logits (B, classes) and labels (B,)."""
        assert batch.labels is not None, "the card says `labels: true`"
        return self.classifier(self.encoder(batch.views[0])), batch.labels

    def loss(self, *outputs: Tensor) -> Tensor:
        """Cross-entropy."""
        logits, labels = outputs
        return F.cross_entropy(logits, labels.long())
