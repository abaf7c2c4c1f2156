"""The scale of a representation: parity with numpy, large means, collapsed features, several devices."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sem_bench.base.companions import together
from sem_bench.evaluations.measures.features import Representation

ROWS = 2500  # three chunks


def plain() -> Representation:
    return Representation("h", None, Tensor.float)


def features(*, mean: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return 3 * torch.randn(ROWS, 7, generator=random) + mean


def expected(x: Tensor) -> float:
    wide = x.double().numpy()
    return float(1 / np.sqrt(((wide - wide.mean(0)) ** 2).sum(1).mean()))


@pytest.mark.parametrize("mean", [0.0, 5.0, 3e4])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_the_scale_is_that_of_the_centred_rms_norm(mean: float, precision: torch.dtype) -> None:
    h = features(mean=mean).to(precision)
    assert plain().scale(h) == pytest.approx(expected(h), rel=1e-6)


def test_what_all_rows_share_does_not_count() -> None:
    h = features()
    scale = plain().scale(h)
    assert plain().scale(h + 8) == pytest.approx(scale, rel=1e-5)
    assert plain().length_scale(h + 8) < 0.6 * plain().length_scale(h) == pytest.approx(0.6 * scale, rel=1e-2)
    assert plain().scale(4 * h) == pytest.approx(scale / 4, rel=1e-6)


def test_features_that_are_all_alike_but_for_rounding_stay_as_they_are() -> None:
    alike = torch.full((ROWS, 7), 0.1)
    assert plain().scale(alike) == plain().scale(torch.zeros(3, 2)) == plain().scale(features()[:1]) == 1.0
    rounded = alike * (1 + 1e-7 * torch.randn(ROWS, 7, generator=torch.Generator().manual_seed(0)))
    assert len(rounded.unique()) > 1
    assert plain().scale(rounded) == 1.0


def scale_of_large_mean() -> float:
    return plain().scale(features(mean=5.0))


def test_devices_that_share_the_rows_have_one_scale() -> None:
    alone = scale_of_large_mean()
    with together(2, scale_of_large_mean):
        assert scale_of_large_mean() == pytest.approx(alone, rel=1e-12)
