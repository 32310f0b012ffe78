"""How much is held in memory at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The defaults are good on every machine; tests use tiny ones, to cross every border with few rows.

    `block` bytes of text are parsed at once: small enough to skip finely, large enough for Arrow to be at full speed. A `line`
    longer than that is no row of measurements; it is skipped and counted. `buckets` are filled together: a longer window is read
    part after part. `samples` of disordered buckets are settled together.
    """

    block: int = 1 << 20
    line: int = 8 << 20
    buckets: int = 4_000_000
    samples: int = 1_500_000

    @property
    def small(self) -> int:
        """A last block below this size takes in what is appended, so that appending does not make crumbs."""
        return self.block // 16

    def block_for(self, columns: int) -> int:
        """Bytes to parse at once: more for very wide files, so that a block has rows enough."""
        return min(self.line, max(self.block, self.block // 1024 * columns))


LIMITS = Limits()
