"""A door that stays open: code beside cards imports from here, and its imports are part of its digest."""

from sem_bench.config.validation import did_you_mean

__all__ = ["did_you_mean"]
