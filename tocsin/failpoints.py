"""Test instrumentation: places where a test makes the process die as a power cut would, without a word.

`TOCSIN_FAILPOINT=before_tick_commit` kills the process with SIGKILL the first time it gets there, `…:3` the third
time. Without the variable this does nothing. The names in use are listed in `NAMES`; a wrong one is an error at once,
so that a test cannot pass because it never died.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

NAMES = frozenset(
    {
        "before_tick_commit",
        "after_tick_commit",
        "before_record",
        "after_record",
        "after_send",
        "after_model_save",
        "before_model_activate",
        "during_compact",
        "before_backup_rename",
    }
)

_times: Counter[str] = Counter()


def reached(name: str) -> None:
    """Die here if the environment says so."""
    if name not in NAMES:
        raise ValueError(f"no failpoint {name!r}")
    wanted, _, nth = os.environ.get("TOCSIN_FAILPOINT", "").partition(":")
    if not wanted:
        return
    if wanted not in NAMES:
        raise ValueError(f"TOCSIN_FAILPOINT: no failpoint {wanted!r}")
    if wanted == name:
        _times[name] += 1
        if _times[name] >= int(nth or 1):
            os.kill(os.getpid(), signal.SIGKILL)
