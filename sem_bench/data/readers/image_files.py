"""Files of images: which ones count, and how one is read."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sem_bench.base import mistaken
from sem_bench.base.files import shown
from sem_bench.data.readers.opened import said
from sem_bench.data.sources.base import ImageFiles
from sem_bench.data.threads import reading
from sem_bench.errors import UserError

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
ENDINGS = (*JPEG, ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
_TEXTS = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".bib")
_PAPERS = (".pdf", ".doc", ".docx", ".xls", ".xlsx", ".mat", ".names", ".md5", ".sha1", ".sha256", ".log", ".lock")
_CODE = (".py", ".sh", ".m", ".ipynb", ".ini", ".cfg", ".db", ".url", ".lnk")
_ARCHIVES = (".zip", ".tar", ".gz", ".bz2", ".xz", ".tgz", ".7z", ".rar")
_WORDS = (
    "readme",
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "authors",
    "changelog",
    "version",
    "makefile",
)
_BESIDE = frozenset([*_TEXTS, *_PAPERS, *_CODE, *_ARCHIVES])  # what lies beside images and is none
USUAL = ImageFiles(type="")
PIXELS = 2 * 89_478_485  # of an image; Pillow refuses more, too, and from half of that on warns on standard error
Image.MAX_IMAGE_PIXELS = None


def ending_passed_over(name: str) -> str | None:
    """The ending of a file that is not read though it may be an image; None of one that is read or surely none."""
    path = PurePosixPath(name)
    ending = path.suffix.lower()
    if not ending:
        return None if path.name.lower() in _WORDS or not path.name.isprintable() else "no ending"
    return None if ending in ENDINGS or ending in _BESIDE else ending


def passed_over(endings: Mapping[str, int]) -> str:
    """What to say of files that are not read; "" where there are none."""
    if not endings:
        return ""
    counts = ", ".join(f"{ending} ({count:,})" for ending, count in sorted(endings.items(), key=lambda one: -one[1]))
    return f"{sum(endings.values()):,} files with other endings are not read: {counts}"


def read_image(path: Path, rules: ImageFiles = USUAL) -> Image.Image:
    """An image file in RGB, as its source says. Raises UserError where it is absent, no image, or damaged."""
    with reading(path):
        return _read(path, rules, str(shown(path)))


def read_packed(content: bytes, rules: ImageFiles, where: str) -> Image.Image:
    """The same of the content of a file; `where` is what messages call it."""
    return _read(content, rules, where)


def _read(file: Path | bytes, rules: ImageFiles, where: str) -> Image.Image:
    try:
        with _opened(file, rules, where) as image:
            if rules.exif:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith(("I", "F")):
                return _reduced(image, where, rules)
            return in_rgb(image)
    except UnidentifiedImageError:
        instead = mistaken.kind_of(file) if isinstance(file, bytes) else mistaken.kind(file)
        raise UserError(f"{where}: not an image{instead and ', but ' + instead}") from None
    except PermissionError:
        raise UserError(f"{where}: may not be read") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if rules.truncated == "allow" and "truncated" in str(error) and (ended := _ended(file, rules)) is not None:
            return ended
        raise UserError(f"{where}: damaged image ({said(error)})") from None


def in_rgb(image: Image.Image) -> Image.Image:
    """Of 8 bits a channel; what is transparent loses that."""
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns of the direct way
    return image.convert("RGB")


def _ended(file: Path | bytes, rules: ImageFiles) -> Image.Image | None:
    """A JPEG that is cut short, with its end: the decoder makes the rest grey. None of what has no image yet."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    if not content.startswith(b"\xff\xd8"):
        return None
    try:
        with Image.open(BytesIO(content + b"\xff\xd9")) as image:
            if rules.exif:
                ImageOps.exif_transpose(image, in_place=True)
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError):
        return None


def _opened(file: Path | bytes, rules: ImageFiles, where: str) -> Image.Image:
    """The file, not decoded yet."""
    image, limit = Image.open(BytesIO(file) if isinstance(file, bytes) else file), rules.max_pixels or PIXELS
    if (pixels := image.width * image.height) > limit:
        image.close()
        raise UserError(_too_large(where, pixels, limit))
    return image


def _too_large(where: str, pixels: int, limit: int) -> str:
    return (
        f"{where}: {pixels / 1e6:.0f} megapixels, above the limit of {limit / 1e6:.0f}; tile or shrink it, or "
        f"write `max_pixels: {pixels}` below `source` in the card"
    )


def _reduced(image: Image.Image, where: str, rules: ImageFiles) -> Image.Image:
    """16 bits to 8: 0 to 0, 65535 to 255."""
    if rules.bits != 16 or image.mode.startswith("F"):
        text = "; write `bits: 16` below `source` in the card to scale 0 to 65535 to 0 to 255"
        way = "; convert it first" if image.mode.startswith("F") else text
        raise UserError(f"{where}: more than 8 bits a channel (mode {image.mode}){way}")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{where}: values from {values.min()} to {values.max()} are not those of 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
