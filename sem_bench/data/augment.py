"""Random views of a batch at once, each image its own: crop, flip, colour jitter, grey, blur, solarise.

The distribution is that of torchvision's transforms on images in [0, 1]; the cost is a few batched matrix
products and elementwise passes. All random numbers are drawn on the CPU, always equally many and in the same
order, so that the arms of a comparison see the same augmentations on any device:

    augment = BatchAugment(settings, mean=mean, std=std)
    parameters = augment.sample(len(images), height=32, width=32, generator=generator)
    view = augment(images, parameters)            # uint8 (B, 3, H, W) -> float32 (B, 3, size, size)

A crop with its resize is A X B^T for each channel X, with matrices A and B of the image's own; so is a blur.
Brightness, contrast and saturation are linear in the colour; only the hue is not.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from sem_bench.base.device import send

ASPECT = (3 / 4, 4 / 3)
TRIES = 10  # crops drawn for an image until one fits into it
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)
# Numbers worked on at a time: a CPU keeps them in its cache, elsewhere they bound the memory (64 MiB a copy).
CHUNK_CPU = 2**19
CHUNK = 2**24


class ViewSettings(Protocol):
    """What distinguishes one kind of view from another: chances, strengths and ranges."""

    size: int
    crop_scale: tuple[float, float]
    interpolation: Literal["bilinear", "bicubic"]
    flip: float
    jitter: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey: float
    blur: float
    blur_sigma: tuple[float, float]
    solarize: float


class Parameters(NamedTuple):
    """The augmentations of B images: tensors on the CPU, row i for image i."""

    box: Tensor  # (B, 4) int64: top, left, height, width in pixels of the input
    flip: Tensor  # (B,) bool, as are jitter, grey, blur and solarize: whether to do it at all
    jitter: Tensor
    order: Tensor  # (B, 4) int64: BRIGHTNESS, ..., HUE, in the order in which the jitter does them
    factors: Tensor  # (B, 3) float32: those of BRIGHTNESS, CONTRAST and SATURATION
    hue: Tensor  # (B,) float32: a shift, in turns of the colour circle
    grey: Tensor
    blur: Tensor
    sigma: Tensor  # (B,) float32: standard deviation of the blur, in pixels of the output
    solarize: Tensor

    def rows(self, index: Tensor | slice) -> "Parameters":
        """The parameters of some of the images."""
        return Parameters(*(field[index] for field in self))


class BatchAugment:
    """One kind of view: draws its parameters, and applies them to images."""

    def __init__(self, settings: ViewSettings, *, mean: Sequence[float], std: Sequence[float]) -> None:
        self.settings = settings
        self.mean, self.std = mean, std

    def sample(self, batch_size: int, *, height: int, width: int, generator: torch.Generator) -> Parameters:
        """Draw the parameters of a batch of images of one size."""
        return self.parameters(uniform(batch_size, generator), torch.tensor([[height, width]]).expand(batch_size, 2))

    def parameters(self, uniform: Tensor, sides: Tensor) -> Parameters:
        """Parameters from the numbers of `uniform` (B, n) and the heights and widths (B, 2) of the images.

        Each depends on its own row and on its own setting, no other.
        """
        s = self.settings
        areas, aspects, corner, order, factors, rest = torch.split(uniform, [TRIES, TRIES, 2, 4, 3, 7], dim=1)
        flip, jitter, hue, grey, blur, sigma, solarize = rest.unbind(1)
        strength = torch.tensor([s.brightness, s.contrast, s.saturation], dtype=torch.float64)
        return Parameters(
            box=_crop_boxes(areas, aspects, corner, sides.double(), scale=s.crop_scale),
            flip=flip < s.flip,
            jitter=jitter < s.jitter,
            order=order.argsort(1),
            factors=_between(factors, (1 - strength).clamp(min=0), 1 + strength).float(),
            hue=_between(hue, -s.hue, s.hue).float(),
            grey=grey < s.grey,
            blur=blur < s.blur,
            sigma=_between(sigma, *s.blur_sigma).float(),
            solarize=solarize < s.solarize,
        )

    def __call__(self, images: Tensor, parameters: Parameters, *, cropped: bool = False) -> Tensor:
        """Augment and normalise: uint8 (B, 3, H, W) -> float32 (B, 3, size, size) on the same device.

        With `cropped` the images are what `crop` made: crop and flip are done.
        """
        return self.apply(
            images, self.prepare(parameters, sides=images.shape[2:], device=images.device), cropped=cropped
        )

    def prepare(self, parameters: Parameters, *, sides: Sequence[int], device: torch.device) -> list["Work"]:
        """What `apply` needs for images of such sides, on their device: all that the host does of it."""
        numbers = len(LUMA) * max(math.prod(sides), self.settings.size**2)
        step = max(1, (CHUNK_CPU if device.type == "cpu" else CHUNK) // numbers)
        starts = range(0, len(parameters.box), step)
        return [_work(parameters.rows(slice(start, start + step)), device) for start in starts]

    def apply(self, images: Tensor, work: Sequence["Work"], *, cropped: bool = False) -> Tensor:
        """As a call, of what `prepare` made. The host waits for nothing."""
        size, device = self.settings.size, images.device
        views = torch.empty(*images.shape[:2], size, size, device=device)
        with torch.autocast(device.type, enabled=False):  # it would round images to bfloat16 in every product
            start = 0
            for part in work:
                rows = slice(start, start := start + len(part.sort))
                self._fill(views[rows], images[rows], part, cropped=cropped)
        return views

    def crop(self, image: Image.Image, parameters: Parameters, row: int) -> Image.Image:
        """Crop, resize and flip one image with Pillow, which rounds to 8 bits: for images of various sizes."""
        size, filters = self.settings.size, Image.Resampling
        top, left, height, width = parameters.box[row].tolist()
        kind = filters.BICUBIC if self.settings.interpolation == "bicubic" else filters.BILINEAR
        image = image.crop((left, top, left + width, top + height)).resize((size, size), kind)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if parameters.flip[row] else image

    def _fill(self, views: Tensor, images: Tensor, work: "Work", *, cropped: bool) -> None:
        x = images.index_select(0, work.sort) / 255
        x = x if cropped else self._crop(x, work)
        _jitter(x, work)
        _update(x, work.grey, lambda chosen: _luma(chosen).expand_as(chosen))
        _update(x, work.blur, lambda chosen: _blur(chosen, work.sigma))
        # In [0, 1] this inverts what lies above the middle.
        _update(x, work.solarize, lambda chosen: torch.minimum(chosen, 1 - chosen))
        torch.index_select(x, 0, work.back, out=views)
        _standardise(views, self.mean, self.std)

    def _crop(self, images: Tensor, work: "Work") -> Tensor:
        s = self.settings
        height, width = images.shape[2:]
        top, left, box_height, box_width = work.box
        still = torch.zeros_like(work.flip)
        down = _resize_matrices(top, box_height, still, height, s.size, s.interpolation)
        across = _resize_matrices(left, box_width, work.flip, width, s.size, s.interpolation)
        cropped = _separable(images, down, across)
        return cropped.clamp_(0, 1) if s.interpolation == "bicubic" else cropped  # a cubic overshoots


class Work(NamedTuple):
    """The augmentations of some images, ready for their device: tensors there, but for `ends`."""

    sort: Tensor  # the images in the order in which the jitter works on neighbours, see _jitter
    back: Tensor  # and back
    ends: list[int]  # of the groups of the jitter
    box: Tensor  # (4, B) float32, as all that follows in the order of `sort`
    flip: Tensor
    matrices: Tensor  # and offsets: the steps of the jitter, of those images that have one
    offsets: Tensor
    hue: Tensor | None  # None: it stays
    grey: Tensor | None  # the rows to turn grey; None: no image
    blur: Tensor | None
    sigma: Tensor  # of the rows to blur
    solarize: Tensor | None


def _work(parameters: Parameters, device: torch.device) -> Work:
    group = torch.where(parameters.jitter, 3 - _hue_position(parameters), 4)
    sort = group.argsort(stable=True)
    ends = group.bincount(minlength=5).cumsum(0).tolist()
    p = parameters.rows(sort)
    jittered = p.rows(slice(0, ends[3]))
    matrices, offsets = _linear_steps(jittered)
    chosen = [rows if len(rows := mask.nonzero()[:, 0]) else None for mask in (p.grey, p.blur, p.solarize)]
    grey, blur, solarize = (None if rows is None else send(rows, device) for rows in chosen)
    return Work(
        sort=send(sort, device),
        back=send(sort.argsort(), device),
        ends=ends,
        box=send(p.box.T.float(), device),
        flip=send(p.flip, device),
        matrices=send(matrices, device),
        offsets=send(offsets, device),
        hue=send(jittered.hue, device) if jittered.hue.any() else None,
        grey=grey,
        blur=blur,
        sigma=send(p.sigma[p.blur], device),
        solarize=solarize,
    )


def uniform(batch_size: int, generator: torch.Generator) -> Tensor:
    """The random numbers (B, n) in [0, 1) that one view of each image takes: always equally many."""
    return torch.rand(batch_size, 2 * TRIES + 16, dtype=torch.float64, generator=generator)


def normalise(images: Tensor, *, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What evaluation sees: uint8 (B, 3, H, W) -> float32, (image / 255 - mean) / std by channel."""
    return _standardise(images / 255, mean, std)


def blur_radius(size: int) -> int:
    """The kernel reaches so many pixels to each side: about 10 % of the image in all (SimCLR, appendix A)."""
    return max(1, size // 20)


def _standardise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    centre, spread = (_constant(tuple(values), images.device) for values in (mean, std))
    return images.sub_(centre).div_(spread)


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(3, 1, 1), of channels."""
    return torch.tensor(values, device=device).view(3, 1, 1)


def _between(uniform: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    return low + (high - low) * uniform


def _crop_boxes(areas: Tensor, aspects: Tensor, corner: Tensor, limit: Tensor, *, scale: tuple[float, float]) -> Tensor:
    """torchvision's RandomResizedCrop from uniform numbers: the first try that fits, else a central crop.

    `limit` (B, 2) has the heights and widths of the images.
    """
    height, width = limit.unbind(1)
    area = _between(areas, *scale) * (height * width)[:, None]
    aspect = _between(aspects, math.log(ASPECT[0]), math.log(ASPECT[1])).exp()
    sides = torch.stack([area / aspect, area * aspect], dim=2).sqrt().round()  # (B, TRIES, 2)
    fits = ((sides > 0) & (sides <= limit[:, None])).all(2)
    first = fits.int().argmax(1)
    drawn = sides[torch.arange(len(sides)), first]

    ratio = (width / height).clamp(*ASPECT)
    central = torch.stack(
        [torch.minimum(height, (width / ratio).round()), torch.minimum(width, (height * ratio).round())], 1
    )
    some = fits.any(1, keepdim=True)
    box = torch.where(some, drawn, central)
    start = torch.where(some, (corner * (limit - box + 1)).floor(), ((limit - central) / 2).floor())
    return torch.cat([start, box], dim=1).long()


def _resize_matrices(start: Tensor, length: Tensor, flip: Tensor, size: int, out: int, kind: str) -> Tensor:
    """Weights (B, out, size) that resize pixels [start, start + length) of a line of `size` pixels to `out`.

    With antialiasing: where the line shrinks, the kernel stretches, as in PIL and in torchvision.
    """
    position = torch.arange(out, device=start.device) + 0.5
    position = torch.where(flip[:, None], out - position, position)
    scale = (length / out)[:, None]
    stretch = scale.clamp(min=1)
    centre = (start[:, None] + position * scale) / stretch
    pixel = torch.arange(size, device=start.device)
    outside = (pixel < start[:, None]) | (pixel >= (start + length)[:, None])
    pixel = ((pixel + 0.5) / stretch).masked_fill(outside, math.inf)
    distance = (pixel[:, None, :] - centre[:, :, None]).abs_()
    if kind == "bilinear":
        weights = distance.neg_().add_(1).clamp_(min=0)
    else:  # Keys' cubic with a = -1/2, in terms of what is left to 2 and to 1
        far, near = (2 - distance).clamp_(min=0), (1 - distance).clamp_(min=0)
        weights = far.square() * (far - 1) / 2 + near.square() * (1 - 2 * near)
    return weights.div_(weights.sum(2, keepdim=True))


def _separable(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """down @ channel @ across^T: (B, C, H, W), (B, h, H), (B, w, W) -> (B, C, h, w)."""
    batch, channels, height, _ = images.shape
    images = torch.bmm(images.flatten(1, 2), across.mT).view(batch * channels, height, -1)
    # Copying the small matrices beats the broadcast of torch.matmul five times (32 px).
    return torch.bmm(down.repeat_interleave(channels, 0), images).view(batch, channels, down.shape[1], -1)


def _hue_position(p: Parameters) -> Tensor:
    return (p.order == HUE).int().argmax(1)


def _jitter(x: Tensor, work: Work) -> None:
    """ColorJitter in place, each image in its own order.

    The hue of all images shifts at once, between three linear steps before it and three after; an image takes
    part in those that its order asks for. The images come sorted: first those with the hue last (`ends[0]` of
    them), then with the hue third, second, first, then (from `ends[3]`) those without jitter. So every step
    concerns a slice.
    """
    third, second, first, count = work.ends[:4]
    starts, stops = (0, 0, 0, third, second, first), (third, second, first, count, count, count)
    for step, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if step == 3 and work.hue is not None:
            _shift_hue(x[:count], work.hue)
        if start < stop:
            pixels = x[start:stop].flatten(2)
            offset = work.offsets[step, start:stop] @ pixels.mean(2, keepdim=True)
            torch.clamp(torch.baddbmm(offset, work.matrices[step, start:stop], pixels), 0, 1, out=pixels)


def _linear_steps(p: Parameters) -> tuple[Tensor, Tensor]:
    """M and N (6, B, 3, 3) for the steps of _jitter: a colour becomes M @ colour + N @ mean colour."""
    factor = p.factors[:, :, None, None]
    grey = (1 - factor) * torch.tensor(LUMA)  # (B, 3, 1, 3): how much of its grey an image takes on
    matrices = factor * torch.eye(3)
    matrices[:, SATURATION] += grey[:, SATURATION]
    offsets = torch.zeros_like(matrices)
    offsets[:, CONTRAST] += grey[:, CONTRAST]
    linear = p.order[p.order != HUE].view(-1, 3)
    # Steps that an image does not take part in get some index: the slices leave them out.
    turn = (_hue_position(p)[:, None] + torch.arange(-3, 3)).clamp(0, 2)
    chosen = linear.gather(1, turn).T
    image = torch.arange(len(factor))
    return matrices[image, chosen], offsets[image, chosen]


def _shift_hue(images: Tensor, shift: Tensor) -> None:
    """Turn the hue of RGB images (B, 3, H, W) by shift (B,), in turns, in place; value and saturation stay.

    A hue is an angle from red, up to half a turn to the side of green or of blue.
    """
    r, g, b = images.unbind(1)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = torch.maximum(torch.maximum(r, g), b).sub_(low)
    sixfold = 6 * chroma
    angle = (g + b).sub_(r).sub_(low).div_(sixfold.clamp(min=1e-12)).add_(1 / 6)
    hue = angle.copysign_(g - b).add_(shift[:, None, None] + 1).frac_()

    def far(colour: float) -> Tensor:
        return (hue - colour).abs_().clamp_(1 / 6, 1 / 3)

    # A channel is highest within a sixth of a turn from its colour, lowest beyond a third, linear in between.
    # Red lies at both ends of the scale: its distance is taken from the opposite colour.
    torch.addcmul(low - chroma, sixfold, far(1 / 2), out=r)
    high = low.add_(chroma, alpha=2)
    torch.addcmul(high, sixfold, far(1 / 3), value=-1, out=g)
    torch.addcmul(high, sixfold, far(2 / 3), value=-1, out=b)


def _luma(images: Tensor) -> Tensor:
    r, g, b = torch.split(images, 1, dim=1)
    return LUMA[0] * r + LUMA[1] * g + LUMA[2] * b


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of square images by sigma (B,); the border reflects."""
    size, radius = images.shape[-1], blur_radius(images.shape[-1])
    reach = torch.arange(-radius, radius + 1, device=images.device)
    taps = (-0.5 * (reach / sigma[:, None]).square()).softmax(1)
    source = torch.arange(size, device=images.device)[:, None] + reach
    source = (size - 1) - ((size - 1) - source.abs()).abs()
    matrices = images.new_zeros(len(images), size, size)
    shape = (len(images), size, len(reach))
    matrices.scatter_add_(2, source.expand(shape), taps[:, None, :].expand(shape))
    return _separable(images, matrices, matrices)


def _update(x: Tensor, rows: Tensor | None, change: Callable[[Tensor], Tensor]) -> None:
    """Replace some of the images by what `change` makes of them."""
    if rows is not None:
        x.index_copy_(0, rows, change(x.index_select(0, rows)))
