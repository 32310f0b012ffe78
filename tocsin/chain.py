"""A chain of lines: each digest covers its line and the digest before it, so that no line can be changed or taken out unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BEGINNING = "0" * 64
"""What stands before the first line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One line of the chain."""

    seq: int
    line: str
    digest: str


def spell(facts: Mapping[str, Any]) -> str:
    """What happened as one line of JSON; the same facts give the same line."""
    return json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def digest_of(previous: str, line: str) -> str:
    """The digest of a line that follows `previous`."""
    return hashlib.sha256(f"{previous}\n{line}".encode(errors="surrogatepass")).hexdigest()


def extend(last: Link | None, lines: Iterable[str]) -> list[Link]:
    """The links that these lines make after `last`."""
    links: list[Link] = []
    for line in lines:
        before = links[-1] if links else last
        previous = BEGINNING if before is None else before.digest
        links.append(Link(seq=(before.seq if before else 0) + 1, line=line, digest=digest_of(previous, line)))
    return links


def first_break(links: Iterable[Link]) -> str:
    """Where the chain, told from its first line, is not whole, in a sentence; empty when it is."""
    previous, expected = BEGINNING, 1
    for link in links:
        if link.seq != expected:
            return f"line {expected} is missing: after it comes line {link.seq}"
        if digest_of(previous, link.line) != link.digest:
            return f"line {link.seq} is not what was written: its digest does not fit"
        previous, expected = link.digest, expected + 1
    return ""
