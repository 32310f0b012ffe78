"""Names of people, and what nobody may see."""

from __future__ import annotations

import re

from collectors.logs.marks import MARK, L, R, W, words

_SECRETS = (
    "password passwd passphrase pass pwd passe mdp motdepasse secret api_key apikey private_key privatekey access_key secret_key"
    " authorization access_token refresh_token auth_token id_token token jeton cookie set_cookie client_secret"
)
_IDS = (
    "phpsessid jsessionid sessionid session_id session sessid sess sid traceid trace_id spanid span_id requestid request_id"
    " correlationid correlation_id transactionid transaction_id req_id reqid"
)
_USERS = (
    "user username user_name userid user_id ruser usr login logon uid utilisateur identifiant compte account accountname"
    " account_name accountid account_id client clientid client_id clientname client_name customer customerid customer_id"
    " customername customer_name owner principal subject first_name firstname last_name lastname full_name fullname surname nom"
    " prenom prénom titulaire beneficiary beneficiaire bénéficiaire email e_mail mail adresse"
)
_KEYS = {
    **dict.fromkeys(_SECRETS.split(), MARK["secret"]),
    **dict.fromkeys(_IDS.split(), MARK["id"]),
    **dict.fromkeys(_USERS.split(), MARK["user"]),
}
_SEPARATOR = re.compile("[=:]")
_VALUE = re.compile(r"""\s{0,3}(?:(?i:bearer|basic|negotiate)\s{1,3})?("[^"]*"|'[^']*'|[^\s"',;&)\]}|]+)""")
_IN_KEY = re.compile(rf"[{W}-]")
_LONGEST_KEY = 24
# What follows "user" in a sentence without being somebody's name.
_NO_NAME = words(
    "not is was has had have are does did do can cannot could will would must may and or of in on to for from with without",
    "by at as the this that an? id name session service agent input data already unknown invalid account group role logged",
    "login created deleted updated added removed found error",
    "non est a pas ne n inconnue? introuvable invalide d[ée]j[àa] de du des la le les et ou en dans sur pour par avec sans au",
    "aux qui que cr[ée]{2}e? supprim[ée]e?",
)
_SENTENCE_HINTS = ("user ", "utilisat", "login ", "account ", "compte ")
_CIVIL_HINTS = ("M.", "Mme", "Mlle", "Mr", "Ms", "Monsieur", "Madame", "Mademoiselle")


_LOGIN_IN_URL = re.compile(r"""(?<=://)[^\s/@"'<>?#]+@""")
_EMAIL = re.compile(rf"(?<![{W}.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)*")
_BEARER = re.compile(rf"(?i:{L}(bearer|basic)\s{{1,3}})[\w.+/=~-]{{8,}}")
_SENTENCE = re.compile(
    rf"(?i:{L}((?:user|utilisateur|utilisatrice|login|account|compte)\s{{1,3}}))"
    rf"""(?!(?i:{_NO_NAME}){R})(["']?)\w[{W}.@\\-]*\2(?<!\.)"""
)
_CIVIL = re.compile(
    rf"{L}((?:M\.|Mme|Mlle|Mr\.?|Mrs\.?|Ms\.?|Monsieur|Madame|Mademoiselle)\s)[A-ZÀ-Þ][\w’'-]*(?:\s[A-ZÀ-Þ][\w’'-]*){{0,2}}"
)
_HOME = re.compile(
    r"""(?i:((?:/home|/users|/export/home|/var/mail|/var/spool/mail|[a-z]:\\(?:users|utilisateurs))[\\/]))[^\\/\s"':;,)\]]+"""
)
_HOME_HINTS = ("/home", "/users", "/mail", ":\\u")


def hide_people(text: str, low: str) -> str:
    """`user=bob`, `bob@example.com`, `/home/bob`, `Mme Martin`, passwords and session ids. `low` is the line in lower case."""
    if "@" in text:
        text = _EMAIL.sub(MARK["email"], _LOGIN_IN_URL.sub(MARK["user"] + "@", text))
    text = _hide_values(text)
    if "bearer" in low or "basic" in low:
        text = _BEARER.sub(rf"\1 {MARK['secret']}", text)
    if _any(_SENTENCE_HINTS, low):
        text = _SENTENCE.sub(rf"\1\2{MARK['user']}\2", text)
    if _any(_CIVIL_HINTS, text):
        text = _CIVIL.sub(rf"\1{MARK['name']}", text)
    if _any(_HOME_HINTS, low):
        text = _HOME.sub(rf"\1{MARK['user']}", text)
    return text


def _any(hints: tuple[str, ...], text: str) -> bool:
    return any(hint in text for hint in hints)


def _hide_values(text: str) -> str:
    """What stands after a telling key: `user=bob`, `"password": "x"`, `Mot de passe : x`."""
    parts, done = [], 0
    for found in _SEPARATOR.finditer(text):
        end = found.start()
        if end < done:
            continue
        while end > done and text[end - 1] in " \"'":
            end -= 1
        start = end
        while start > done and end - start < _LONGEST_KEY and _IN_KEY.match(text, start - 1):
            start -= 1
        mark = _KEYS.get(text[start:end].lower().replace("-", "_"))
        value = _VALUE.match(text, found.end()) if mark is not None else None
        if mark is not None and value is not None:
            quote = value[1][0] if value[1][0] in "\"'" else ""
            parts.append(f"{text[done : value.start(1)]}{quote}{mark}{quote}")
            done = value.end()
    return "".join(parts) + text[done:] if parts else text


# --- what stands in quotes ---------------------------------------------------------------------------------------------

_TOLD = words("msg message error err errmsg reason exception details? cause erreur motif raison libell[ée]")
_REQUEST = re.compile(r"(?:GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS|CONNECT|TRACE) ")
_QUOTES = tuple(
    (
        opening,
        re.compile(rf"(?<![{W}{opening}\\]){opening}([^{opening}{closing}]*){closing}(?![{W}]|\s?:)"),
    )
    for opening, closing in (('"', '"'), ("'", "'"), ("`", "[`']"), ("«", "»"), ("“", "”"), ("‘", "’"))
)
_TELLS = re.compile(rf"(?i:{L}(?:{_TOLD})[\"']?\s?[=:]\s?)$")
_MARKS = frozenset(MARK.values())
_REACH = 20
"""Characters before a quotation in which its key stands."""


def hide_quotations(text: str) -> str:
    """`file "x.txt" missing` → `file "<str>" missing`. Requests and messages (`msg="…"`) stay: they are what the line tells."""
    for opening, pattern in _QUOTES:
        if opening in text:
            text = pattern.sub(_quotation, text)
    return text


def _quotation(found: re.Match[str]) -> str:
    inside, start = found[1], found.start()
    if (
        inside in _MARKS
        or not inside.strip()
        or _REQUEST.match(inside)
        or _TELLS.search(found.string[max(0, start - _REACH) : start])
    ):
        return found[0]
    return f"{found[0][0]}{MARK['str']}{found[0][-1]}"
