"""Files and folders that systems and programs leave beside data."""

_NAMES = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "__pycache__", "lost+found")


def junk(name: str) -> bool:
    """Whether a file or folder, or one on the way to it, is hidden or left there by a system; `name` is a POSIX path.

    Among them .DS_Store, ._photo.jpg, .ipynb_checkpoints, __MACOSX, Thumbs.db and desktop.ini.
    """
    return any(part.startswith(".") or part.lower() in _NAMES for part in name.split("/"))
