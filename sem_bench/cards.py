"""A door that stays open: code beside cards imports from here, and its imports are part of its digest."""

from sem_bench.config.cards import load_code

__all__ = ["load_code"]
