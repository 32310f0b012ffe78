"""What varies, and whom it is about, leaves a line before anybody looks at it: `user=bob took 12 ms` → `user=<user> took <duration>`.

Each rule runs in time linear in the line: a repetition either cannot start again inside its own run (look-behind), or cannot
overlap what follows it. While rules run, what was masked stands as one private character, so that no rule looks into another's
result; a line that is already masked comes out as it went in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_NAMES = (
    *("num", "hex", "id", "uuid", "ip", "mac", "email", "user", "secret", "name", "query", "tmp", "str", "blob", "time"),
    *("duration", "size", "iban", "card", "nir", "phone", "1xx", "2xx", "3xx", "4xx", "5xx"),
)
MARK = {name: chr(0xE000 + place) for place, name in enumerate(_NAMES)}
_SPELLED = {ord(mark): f"<{name}>" for name, mark in MARK.items()} | {0xE100 + digit: str(digit) for digit in range(10)}
_KEPT = str.maketrans("0123456789", "".join(chr(0xE100 + digit) for digit in range(10)))
_MASKED = re.compile("<(" + "|".join(_NAMES) + ")>")

W = r"\w\uE000-\uE1FF"
"""The characters of a word, masked ones among them."""
_L, _R = rf"(?<![{W}])", rf"(?![{W}])"

Rule = tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""One of these characters must be in the line (empty: always), what to look for, and what to put there."""


def _rule(hint: str, pattern: str, by: str | Callable[[re.Match[str]], str]) -> Rule:
    return hint, re.compile(pattern), MARK.get(by, by) if isinstance(by, str) else by


# --- names of people, and what nobody may see ---------------------------------------------------------------------------

_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"',;&)\]}|]+)"""
_SECRET_KEYS = r"pass(?:word|wd|phrase)?|pwd|mot[ _]de[ _]passe|mdp|secret|api[-_]?key|private[-_]?key|authorization|access[-_]?token|refresh[-_]?token|auth[-_]?token|token|jeton|cookie|set-cookie"
_USER_KEYS = (
    r"user(?:[-_ ]?(?:name|id))?|usr|login|logon|uid|ruser|utilisateur|identifiant|compte|account(?:[-_ ]?(?:name|id))?|client[-_ ]?(?:name|id)"
    r"|customer(?:[-_ ]?(?:name|id))?|owner|principal|subject|first[-_]?name|last[-_]?name|full[-_]?name|surname|nom|pr[ée]nom|titulaire|beneficiary|b[ée]n[ée]ficiaire|email|mail|adresse"
)
_ID_KEYS = r"(?:php|j|asp)?sess(?:ion)?[-_ ]?(?:id)?|sid|trace[-_ ]?id|span[-_ ]?id|request[-_ ]?id|correlation[-_ ]?id|transaction[-_ ]?id|req[-_]?id"
# What follows "user" in a sentence without being one's name.
_NO_NAME = (
    r"(?:not|is|was|has|had|have|are|does|did|do|can|cannot|could|will|would|must|may|and|or|of|in|on|to|for|from|with|without|by|at|as|the|this|that|an?|id"
    r"|name|session|service|agent|input|data|already|unknown|invalid|account|group|role|logged|login|created|deleted|updated|added|removed|found|does|error"
    r"|non|est|a|pas|ne|n|inconnue?|introuvable|invalide|d[ée]j[àa]|de|du|des|la|le|les|et|ou|en|dans|sur|pour|par|avec|sans|au|aux|qui|que|cr[ée]{2}e?|supprim[ée]e?)"
)


def _keyed(keys: str, by: str) -> Rule:
    pattern = rf"""(?i:(?<![{W}])({keys})(["']?\s{{0,3}}[=:]\s{{0,3}})(?:(?:bearer|basic|negotiate)\s{{1,3}})?)({_VALUE})"""
    return _rule("=:", pattern, lambda found: f"{found[1]}{found[2]}{_requoted(found[3], MARK[by])}")


def _requoted(value: str, mark: str) -> str:
    return f"{value[0]}{mark}{value[0]}" if value[0] in "\"'" else mark


_PEOPLE = (
    _rule("/", r"""(?<=://)[^\s/@"'<>?#]+@""", MARK["user"] + "@"),
    _rule("@", rf"(?<![{W}.+%-])[{W}.+%-]+@[{W}-]+(?:\.[{W}-]+)*", "email"),
    _keyed(_SECRET_KEYS, "secret"),
    _rule("", rf"(?i:{_L}(bearer|basic)\s{{1,3}})[{W}.+/=~-]{{8,}}", rf"\1{MARK['secret']}"),
    _keyed(_ID_KEYS, "id"),
    _keyed(_USER_KEYS, "user"),
    _rule(
        "",
        rf"""(?i:{_L}(user|utilisateur|utilisatrice|login|account|compte|for|pour)(\s{{1,3}})(?:(user|l['’]utilisateur)(\s{{1,3}}))?)"""
        rf"""(?<=[eEnNtTrR]\s)(?!(?i:{_NO_NAME}){_R})(["']?)[{W}][{W}.@\\-]*\5(?<!\.)""",
        lambda found: _user_in_sentence(found),
    ),
    _rule(
        "",
        rf"{_L}(M\.|Mme|Mlle|Mr\.?|Mrs\.?|Ms\.?|Monsieur|Madame|Mademoiselle)(\s)[A-ZÀ-Þ][\w’'-]*(?:\s[A-ZÀ-Þ][\w’'-]*){{0,2}}",
        rf"\1\2{MARK['name']}",
    ),
    _rule(
        "\\/",
        r"""(?i:((?:/home|/users|/export/home|/var/mail|/var/spool/mail|[a-z]:\\(?:users|utilisateurs))[\\/]))[^\\/\s"':;,)\]]+""",
        rf"\1{MARK['user']}",
    ),
)


def _user_in_sentence(found: re.Match[str]) -> str:
    head, gap, second, gap2 = found[1], found[2], found[3], found[4]
    if head.lower() in ("for", "pour") and not second:
        return found[0]  # "for" alone is followed by anything
    return f"{head}{gap}{second or ''}{gap2 or ''}{found[5]}{MARK['user']}{found[5]}"


# --- numbers that are about somebody: their check digits tell them from others ------------------------------------------


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(found: re.Match[str]) -> str:
    digits = "".join(char for char in found[0] if char.isdecimal())
    return MARK["card"] if 13 <= len(digits) <= 19 and _luhn(digits) else found[0]


def _iban(found: re.Match[str]) -> str:
    text = found[0].replace(" ", "").upper()
    if not (15 <= len(text) <= 34 and text.isascii()):
        return found[0]
    number = int("".join(str(int(char, 36)) for char in text[4:] + text[:4]))
    return MARK["iban"] if number % 97 == 1 else found[0]


_NUMBERED = (
    _rule("", rf"{_L}[A-Z]{{2}}\d\d(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?{_R}", _iban),
    _rule("", rf"{_L}[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{{3}} ?\d{{3}}(?: ?\d\d)?{_R}", "nir"),
    _rule("", rf"{_L}\d(?:[ -]?\d){{12,18}}{_R}", _card),
    _rule("", rf"(?<![{W}+.])(?:\+33|0033|0)[ .-]?[1-9](?:[ .-]?\d\d){{4}}{_R}", "phone"),
    _rule("+", rf"(?<![{W}])\+\d{{1,3}}[ .-]?(?:\(\d{{1,4}}\)[ .-]?)?\d{{1,4}}(?:[ .-]?\d{{2,4}}){{2,4}}{_R}", "phone"),
)


# --- addresses and identifiers -------------------------------------------------------------------------------------------


def _blob(found: re.Match[str]) -> str:
    text = found[0]
    shapes = any(char.isdecimal() for char in text) + any(char.islower() for char in text) + any(char.isupper() for char in text)
    words = text.count("/") + text.count("-") + text.count("_")
    return MARK["blob"] if shapes == 3 and words <= len(text) // 10 else text


def _ipv6(found: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(found[1])
    except ValueError:
        return found[0]
    return MARK["ip"]


_ADDRESSES = (
    _rule(".", rf"{_L}eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?", "blob"),
    _rule("", rf"(?<![{W}+/=-])[A-Za-z0-9+/_-]{{32,}}={{0,2}}(?![{W}+/=-])", _blob),
    _rule("-", rf"{_L}[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{_R}", "uuid"),
    _rule(":-", rf"{_L}[0-9a-fA-F]{{2}}([:-])(?:[0-9a-fA-F]{{2}}\1){{4}}[0-9a-fA-F]{{2}}{_R}", "mac"),
    _rule(".", rf"(?<![{W}.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?::\d{{1,5}})?(?:/\d{{1,2}})?(?![{W}]|\.\d)", "ip"),
    _rule(":", rf"(?<![{W}:.])\[?([0-9a-fA-F]{{0,4}}:[0-9a-fA-F:.]*:[0-9a-fA-F.]*)(?:%\w+)?(?:\]:\d{{1,5}})?(?![{W}:])", _ipv6),
    _rule("?", rf"""(?<=[{W}/.)\]}}-])\?[^\s"'<>?=]*=[^\s"'<>]*""", "?" + MARK["query"]),
    _rule("/", r"""((?:/var|/private)?/tmp/)[^\s"':;,)\]]+""", rf"\1{MARK['tmp']}"),
)

# --- times -----------------------------------------------------------------------------------------------------------------

_MONTH = (
    r"(?i:jan(?:uary|vier|v)?|feb(?:ruary)?|f[ée]v(?:rier|r)?|mar(?:ch|s)?|apr(?:il)?|avr(?:il)?|may|mai|june?|juin|july?|juil(?:let)?|aug(?:ust)?|ao[uû]t"
    r"|sep(?:tember|tembre|t)?|oct(?:ober|obre)?|nov(?:ember|embre)?|dec(?:ember)?|d[ée]c(?:embre)?)\b\.?"
)
_DAY = (
    r"(?i:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
    r"|lun(?:di)?|mar(?:di)?|mer(?:credi)?|jeu(?:di)?|ven(?:dredi)?|sam(?:edi)?|dim(?:anche)?)\b\.?,?\s{1,3}(?:le\s)?"
)
_CLOCK = r"(?:\d{1,2}:\d\d(?::\d\d(?:[.,:]\d{1,9})?)?(?:\s?[AaPp][Mm]\b)?|\d{1,2}\s?[hH]\s?\d\d(?!\d)(?:\s?(?:min|mn|m)?\s?\d\d(?:\s?s)?)?)"
_ZONE = r"(?:\s?(?:Z|UTC|GMT|CES?T|[+-]\d\d:?\d\d)\b)?"
_AT = r"(?:T|,?\s{1,3}(?:(?:à|a|at|@|-)\s)?|:)"
_DATED = rf"(?:{_AT}{_CLOCK}{_ZONE})?"
_START, _END = rf"(?<![{W}.,:/-])", r"(?!\d)"

_TIMES = (
    _rule(
        "-/.",
        rf"{_START}(?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\2(?:\d{{4}}|\d\d))(?![\d.]){_DATED}{_END}",
        "time",
    ),
    _rule(
        "",
        rf"{_START}(?:{_DAY})?(?<!\d)\d{{1,2}}(?:er|st|nd|rd|th)?[\s/-]{_MONTH}(?:[\s/,-]{{1,2}}\d{{4}}(?!\d))?{_DATED}{_END}",
        "time",
    ),
    _rule(
        "",
        rf"{_START}(?:{_DAY})?{_MONTH}\s{{1,3}}\d{{1,2}}(?:st|nd|rd|th)?(?![\d.])(?:,?\s\d{{4}}(?!\d))?{_DATED}(?:\s\d{{4}}(?!\d))?{_END}",
        "time",
    ),
    _rule(":hH", rf"{_START}{_CLOCK}{_ZONE}{_END}(?![{W}])", "time"),
)

# --- quantities and words with digits ----------------------------------------------------------------------------------------

_CODES = (
    r"(?:ORA|TNS|PLS|RMAN|CRS|SQL|SQLSTATE|DSN|AMQ|MQRC|WSVR|SRVE|CWWK[A-Z]|JBAS|WFLY[A-Z]*|BEA|MSG|CVE|KB|AH|IJ)[-_ ]?\d{3,6}[A-Z]?"
    r"|HTTP/\d(?:\.\d)?|[hH][12]c?|TLSv?1(?:[._]\d)?|SSLv[23]|(?i:log4j2?|utf-?(?:8|16|32)|iso-?8859-\d{1,2}|x86_64|amd64|x64|win32|ipv[46]|ip[46]"
    r"|sha-?(?:1|256|384|512)|md5|base64|oauth2?|s3|ec2|k8s|i18n|l10n|db2|c3p0|junit[45]|w3c|p12|pkcs\d{1,2}|x509|rs256|aes-?(?:128|256))"
)
_STATUS = r"""((?:HTTP/\d(?:\.\d)?["']?|(?i:\b(?:status(?:[_ ]?code)?|statut|code(?:[_ ]http)?|http|returned|retourn[ée]))["']?)\s{0,2}[=:]?\s{0,2})([1-5])\d\d(?![\d\w.,]*\d)"""
_SIZES = r"(?:[kKMGTP]i?[oOB]|[KMGT]|bytes?|octets?|[kKMGT]?[bB](?:ps|/s)|B)"
_DURATIONS = r"(?:ns|us|µs|μs|ms|msecs?|s|secs?|secondes?|seconds?|millis(?:econdes?|econds?)?|mins?|minutes?|h|hours?|heures?|d|days?|j|jours?|m|semaines?|weeks?)"
_NUMBER = r"\d+(?:[.,]\d+)*"


def _word(found: re.Match[str]) -> str:
    """A word with digits in it: an identifier when letters and digits alternate, else a name with a number."""
    word = found[0]
    if len(word) >= 8 and _HEX.fullmatch(word) and not word.isdecimal():
        return MARK["hex"]
    runs = len(_DIGITS.findall(word))
    if not word.isdecimal() and "_" not in word and (len(word) >= 20 or (runs >= 2 and len(word) >= 5)):
        return MARK["id"]
    return _DIGITS.sub(MARK["num"], word)


_HEX, _DIGITS = re.compile(r"[0-9a-fA-F]+"), re.compile(r"\d+")

_QUANTITIES = (
    _rule("", _STATUS, lambda found: found[1].translate(_KEPT) + MARK[f"{int(found[2])}xx"]),
    _rule("", rf"{_L}(?:{_CODES}){_R}", lambda found: found[0].translate(_KEPT)),
    _rule("xX", rf"{_L}0[xX][0-9a-fA-F]+{_R}", "hex"),
    _rule("", rf"(?<![{W}.,])(?:{_NUMBER}\s?{_SIZES}){_R}", "size"),
    _rule("", rf"(?<![{W}.,])(?:{_NUMBER}\s?{_DURATIONS}\s?){{1,4}}(?<!\s){_R}", "duration"),
    _rule("", rf"(?<![{W}]){_NUMBER}(?:[eE][+-]?\d+)?%?{_R}", "num"),
    _rule("", rf"(?<![{W}])[^\W\d]*\d\w*", _word),
    _rule("", r"\d+", "num"),
)

# --- what stands in quotes -----------------------------------------------------------------------------------------------

_TOLD = r"(?:msg|message|error|err|errmsg|reason|exception|detail|details|cause|erreur|motif|raison|libell[ée])"


def _quoted(found: re.Match[str]) -> str:
    inside = found["inside"]
    if found["told"] or _REQUEST.match(inside) or not inside.strip():
        return found[0]
    return f"{found['open']}{MARK['str']}{found['close']}"


_REQUEST = re.compile(r"(?:GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS|CONNECT|TRACE) ")
_QUOTES = tuple(
    _rule(
        opening,
        rf"(?i:(?P<told>(?<![{W}]){_TOLD}[\"']?\s?[=:]\s?))?(?<![{W}{opening}\\])(?P<open>{opening})(?P<inside>[^{opening}{closing}]*)(?P<close>{closing})(?![{W}]|\s?:)",
        _quoted,
    )
    for opening, closing in (('"', '"'), ("'", "'"), ("`", "[`']"), ("«", "»"), ("“", "”"), ("‘", "’"))
)

_ALWAYS = (*_PEOPLE, *_QUOTES, *_ADDRESSES[:1])
_WITH_DIGITS = (*_ADDRESSES[1:], *_NUMBERED, *_TIMES, *_QUANTITIES)
_ANY_DIGIT = re.compile(r"\d")


def mask(line: str) -> str:
    """The line without what varies and without whom it is about. `mask(mask(line)) == mask(line)`.

    The line must have been made harmless (`text.harmless`): no private characters, no control characters, of bounded length.
    """
    text = _MASKED.sub(lambda found: MARK[found[1]], line) if "<" in line else line
    text = _apply(_ALWAYS, text)
    if _ANY_DIGIT.search(text) or "?" in text or ":" in text or "/tmp/" in text:
        text = _apply(_WITH_DIGITS, text)
    return text.translate(_SPELLED)


def _apply(rules: tuple[Rule, ...], text: str) -> str:
    for hint, pattern, by in rules:
        if not hint or any(char in text for char in hint):
            text = pattern.sub(by, text)
    return text
