"""Batched augmentation against torchvision: each operation exactly, the random ones in distribution."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from sem_bench.data import augment
from sem_bench.data.augment import BRIGHTNESS, CONTRAST, HUE, SATURATION, BatchAugment, Parameters, normalise

JITTER = ("brightness", "contrast", "saturation", "hue")


@dataclass
class View:
    """Settings that leave an image of this size as it is."""

    size: int = 32
    crop_scale: tuple[float, float] = (1.0, 1.0)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0


FULL = View(
    crop_scale=(0.08, 1.0),
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.2,
    grey=0.2,
    blur=0.5,
    solarize=0.2,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more threads, and lose much where other processes share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def augmenter(view: View) -> BatchAugment:
    return BatchAugment(view, mean=(0, 0, 0), std=(1, 1, 1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int, height: int = 32, width: int = 32, *, levels: int = 256) -> Tensor:
    """Noise, every other image smoothed: sharp edges, and colours near the middle. Few levels bring ties."""
    images = torch.randint(0, levels, (count, 3, height, width), generator=seeded(1)) * (255 // (levels - 1))
    smooth = F.gaussian_blur(images[::2].float(), [5, 5])
    images[::2] = smooth.round().long()
    return images.to(torch.uint8)


def identity(count: int, height: int = 32, width: int = 32) -> Parameters:
    return augmenter(View()).sample(count, height=height, width=width, generator=seeded())


def draw(view: View, images: Tensor, seed: int = 0) -> tuple[Tensor, Parameters]:
    """Views in [0, 1] and the parameters that made them."""
    run = augmenter(view)
    height, width = images.shape[2:]
    parameters = run.sample(len(images), height=height, width=width, generator=seeded(seed))
    return run(images, parameters), parameters


def reference(image: Tensor, view: View, p: Parameters) -> Tensor:
    """The same augmentation of one image by torchvision; the parameters have one row."""
    top, left, height, width = p.box[0].tolist()
    mode = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}[view.interpolation]
    x = F.resized_crop(image / 255, top, left, height, width, [view.size] * 2, interpolation=mode, antialias=True)
    x = x.clamp(0, 1)
    if p.flip:
        x = F.horizontal_flip(x)
    if p.jitter:
        factors = [*p.factors[0].tolist(), p.hue.item()]
        for operation in p.order[0].tolist():
            x = getattr(F, f"adjust_{JITTER[operation]}")(x, factors[operation])
    if p.grey:
        x = F.rgb_to_grayscale(x, 3)
    if p.blur:
        kernel = [2 * augment.blur_radius(view.size) + 1] * 2
        x = F.gaussian_blur(x, kernel, [p.sigma.item()] * 2)
    result: Tensor = F.solarize(x, 0.5) if p.solarize else x
    return result


def assert_like_torchvision(views: Tensor, images: Tensor, view: View, p: Parameters) -> None:
    expected = [reference(image, view, p.rows(slice(i, i + 1))) for i, image in enumerate(images)]
    torch.testing.assert_close(views, torch.stack(expected), atol=2e-5, rtol=0)


# --- each operation, exactly --------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [12, 32, 80])
def test_crop_and_flip(size: int, interpolation: Literal["bilinear", "bicubic"]) -> None:
    view = View(size=size, crop_scale=(0.02, 1.0), interpolation=interpolation, flip=0.5)
    images = photos(48, 40, 50)
    views, parameters = draw(view, images)
    assert 0 < parameters.flip.sum() < 48
    assert_like_torchvision(views, images, view, parameters)


@pytest.mark.parametrize("operation", [BRIGHTNESS, CONTRAST, SATURATION, HUE])
@pytest.mark.parametrize("levels", [256, 3])
def test_one_jitter_operation(operation: int, levels: int) -> None:
    images = photos(32, levels=levels)
    amounts = torch.linspace(0, 2, 32)
    p = identity(32)._replace(jitter=torch.ones(32, dtype=torch.bool))
    if operation == HUE:
        p = p._replace(hue=(amounts - 1) / 2)
    else:
        p.factors[:, operation] = amounts
    views = augmenter(View())(images, p)
    assert (views - images / 255).abs().amax((1, 2, 3)).gt(0.02).sum() > 20
    assert_like_torchvision(views, images, View(), p)


def test_hue_by_hand() -> None:
    """A third of a turn leads from red to green; a half to the opposite colour; grey stays."""
    colours = torch.tensor([[255, 0, 0], [255, 0, 0], [255, 51, 0], [51, 102, 51], [99, 99, 99], [0, 0, 0]])
    expected = torch.tensor([[0, 255, 0], [0, 255, 255], [51, 0, 255], [102, 51, 102], [99, 99, 99], [0, 0, 0]])
    images = colours.to(torch.uint8)[:, :, None, None].expand(6, 3, 4, 4)
    shift = torch.tensor([1 / 3, 0.5, -1 / 3, 0.5, 0.25, -0.1])
    p = identity(6, 4, 4)._replace(jitter=torch.ones(6, dtype=torch.bool), hue=shift)
    views = augmenter(View(size=4))(images, p)
    torch.testing.assert_close(views[:, :, 0, 0], expected / 255, atol=1e-5, rtol=0)


def test_jitter_in_each_order() -> None:
    """All 24 orders of one image and one set of factors; the order matters, so each must be the right one."""
    orders = torch.tensor(list(permutations(range(4))))
    images = photos(2)[1:].expand(24, 3, 32, 32)
    p = identity(24)._replace(
        jitter=torch.ones(24, dtype=torch.bool),
        order=orders,
        factors=torch.tensor([1.6, 1.8, 1.9]).expand(24, 3),
        hue=torch.full((24,), 0.3),
    )
    views = augmenter(View())(images, p)
    distance = torch.cdist(views.flatten(1), views.flatten(1), p=torch.inf) + torch.eye(24)
    assert (distance > 1e-2).all()
    assert_like_torchvision(views, images, View(), p)


@pytest.mark.parametrize("size", [16, 32, 64, 96])
def test_blur(size: int) -> None:
    view = View(size=size, blur=1.0)
    images = photos(8, size, size)
    views, parameters = draw(view, images)
    assert_like_torchvision(views, images, view, parameters)


def test_blur_kernel_is_a_tenth_of_the_image() -> None:
    sizes = {8: 3, 32: 3, 64: 7, 96: 9, 224: 23}
    assert {size: 2 * augment.blur_radius(size) + 1 for size in sizes} == sizes


@pytest.mark.parametrize("setting", ["grey", "solarize"])
def test_grey_and_solarize(setting: str) -> None:
    change: dict[str, Any] = {setting: 0.5}
    view = replace(View(), **change)
    images = photos(32)
    views, parameters = draw(view, images)
    assert 0 < getattr(parameters, setting).sum() < 32
    assert_like_torchvision(views, images, view, parameters)


def test_everything_together() -> None:
    view = replace(FULL, size=40, interpolation="bicubic")
    images = photos(96, 48, 36)
    views, parameters = draw(view, images)
    assert_like_torchvision(views, images, view, parameters)


def test_normalise_by_hand() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = normalise(image, mean=(0.5, 0.1, 0.2), std=(0.25, 0.5, 0.1))
    torch.testing.assert_close(result.flatten(), torch.tensor([-2.0, 0.2, 8.0]))


# --- distributions ------------------------------------------------------------------------------------------


MEASURES: list[Callable[[Tensor], Any]] = [
    lambda box: (box[:, 2] * box[:, 3]).numpy(),
    lambda box: (box[:, 3] / box[:, 2]).numpy(),
    lambda box: (box[:, 0] + box[:, 2] / 2).numpy(),
    lambda box: (box[:, 1] + box[:, 3] / 2).numpy(),
    lambda box: box[:, 0].numpy(),
    lambda box: box[:, 1].numpy(),
]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (40, 60), (20, 80), (80, 20)])
def test_boxes_are_distributed_as_in_torchvision(height: int, width: int) -> None:
    """Wide and narrow images reach the central crop often."""
    scale, count = (0.2, 1.0), 3000
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    transform = v2.RandomResizedCrop(8, scale=scale)
    drawn = [transform.make_params([image]) for _ in range(count)]
    theirs = torch.tensor([[box[side] for side in ("top", "left", "height", "width")] for box in drawn])
    run = augmenter(View(size=8, crop_scale=scale))
    ours = run.sample(count, height=height, width=width, generator=seeded()).box
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= torch.tensor([height, width])).all()
    for measure in MEASURES:
        assert ks_2samp(measure(ours.double()), measure(theirs.double())).pvalue > 1e-3


def test_parameters_are_distributed_as_set() -> None:
    view = replace(FULL, brightness=0.4, contrast=1.5, saturation=0.0, hue=0.1, blur_sigma=(0.5, 1.5))
    count = 20_000
    p = augmenter(view).sample(count, height=32, width=32, generator=seeded())
    for values, low, high in [
        (p.factors[:, BRIGHTNESS], 0.6, 1.4),
        (p.factors[:, CONTRAST], 0.0, 2.5),
        (p.hue, -0.1, 0.1),
        (p.sigma, 0.5, 1.5),
    ]:
        assert kstest(values.numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3
    assert (p.factors[:, SATURATION] == 1).all()
    code = (p.order * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = code.bincount()
    assert (counts > 0).sum() == 24
    assert chisquare(counts[counts > 0].numpy()).pvalue > 1e-3
    for setting in ("flip", "jitter", "grey", "blur", "solarize"):
        share = getattr(view, setting)
        assert abs(getattr(p, setting).float().mean() - share) < 4 * (share * (1 - share) / count) ** 0.5
    # Independent of each other: a shared random number would tie two of them together.
    numbers = [
        p.flip,
        p.jitter,
        p.grey,
        p.blur,
        p.solarize,
        p.hue,
        p.sigma,
        *p.factors[:, :2].T,
        *p.order[:, :3].T,
    ]
    numbers += list(p.box.T)
    correlation = torch.corrcoef(torch.stack([values.double() for values in numbers]))
    correlation[9:12, 9:12] = correlation[12:, 12:] = 0  # places in one order, and sides of one box, do depend
    assert correlation.fill_diagonal_(0).abs().max() < 4.5 / count**0.5


@dataclass
class Moments:
    """Means over augmented copies of one image, with their variances."""

    mean: Tensor
    variance: Tensor
    count: int

    @staticmethod
    def of(views: Tensor) -> "Moments":
        histogram = torch.nn.functional.one_hot((views.clamp(0, 1) * 7.999).long(), 8).float().mean((2, 3))
        top, chroma = views.amax(1), views.amax(1) - views.amin(1) + 1e-4
        saturation = (chroma / (top + 1e-2)).mean((1, 2))
        hue = ((views[:, 1] - views[:, 0]) / chroma).mean((1, 2)), ((views[:, 2] - views[:, 0]) / chroma).mean((1, 2))
        grey = (chroma < 1e-3).float().mean((1, 2))
        spread = views.std((2, 3)) + 1e-3
        sharpness = views.diff(dim=3).square().mean((2, 3)) / spread.square()
        scalars = torch.stack([saturation, saturation**2, *hue, hue[0] ** 2, hue[1] ** 2, grey], dim=1)
        relative = spread / (views.mean((2, 3)) + 0.05)
        parts = [views, views.square(), histogram, scalars, relative, relative.square(), sharpness]
        numbers = torch.cat([part.flatten(1) for part in parts], dim=1).double()
        return Moments(numbers.mean(0), numbers.var(0), len(views))

    def distance(self, other: "Moments") -> float:
        """The largest difference in units of its standard error: of 600 numbers, by chance about 3."""
        error = (self.variance / self.count + other.variance / other.count).sqrt()
        return ((self.mean - other.mean).abs() / (error + 1e-4)).max().item()


WATCHED = replace(FULL, size=10, crop_scale=(0.3, 1.0), blur_sigma=(0.5, 2.0))


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """Coloured, lop-sided, with some texture: each operation shows."""
    down, across = torch.meshgrid(torch.linspace(0, 1, 14), torch.linspace(0, 1, 14), indexing="ij")
    image = torch.stack([0.2 + 0.6 * across, 0.4 * down * across + 0.2, 0.6 - 0.4 * down])
    texture = 0.15 * torch.rand(1, 14, 14, generator=seeded())
    return ((image + texture) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def theirs(photo: Tensor) -> Moments:
    """Copies by torchvision's own transforms, image by image."""
    w = WATCHED
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(w.size, scale=w.crop_scale, antialias=True),
            v2.RandomApply([v2.ColorJitter(w.brightness, w.contrast, w.saturation, w.hue)], p=w.jitter),
            v2.RandomGrayscale(w.grey),
            v2.RandomApply([v2.GaussianBlur(3, w.blur_sigma)], p=w.blur),
            v2.RandomSolarize(0.5, w.solarize),
            v2.RandomHorizontalFlip(w.flip),
        ]
    )
    torch.manual_seed(0)
    image = photo / 255
    return Moments.of(torch.stack([transform(image) for _ in range(4000)]))


def ours(view: View, photo: Tensor) -> Moments:
    return Moments.of(draw(view, photo.expand(8000, *photo.shape), seed=3)[0])


def test_copies_are_distributed_as_in_torchvision(photo: Tensor, theirs: Moments) -> None:
    assert ours(WATCHED, photo).distance(theirs) < 4


@pytest.mark.parametrize(
    "change",
    [
        {"crop_scale": (0.15, 1.0)},
        {"interpolation": "bicubic"},
        {"flip": 0.4},
        {"jitter": 0.6},
        {"brightness": 0.5},
        {"contrast": 0.8},
        {"saturation": 0.7},
        {"hue": 0.25},
        {"grey": 0.15},
        {"blur": 0.4},
        {"blur_sigma": (0.2, 1.0)},
        {"solarize": 0.15},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_comparison_sees_a_change(change: dict[str, Any], photo: Tensor, theirs: Moments) -> None:
    """The test above has power: it would notice a setting a little off."""
    assert ours(replace(WATCHED, **change), photo).distance(theirs) > 4


# --- contracts ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_views() -> None:
    images = photos(64)
    first, again, other = (draw(FULL, images, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("setting", ["flip", "jitter", "grey", "blur", "solarize"])
def test_a_probability_concerns_its_own_operation(setting: str) -> None:
    images = photos(64)
    before = draw(FULL, images)[1]
    for probability in (0.0, 1.0):
        change: dict[str, Any] = {setting: probability}
        after = draw(replace(FULL, **change), images)[1]
        assert (getattr(after, setting) == bool(probability)).all()
        for name in Parameters._fields:
            assert name == setting or torch.equal(getattr(before, name), getattr(after, name)), name


def test_an_image_does_not_depend_on_its_batch() -> None:
    images = photos(64)
    whole, parameters = draw(FULL, images)
    part, fewer = draw(FULL, images[:20])
    for name in Parameters._fields:
        assert torch.equal(getattr(parameters, name)[:20], getattr(fewer, name)), name
    torch.testing.assert_close(whole[:20], part, atol=1e-6, rtol=0)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = photos(50)
    whole = draw(FULL, images)[0]
    monkeypatch.setattr(augment, "CHUNK_CPU", 7 * 3 * 32 * 32)
    torch.testing.assert_close(draw(FULL, images)[0], whole, atol=1e-6, rtol=0)


def test_autocast_leaves_images_alone() -> None:
    images = photos(16)
    plain = draw(FULL, images)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(draw(FULL, images)[0], plain)


def test_grey_images_stay_grey() -> None:
    images = photos(64)[:, :1].expand(-1, 3, -1, -1)
    views, _ = draw(FULL, images)
    assert (views.amax(1) - views.amin(1)).max() < 1e-5


def test_input_is_not_changed() -> None:
    images = photos(16)
    kept = images.clone()
    draw(FULL, images)
    assert torch.equal(images, kept)


probabilities = st.sampled_from([0.0, 0.5, 1.0])
strengths = st.floats(0, 1.5)
views = st.builds(
    View,
    size=st.integers(4, 40),
    crop_scale=st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1)),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    flip=probabilities,
    jitter=probabilities,
    brightness=strengths,
    contrast=strengths,
    saturation=strengths,
    hue=st.floats(0, 0.5),
    grey=probabilities,
    blur=probabilities,
    blur_sigma=st.tuples(st.floats(0.05, 0.5), st.floats(0.5, 5)),
    solarize=probabilities,
)


@settings(max_examples=60, deadline=None)
@given(view=views, seed=st.integers(0, 2**32), height=st.integers(3, 40), width=st.integers(3, 40))
def test_views_are_images(view: View, seed: int, height: int, width: int) -> None:
    out, _ = draw(view, photos(6, height, width, levels=(256, 3)[seed % 2]), seed)
    assert out.shape == (6, 3, view.size, view.size)
    assert out.dtype == torch.float32
    assert out.is_contiguous()
    assert out.isfinite().all()
    assert out.min() >= -1e-5
    assert out.max() <= 1 + 1e-5


@settings(max_examples=20, deadline=None)
@given(size=st.integers(3, 40), seed=st.integers(0, 2**32), jitter=probabilities)
def test_identity(size: int, seed: int, jitter: float) -> None:
    """A whole square image at its own size, with jitter of no strength, is only normalised: to the bit."""
    images = photos(5, size, size)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    run = BatchAugment(View(size=size, jitter=jitter), mean=mean, std=std)
    out = run(images, run.sample(5, height=size, width=size, generator=seeded(seed)))
    assert torch.equal(out, normalise(images, mean=mean, std=std))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_cuda_gives_the_same_views_without_waiting() -> None:
    images = photos(64)
    expected, parameters = draw(FULL, images)
    on_device = images.cuda()
    run = augmenter(FULL)
    run(on_device, parameters)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = run(on_device, parameters)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(out.cpu(), expected, atol=1e-5, rtol=0)
