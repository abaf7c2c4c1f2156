"""Any value in any place of nested data."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 2, 10**20, -(10**300), 1e-320, 1e308, float("inf"), float("nan"), ""]),
    st.sampled_from(
        ["../x", "/etc/passwd", "a\0b", "\x1b[2J", "x\ny", "=cmd|' /C calc'!A0", "!!python/name:os.system"]
    ),
    st.sampled_from(["sem", "none", "simclr", "toy", "mine", "quick", "python", "folder", "~", "$HOME", "%s", "{}"]),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(["type", "name", "L"]), SCALARS), inner)
    ),
    max_leaves=6,
)


def places(value: Any, *keys: Any) -> Iterator[tuple[Any, ...]]:
    """The keys of every place in a value."""
    yield keys
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, *keys, key)


def changed(value: Any, keys: tuple[Any, ...], new: Any, way: str) -> Any:
    """A value with another in a place: instead of what stands there, inside of it, or nothing there at all."""
    if keys:
        value = value.copy()
        if way == "gone" and len(keys) == 1:
            value.pop(keys[0])
        else:
            value[keys[0]] = changed(value[keys[0]], keys[1:], new, way)
        return value
    if way == "inside" and isinstance(value, list):
        return [*value, new]
    if way == "inside" and isinstance(value, dict):
        return {**value, new if isinstance(new, str) else "more": new}
    return None if way == "gone" else new
