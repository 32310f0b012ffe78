"""What varies, and whom it is about, leaves a line before anybody looks at it.

    user=bob took 12 ms     →  user=<user> took <duration>

Every rule runs in time linear in the line: a repetition either cannot start again inside its own run (it looks behind first), or
ends where the next one would begin.
"""

from __future__ import annotations

import re

from collectors.logs.addresses import hide_accounts, hide_addresses, hide_blobs
from collectors.logs.marks import folded, spelled
from collectors.logs.people import hide_people, hide_quotations
from collectors.logs.quantities import hide_quantities, hide_times

_DIGIT = re.compile(r"\d")


def mask(line: str) -> str:
    """The line without what varies and without whom it is about. Masking it again changes nothing.

    The line must be harmless (`text.harmless`): no control or private characters, of bounded length.
    """
    text = folded(line)
    low = text.lower()
    text = hide_quotations(hide_people(hide_blobs(text), low))
    text = hide_addresses(text)
    if _DIGIT.search(text):
        text = hide_quantities(hide_times(hide_accounts(text), low), low)
    return spelled(text)
