"""Files that are not what their name says, and are often met in its place."""

from pathlib import Path

_BEGINNINGS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: `git lfs pull` fetches it",
    b"<!doctype html": "a web page: what was downloaded is an error or a login page",
    b"<html": "a web page: what was downloaded is an error or a login page",
    b'<?xml version="1.0" encoding="utf-8"?><error>': "an error message of a server: the download failed",
}


def kind(path: Path) -> str:
    """What a file is instead, in words; "" where it is none of these or cannot be read."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(300))
    except OSError:
        return ""


def kind_of(start: bytes) -> str:
    """The same of its first bytes."""
    start = start[:300].lstrip().lower()
    if not start:
        return "an empty file"
    return next((text for beginning, text in _BEGINNINGS.items() if start.startswith(beginning)), "")
