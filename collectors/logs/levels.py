"""How bad a line is, in one vocabulary: debug, info, warning, error, critical, unknown."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LEVELS = ("debug", "info", "warning", "error", "critical", "unknown")
WATCHED = ("warning", "error", "critical")
"""Counted for every component from the start, so that the first such line is a change and no new series."""

_WORDS = {
    "debug": "debug trace fine finer finest verbose dbg deboggage debogage config",
    "info": "info information informational informatif informations notice note log ok success succes audit_success message avis",
    "warning": "warn warning wrn avert avertissement attention alerte_mineure minor audit_failure",
    "error": "err error eror erreur erreurs severe fail failed failure failed_audit exception echec grave major",
    "critical": "crit critical critique fatal fatale emerg emergency panic alert alerte urgence disaster catastrophe dpanic",
}
_LEVEL = {word: level for level, words in _WORDS.items() for word in words.split()}
_LETTERS = {
    "t": "debug",
    "d": "debug",
    "v": "debug",
    "i": "info",
    "n": "info",
    "w": "warning",
    "e": "error",
    "c": "critical",
    "f": "critical",
}
_SYSLOG = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_BUNYAN = {10: "debug", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}

_HEAD = 160
"""A level word stands near the start of a line."""
_SHOUTED = re.compile(
    r"(?<![\w.-])(TRACE|DEBUG|FINEST|FINER|FINE|VERBOSE|INFO|INFORMATION|NOTICE|WARN|WARNING|AVERTISSEMENT|ATTENTION|ERROR|ERR|ERREUR|SEVERE|GRAVE"
    r"|ECHEC|ÉCHEC|CRITICAL|CRITIQUE|CRIT|FATAL|FATALE|EMERG|ALERT|ALERTE|PANIC)(?![\w-])"
)
_MARKED = re.compile(
    r"""(?ix)(?:[\[(<|]\s?|\b(?:level|lvl|severity|niveau|gravit[ée]|loglevel)["']?\s?[=:]\s?["']?)
    (trace|debug|fine|verbose|info|information|notice|warn|warning|avertissement|error|err|erreur|severe|critical|critique|crit|fatal|emerg|alert|panic)
    (?![\w-])"""
)
_OPENING = re.compile(r"(?i)(?:\W|\d){0,40}(warning|error|erreur|avertissement|fatal|critical|critique|info|debug)\b\s?:")
_PRIORITY = re.compile(r"<(\d{1,3})>")
_TRACE = re.compile(r"\b\w+(?:Exception|Error)\b|Traceback \(most recent call last\)|\bpanic: ")


@lru_cache(maxsize=1024)
def level_of(word: str) -> str:
    """A level as a system spells it → ours; empty when the word is none.

    Numbers are those of syslog (0–7) or of bunyan and pino (10–60).
    """
    plain = _plain(word)
    if plain.isdecimal() and len(plain) <= 3:
        number = int(plain)
        return _SYSLOG[number] if number <= 7 else _BUNYAN.get(number, "")
    return _LEVEL.get(plain) or _LETTERS.get(plain) or _LEVEL.get(plain.split("_", 1)[0].rstrip("0123456789"), "")


def level_in(text: str) -> str:
    """The level that a line itself tells, `unknown` when it tells none."""
    head = text[:_HEAD]
    if (found := _PRIORITY.match(head)) and int(found[1]) < 192:
        return _SYSLOG[int(found[1]) % 8]
    if found := _MARKED.search(head) or _SHOUTED.search(head) or _OPENING.match(head):
        return level_of(found[1]) or "unknown"
    return "error" if _TRACE.search(text[:2000]) else "unknown"


def _plain(word: str) -> str:
    """Lower case, without accents and what stands around it."""
    text = unicodedata.normalize("NFKD", word[:40]).casefold()
    return "_".join("".join(char for char in text if not unicodedata.combining(char)).strip(" \t[]()<>:.-").split())
