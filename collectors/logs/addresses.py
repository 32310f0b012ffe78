"""Addresses and identifiers of machines, requests and accounts."""

from __future__ import annotations

import ipaddress
import re

from collectors.logs.marks import MARK, MARKS, L, R, W

_JWT = re.compile(rf"{L}eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_BLOB = re.compile(rf"(?<![{W}+/=-])[A-Za-z0-9+/_-]{{32,}}={{0,2}}(?![{W}+/=-])")
_UUID = re.compile(rf"[0-9a-fA-F]{{8}}(?<![{W}].{{8}})(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{R}")
_MAC = re.compile(rf"[0-9a-fA-F]{{2}}(?<![{W}]..)([:-])(?:[0-9a-fA-F]{{2}}\1){{4}}[0-9a-fA-F]{{2}}{R}")
_IPV4 = re.compile(rf"\d(?<![{W}.].)\d{{0,2}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?(?:/\d{{1,2}})?(?![{W}]|\.\d)")
_IPV6 = re.compile(rf"\[?(?<![{W}:.])([0-9a-fA-F]{{0,4}}:[0-9a-fA-F:.]*:[0-9a-fA-F.]*)(?:%\w+)?(?:\]:\d{{1,5}})?(?![{W}:])")
_WHO = re.compile(rf"({MARK['ip']} [^\s\[\]{MARKS}]+ )(?!- )[^\s\[\]{MARKS}]+(?= \[)")
_QUERY = re.compile(rf"""(?<=[{W}/.)\]}}-])\?[^\s"'<>?={MARKS}]*=[^\s"'<>]*""")
_TEMPORARY = re.compile(r"""((?:/var|/private)?/tmp/)[^\s"':;,)\]]+""")

_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){8}")
_IBAN = re.compile(rf"[A-Z]{{2}}\d\d(?<![{W}]....)(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?{R}")
_NIR = re.compile(rf"[12](?<![{W}].) ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{{3}} ?\d{{3}}(?: ?\d\d)?{R}")
_CARD = re.compile(rf"\d(?<![{W}].)(?:[ -]?\d){{12,18}}{R}")
_FRENCH = re.compile(rf"(?<![{W}+.])(?:\+33|0033|0)[ .-]?(?:\(0\))?[1-9](?:[ .-]?\d\d){{4}}{R}")
_ABROAD = re.compile(rf"\+(?<![{W}].)\d{{1,3}}[ .-]?(?:\(\d{{1,4}}\)[ .-]?)?\d{{1,4}}(?:[ .-]?\d{{2,4}}){{2,4}}{R}")


def hide_blobs(text: str) -> str:
    """Tokens and encoded data: before quotations, which may hold them."""
    if "eyJ" in text:
        text = _JWT.sub(MARK["blob"], text)
    if any(len(word) >= 32 for word in text.split()):
        text = _BLOB.sub(_blob, text)
    return text


def hide_addresses(text: str) -> str:
    """UUIDs, MAC and IP addresses, who asked a web server, queries of URLs, temporary files."""
    dashes, colons = text.count("-"), text.count(":")
    if dashes >= 4:
        text = _UUID.sub(MARK["uuid"], text)
    if dashes >= 5 or colons >= 5:
        text = _MAC.sub(MARK["mac"], text)
    if text.count(".") >= 3:
        text = _IPV4.sub(MARK["ip"], text)
    if colons >= 7 or "::" in text:
        text = _IPV6.sub(_ipv6, text)
    if " [" in text and MARK["ip"] in text:
        text = _WHO.sub(rf"\1{MARK['user']}", text)
    if "?" in text:
        text = _QUERY.sub("?" + MARK["query"], text)
    if "/tmp/" in text:  # noqa: S108
        text = _TEMPORARY.sub(rf"\1{MARK['tmp']}", text)
    return text


def hide_accounts(text: str) -> str:
    """Numbers that belong to somebody. Check digits tell bank accounts and cards from other long numbers."""
    text = _IBAN.sub(_iban, text)
    long = _LONG_NUMBER.search(text) is not None
    if long or "2A" in text or "2B" in text:  # born in Corsica
        text = _NIR.sub(MARK["nir"], text)
    if long:
        text = _CARD.sub(_card, text)
        text = _FRENCH.sub(MARK["phone"], text)
        if "+" in text:
            text = _ABROAD.sub(MARK["phone"], text)
    return text


def _blob(found: re.Match[str]) -> str:
    text = found[0]
    shapes = any(char.isdecimal() for char in text) + any(char.islower() for char in text) + any(char.isupper() for char in text)
    seams = text.count("/") + text.count("-") + text.count("_")
    return MARK["blob"] if shapes == 3 and seams <= len(text) // 10 else text


def _ipv6(found: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(found[1])
    except ValueError:
        return found[0]
    return MARK["ip"]


def _iban(found: re.Match[str]) -> str:
    text = found[0].replace(" ", "")
    if not (15 <= len(text) <= 34 and text.isascii()):
        return found[0]
    number = int("".join(str(int(char, 36)) for char in text[4:] + text[:4]))
    return MARK["iban"] if number % 97 == 1 else found[0]


def _card(found: re.Match[str]) -> str:
    """By Luhn's check digit."""
    total = 0
    for place, digit in enumerate(reversed([char for char in found[0] if char.isdecimal()])):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return found[0] if total % 10 else MARK["card"]
