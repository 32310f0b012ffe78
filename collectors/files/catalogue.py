"""Which files there are now: patterns → regular files, in the order of their names.

Links: a link to a file inside the pattern's folder is followed. A link that leads out of it, and every link to a folder, is
left out and counted unless `follow_links` is set: whoever may write into the folder shall not make the daemon read, and show,
what only the daemon may read. Hidden files and folders are left out unless the pattern names them; pipes, sockets
and devices always.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

from collectors.files.settings import FilesSettings
from collectors.files.tally import Tally

_MAGIC = re.compile(r"[*?\[]")
_DATA_FILE = r".*\.(?:(?:csv|tsv)(?:\.gz)?|parquet)"
_SUFFIXES = re.compile(r"\.(?:csv|tsv|txt|parquet)(?:\.gz)?(?:[.-].*)?$", re.IGNORECASE)
MAX_DEPTH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A regular file: where it is, what `{component}` of the pattern matched in it, and what the file system says of it."""

    path: Path
    captured: str
    stat: os.stat_result

    @property
    def stem(self) -> str:
        """The name without what says its format: `web1` of `web1.csv`, `web1.csv.gz` and the rotated `web1.csv.1`."""
        stem = _SUFFIXES.sub("", self.path.name)
        return stem if stem and stem != self.path.name else self.path.stem

    @property
    def stamp(self) -> tuple[int, int, int, int]:
        """Changes whenever the content may have changed."""
        return self.stat.st_dev, self.stat.st_ino, self.stat.st_size, self.stat.st_mtime_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """`base` is the part without wildcards; `rest` matches what lies below it, `depth` folders deep at most."""

    base: Path
    rest: re.Pattern[str] | None
    depth: int


def compile_pattern(text: str, folder: Path) -> Pattern:
    """A pattern as written → where to look and what to take."""
    parts = (folder / Path(text).expanduser()).parts
    plain = next((i for i, part in enumerate(parts) if _MAGIC.search(part) or "{component}" in part), len(parts))
    base, wild = Path(*parts[:plain]), parts[plain:]
    if not wild:
        return Pattern(base=base, rest=None, depth=MAX_DEPTH)
    deep = "**" in wild
    regex = "".join(_part(part, last=i == len(wild) - 1) for i, part in enumerate(wild))
    return Pattern(base=base, rest=re.compile(regex, re.DOTALL), depth=MAX_DEPTH if deep else len(wild) - 1)


def list_files(settings: FilesSettings, folder: Path, tally: Tally) -> list[Found]:
    """Every file the settings mean, once, sorted by path; at most `max_files`, and the tally says when that cut."""
    found: dict[str, Found] = {}
    for text in settings.paths:
        pattern = compile_pattern(text, folder)
        for item in _matches(pattern, settings.follow_links, tally):
            found.setdefault(str(item.path), item)
    names = sorted(found)
    cut = max(0, len(names) - settings.max_files)
    tally.hold("files cut", cut, f"{len(names)} files match, only the first {settings.max_files} are read")
    return [found[name] for name in names[: settings.max_files]]


def _part(part: str, *, last: bool) -> str:
    """One part of a pattern as a regular expression on the path below the base."""
    if part == "**":
        return r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)" + _DATA_FILE if last else "")
    before, mark, after = part.partition("{component}")
    text = _glob(before) + (r"(?P<component>[^/]+)" + _glob(after) if mark else "")
    shown = r"(?!\.)" if not part.startswith(".") else ""
    return shown + text + ("" if last else "/")


def _glob(text: str) -> str:
    """fnmatch's language, where no wildcard crosses a slash."""
    out = []
    for piece in re.split(r"(\*|\?|\[[^]]+\])", text):
        if piece == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            out.append("(?!/)" + translate(piece).removeprefix("(?s:").removesuffix(r")\Z").removesuffix(r")\z"))
        else:
            out.append(re.escape(piece))
    return "".join(out)


def _matches(pattern: Pattern, follow: bool, tally: Tally) -> Iterator[Found]:
    base = pattern.base
    if pattern.rest is None and not base.is_dir():
        try:
            status = base.stat()
        except OSError:
            return  # nothing there; the caller says so when nothing else matches either
        if stat.S_ISREG(status.st_mode):
            yield Found(path=base, captured="", stat=status)
        return
    rest = pattern.rest or re.compile(_part("**", last=True), re.DOTALL)
    real = os.path.realpath(base)
    for entry, below in _walk(str(base), "", pattern.depth, follow, tally, {real}):
        match = rest.fullmatch(below)
        if match is None:
            continue
        if entry.is_symlink() and not follow and not os.path.realpath(entry.path).startswith(real + os.sep):
            tally.say("links left out", 1, f"{below!r} is a link that leads out of {str(base)!r}", once=entry.path)
            continue
        try:
            status = entry.stat()
        except OSError:
            continue  # it vanished between the listing and now
        if stat.S_ISREG(status.st_mode):
            yield Found(path=Path(entry.path), captured=match.groupdict().get("component") or "", stat=status)


def _walk(
    folder: str, below: str, depth: int, follow: bool, tally: Tally, seen: set[str]
) -> Iterator[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        if below:
            tally.say("folders not read", 1, f"{below!r}: {error.strerror}", once=folder)
        return
    for entry in listed:
        try:
            is_folder, is_link = entry.is_dir(), entry.is_symlink()
        except OSError:
            continue
        if not is_folder:
            yield entry, below + entry.name
        elif depth > 0:
            if is_link and not follow:
                tally.say("links left out", 1, f"{below + entry.name!r} is a link to a folder", once=entry.path)
                continue
            real = os.path.realpath(entry.path) if follow else entry.path
            if real not in seen:  # links can make a circle
                seen.add(real)
                yield from _walk(entry.path, below + entry.name + "/", depth - 1, follow, tally, seen)
