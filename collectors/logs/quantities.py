"""Times and dates, durations, sizes, numbers, and words with digits in them."""

from __future__ import annotations

import re

from collectors.logs.marks import MARK, L, R, W, kept, words

# --- times ----------------------------------------------------------------------------------------------------------------

_MONTHS = words(
    "jan(?:uary|vier|v)? feb(?:ruary)? f[ée]v(?:rier|r)? mar(?:ch|s)? apr(?:il)? avr(?:il)? may mai june? juin",
    "july? juil(?:let)? aug(?:ust)? ao[uû]t sep(?:tember|tembre|t)? oct(?:ober|obre)? nov(?:ember|embre)?",
    "dec(?:ember)? d[ée]c(?:embre)?",
)
_DAYS = words(
    "mon(?:day)? tue(?:s(?:day)?)? wed(?:nesday)? thu(?:rs?(?:day)?)? fri(?:day)? sat(?:urday)? sun(?:day)?",
    "lun(?:di)? mar(?:di)? mer(?:credi)? jeu(?:di)? ven(?:dredi)? sam(?:edi)? dim(?:anche)?",
)
_MONTH, _DAY = rf"(?i:{_MONTHS})\b\.?", rf"(?i:{_DAYS})\b\.?,?\s{{1,3}}(?:le\s)?"
_DIGITAL = r"\d?:\d\d(?::\d\d(?:[.,:]\d{1,9})?)?(?:\s?[AaPp][Mm]\b)?"
_FRENCH = r"\d?\s?[hH]\s?\d\d(?!\d)(?:\s?(?:min|mn|m)?\s?\d\d(?:\s?s)?)?"
"""Both without their first digit."""
_ZONE = r"(?:\s?(?:Z|UTC|GMT|CES?T|[+-]\d\d:?\d\d)\b)?"
_DATED = rf"(?:(?:T|,?\s{{1,3}}(?:(?:à|a|at|@|-)\s)?|:)\d(?:{_DIGITAL}|{_FRENCH}){_ZONE})?(?!\d)"
_START = rf"\d(?<![{W}.,:/-].)"

_TIME = re.compile(
    rf"{_START}(?:"
    rf"(?:\d{{3}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d?([-/.])\d{{1,2}}\2(?:\d{{4}}|\d\d))(?![\d.]){_DATED}"
    rf"|\d?(?:er|st|nd|rd|th)?[\s/-]{_MONTH}(?:[\s/,-]{{1,2}}\d{{4}}(?!\d))?{_DATED}"
    rf"|(?:{_DIGITAL}|{_FRENCH}){_ZONE}(?![{W}]))"
)
_MONTH_FIRST = re.compile(
    rf"(?<![{W}.,:/-]){_MONTH}\s{{1,3}}\d{{1,2}}(?:st|nd|rd|th)?(?![\d.:hH])(?:,?\s\d{{4}}(?![\d:]))?{_DATED}(?:\s\d{{4}}(?!\d))?"
)
_BEFORE_NUMBER = re.compile(r"[A-Za-zéûÉÛ.]\s{1,3}\d")
_MONTH_HINTS = (
    *("jan", "feb", "fév", "fev", "mar", "apr", "avr", "may", "mai", "jun", "juin", "jul", "juil", "aug", "aou", "aoû"),
    *("sep", "oct", "nov", "dec", "déc"),
)
_DAY_BEFORE = re.compile(rf"{L}{_DAY}(?={MARK['time']})")


def hide_times(text: str, low: str) -> str:
    """Dates and times of day in the spellings of logs, English and French."""
    if any(hint in low for hint in _MONTH_HINTS) and _BEFORE_NUMBER.search(text):
        text = _MONTH_FIRST.sub(MARK["time"], text)
    text = _TIME.sub(MARK["time"], text)
    if MARK["time"] in text:
        text = _DAY_BEFORE.sub("", text)
    return text


# --- quantities -------------------------------------------------------------------------------------------------------------

_CODE = words(
    r"(?:ORA|TNS|PLS|RMAN|CRS|SQL|SQLSTATE|DSN|AMQ|MQRC|WSVR|SRVE|CWWK[A-Z]|JBAS|WFLY[A-Z]*|BEA|CVE|KB|AH)[-_]?\d{3,6}[A-Z]?",
    r"HTTP/\d(?:\.\d)? TLSv?1(?:[._]\d)? (?i:utf-(?:8|16|32)|iso-?8859-\d{1,2}|sha-(?:1|256|384|512)|aes-?(?:128|256))",
)
_CODES = re.compile(rf"{L}(?:{_CODE}){R}")
_CODE_HINTS = (
    *("ora", "tns", "pls", "rman", "crs", "sql", "dsn", "amq", "mqrc", "wsvr", "srve", "cwwk", "jbas", "wfly", "bea", "cve"),
    *("kb", "ah", "http/", "tls", "utf-", "iso", "sha-", "aes"),
)
_NAMES_WITH_DIGITS = frozenset(
    (
        *("log4j", "log4j2", "utf8", "utf16", "x86_64", "amd64", "x64", "win32", "ipv4", "ipv6", "ip4", "ip6", "sha1", "sha256"),
        *("sha384", "sha512", "md5", "base64", "oauth2", "s3", "ec2", "k8s", "i18n", "l10n", "db2", "h2", "h2c", "http2", "c3p0"),
        *("junit4", "junit5", "w3c", "p12", "x509", "rs256", "hs256", "mp3", "mp4", "ssh2", "sslv3", "tlsv1"),
    )
)
_STATUS = re.compile(
    r"""((?:HTTP/\d(?:\.\d)?|(?i:\b(?:status(?:[_ ]?code)?|statut|code(?:[_ ]http)?|http|returned|retourn[ée])))["']?"""
    r"\s{0,2}[=:]?\s{0,2})([1-5])\d\d(?![\d\w.,]*\d)"
)
_STATUS_HINTS = ("http", "status", "statut", "code", "returned", "retourn")
_SIZE = words("[kKMGTP]i?[oOB] [KMGT] bytes? octets? [kKMGT]?[bB](?:ps|/s) B")
_DURATION = words(
    "ns us µs μs ms msecs? s secs? secondes? seconds? milli(?:seconde|second)?s? mins? minutes? h hours? heures? d days? j",
    "jours? m semaines? weeks?",
)
_NUMBER = r"\d+(?:[.,]\d+)*"
_QUANTITY = re.compile(
    rf"\d(?<![{W}].)\d*(?:[.,]\d+)*(?:\s?(?:((?:{_SIZE}){R})|((?:{_DURATION})(?:\s?{_NUMBER}\s?(?:{_DURATION})){{0,3}}{R}))"
    rf"|(?:[eE][+-]?\d+)?%?{R})"
)
_WORD = re.compile(rf"(?<![{W}])[^\W\d]*\d\w*")
_HEXADECIMAL, _DIGITS = re.compile(r"(?:0[xX])?[0-9a-fA-F]+"), re.compile(r"\d+")


def hide_quantities(text: str, low: str) -> str:
    """Everything else that has digits. The first digit of an HTTP status stays, and so do digits of names (`ORA-00600`)."""
    if any(hint in low for hint in _STATUS_HINTS):
        text = _STATUS.sub(lambda found: kept(found[1]) + MARK[f"{int(found[2])}xx"], text)
    if any(hint in low for hint in _CODE_HINTS):
        text = _CODES.sub(lambda found: kept(found[0]), text)
    text = _QUANTITY.sub(_quantity, text)
    return _DIGITS.sub(MARK["num"], _WORD.sub(_word, text)) if _DIGITS.search(text) else text


def _quantity(found: re.Match[str]) -> str:
    return MARK["size" if found[1] else "duration" if found[2] else "num"]


def _word(found: re.Match[str]) -> str:
    """A word with digits in it: an identifier where letters and digits alternate, else a name with a number."""
    word = found[0]
    if word.lower() in _NAMES_WITH_DIGITS:
        return kept(word)
    if word.isdecimal():
        return MARK["num"]
    if (len(word) >= 8 and _HEXADECIMAL.fullmatch(word)) or word[:2] in ("0x", "0X"):
        return MARK["hex"]
    if "_" not in word and (len(word) >= 20 or (len(word) >= 4 and len(_DIGITS.findall(word)) >= 2)):
        return MARK["id"]
    return _DIGITS.sub(MARK["num"], word)
