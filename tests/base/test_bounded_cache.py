"""What is kept stays within a limit, and the oldest goes first."""

from sem_bench.base.bounded_cache import BoundedCache


def test_what_was_asked_for_last_is_kept_within_the_limit() -> None:
    kept: BoundedCache[str] = BoundedCache(len)
    made: list[str] = []

    def get(value: str, limit: int = 6) -> str:
        return kept.get(value, lambda: made.append(value) or value, limit=limit)  # type: ignore[func-returns-value]

    for value in ("aa", "bb", "cc", "aa", "dd"):  # the last sends away bb, the one not asked for since longest
        assert get(value) == value and kept.size <= 6
    assert made == ["aa", "bb", "cc", "dd"]
    get("aa"), get("cc"), get("bb")
    assert made == ["aa", "bb", "cc", "dd", "bb"]
    assert get("cc", limit=2) == "cc" and kept.size == 2
    kept.clear()
    assert get("cc") == "cc" and made[-2:] == ["bb", "cc"]


def test_a_value_above_the_limit_is_given_and_not_kept() -> None:
    kept: BoundedCache[str] = BoundedCache(len)
    assert kept.get("small", lambda: "x", limit=3) == "x"
    assert kept.get("large", lambda: "xxxx", limit=3) == "xxxx"
    assert kept.size <= 3
