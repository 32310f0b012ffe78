"""What a cell may say: the one definition of a number, of "nothing", and of a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

MAX_NAME = 255
_NOTHING = r"(?:[+-]?(?:[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)|[nN][uU][lL][lL])?"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the cells of one file are written.

    `unit` is the unit of numeric timestamps (`s`, `ms`, `us`, `ns`) or `iso`; `point` is the
    decimal point most cells are expected to have, which only matters for speed. The patterns are written in the common part of
    Python's and RE2's languages, because columns are tested by Arrow and single cells by Python.
    """

    delimiter: str
    decimal: str
    point: str
    missing: tuple[str, ...]
    unit: str
    naive: bool

    @cached_property
    def number(self) -> str:
        """Pattern of a whole cell that is a number."""
        either = self.decimal == "auto" and self.delimiter != ","
        point = "[.,]" if either else "[,]" if self.decimal == "," else "[.]"
        return rf"^[ \t]*[+-]?(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*$"

    @cached_property
    def nothing(self) -> str:
        """Pattern of a whole cell that holds no value: empty, NaN, null, an infinity, or what `missing` names."""
        names = "".join("|" + re.escape(name) for name in self.missing)
        return rf"^[ \t]*(?:{_NOTHING}{names})[ \t]*$"

    def says_number(self, cell: str) -> bool:
        """Whether the cell is a number or holds nothing."""
        return "\n" not in cell and (re.match(self.number, cell) is not None or re.match(self.nothing, cell) is not None)


def is_name(text: str) -> bool:
    """Whether this can name a component or a metric: printable, not blank, at most 255 characters.

    Control characters, line breaks and direction marks are not printable: a name ends up in commands, pages and terminals.
    """
    return 0 < len(text) <= MAX_NAME and text.isprintable() and not text.isspace()
