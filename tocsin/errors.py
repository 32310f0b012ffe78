"""Errors, sorted by what the caller can do about them."""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigError(Exception):
    """A person must act. Only raised before the first tick; the doors turn it into exit code 2.

    The message is one sentence that says where, what came and what was expected. Several mistakes found at
    once are kept in `problems`, one such sentence each.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class TransientError(Exception):
    """It did not work now and may work later: a source that is down, a pipe that is full.

    `retry_after` is the pause in seconds that the other side asked for, when it did.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(Exception):
    """It will never work for this item: count it, say it once, go on with the others."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, else all of them while they are few."""
    names = {name.casefold(): name for name in known}
    if nearest := get_close_matches(word[:80].casefold(), names, n=1):
        return f' (did you mean "{names[nearest[0]]}"?)'
    return f"; expected one of {', '.join(sorted(names.values()))}" if 0 < len(names) <= 25 else ""
