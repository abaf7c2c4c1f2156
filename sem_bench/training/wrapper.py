"""What IP-IRM and MixUp have in common: another loss around a method, whose weights and hooks stay what they are."""

from collections.abc import Callable, Iterator

from torch import nn

from sem_bench.method import Batch, Method, Report


class Wrapper(Method):
    """Trains a method in another way. It has no parameters of its own."""

    def __init__(self, method: Method) -> None:
        super().__init__(method.encoder)
        self.method = method

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The method's, by their names there: a recipe names its parts so, and here there are no others."""
        return self.method.named_parameters(prefix, recurse, remove_duplicate)

    def before_epoch(self, epoch: int, everything: Callable[[], Iterator[Batch]], report: Report) -> None:
        """The method's."""
        self.method.before_epoch(epoch, everything, report)

    def after_batch(self) -> None:
        """The method's."""
        self.method.after_batch()

    def after_step(self, step: int, total: int) -> None:
        """The method's."""
        self.method.after_step(step, total)
