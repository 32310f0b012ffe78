"""What holds for every request to a cluster, whichever library carries it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class TooLarge(Exception):
    """The answer is larger than what is allowed; it was not read to its end."""


class TooSlow(Exception):
    """The answer did not come to its end in time."""


@dataclass(kw_only=True)
class Bounds:
    """What holds for every request: bytes of an answer once unpacked, seconds, and headers. `read` counts bytes off the wire."""

    max_bytes: int
    timeout: float
    headers: Callable[[], Mapping[str, str]]
    read: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
