"""What a line loses before anybody looks at it: what varies, and whom it is about."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.logs.learn import understood
from collectors.logs.marks import NAMES
from collectors.logs.mask import mask
from collectors.logs.text import harmless

MASKED = [
    # people
    ("user=alice logged in", "user=<user> logged in"),
    ('{"user": "alice", "n": 1}', '{"user": "<user>", "n": <num>}'),
    ("login: jdupont refusé", "login: <user> refusé"),
    ("Utilisateur : dupont", "Utilisateur : <user>"),
    ("Failed password for user root from host", "Failed password for user <user> from host"),
    ("utilisateur jean.dupont introuvable", "utilisateur <user> introuvable"),
    ("user not found", "user not found"),
    ("l'utilisateur est inconnu", "l'utilisateur est inconnu"),
    ("Mme Martin et M. Jean Dupont", "Mme <name> et M. <name>"),
    ("mail to jean.dupont+x@banque.example.fr sent", "mail to <email> sent"),
    ("postgres://app:s3cret@db.local/x failed", "postgres://<user>@db.local/x failed"),
    ("open /home/alice/x.log and C:\\Users\\bob\\x", "open /home/<user>/x.log and C:\\Users\\<user>\\x"),
    ("password=hunter2 retry", "password=<secret> retry"),
    ("Mot de passe : Secret!", "Mot de passe : <secret>"),
    ("Authorization: Bearer abcdef.123-x", "Authorization: Bearer <secret>"),
    ("JSESSIONID=0A1B2C3D; path", "JSESSIONID=<id>; path"),
    ("nom=Dupont, prénom=Jean", "nom=<user>, prénom=<user>"),
    # accounts
    ("IBAN FR7630006000011234567890189 ok", "IBAN <iban> ok"),
    ("IBAN FR76 3000 6000 0112 3456 7890 189 ok", "IBAN <iban> ok"),
    ("DE89370400440532013000", "<iban>"),
    ("card 4111 1111 1111 1111 declined", "card <card> declined"),
    ("carte 4970101234567893.", "carte <card>."),
    ("order 4111111111111112", "order <num>"),
    ("NIR 1 85 05 78 006 084 36", "NIR <nir>"),
    ("NIR 285052A00608436", "NIR <nir>"),
    ("tel 06 12 34 56 78", "tel <phone>"),
    ("tel +33 6.12.34.56.78", "tel <phone>"),
    ("tel 0033612345678", "tel <phone>"),
    ("call +49 30 1234 5678", "call <phone>"),
    # machines and requests
    ("from 10.1.2.3:443 to 192.168.0.0/16", "from <ip> to <ip>"),
    ("from fe80::1ff:fe23:4567:890a%eth0 and [::1]:8080", "from <ip> and <ip>"),
    ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "<ip>"),
    ("std::vector::push", "std::vector::push"),
    ("mac 00:1a:2b:3c:4d:5e up", "mac <mac> up"),
    ("id 550e8400-e29b-41d4-a716-446655440000", "id <uuid>"),
    ("at 0xdeadbeef in 5b67c48447", "at <hex> in <hex>"),
    ("pod ts-order-6b7d-fj8b7", "pod ts-order-<id>-<id>"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "token <blob>"),
    ("blob QWxhZGRpbjpvcGVuIHNlc2FtZTEyMzQ1Njc4OTA=", "blob <blob>"),
    ("GET /a/b?id=5&name=bob HTTP/1.1", "GET /a/b?<query> HTTP/1.1"),
    ("wrote /tmp/sess_1234.tmp", "wrote /tmp/<tmp>"),
    (
        '10.0.0.1 - bob [12/Jan/2026:10:21:03 +0100] "GET /api HTTP/1.1" 503 1234 "-" "Mozilla"',
        '<ip> - <user> [<time>] "GET /api HTTP/1.1" <5xx> <num> "<str>" "<str>"',
    ),
    ("status=404", "status=<4xx>"),
    ('"status": 200', '"status": <2xx>'),
    ("ORA-00600 then ORA-12541", "ORA-00600 then ORA-12541"),
    ("log4j utf-8 x86_64 sha256", "log4j utf-8 x86_64 sha256"),
    ("web12 vm3", "web<num> vm<num>"),
    # times
    ("2026-01-12T10:21:03.123+01:00 x", "<time> x"),
    ("2026-01-12 10:21:03,123 x", "<time> x"),
    ("2026/01/12 x", "<time> x"),
    ("12/01/2026 10:21 x", "<time> x"),
    ("Jan  2 10:00:00 x", "<time> x"),
    ("[Mon Jan 12 10:21:03.123456 2026] x", "[<time>] x"),
    ("March 3, 2026 10:21:03 PM x", "<time> x"),
    ("Tue, 12 Jan 2026 10:21:03 GMT x", "<time> x"),
    ("lundi 12 janvier 2026 à 10h21 x", "<time> x"),
    ("le 1er mars 2026 à 9h05 x", "le <time> x"),
    ("le 14 août 2026 x", "le <time> x"),
    ("à 10h21min03 x", "à <time> x"),
    ("at 10:21:03.5 x", "at <time> x"),
    # quantities
    ("took 12.5ms", "took <duration>"),
    ("durée 3 secondes", "durée <duration>"),
    ("after 1h30m", "after <duration>"),
    ("read 12.5 MB of 3 Ko", "read <size> of <size>"),
    ("at 12,5% or -3.2e10", "at <num> or -<num>"),
    # quotations
    ("file 'a.txt' and \"b c\"", "file '<str>' and \"<str>\""),
    ("fichier « a.txt » absent", "fichier «<str>» absent"),
    ("n'existe pas dans l'annuaire", "n'existe pas dans l'annuaire"),
    ('level=error msg="cannot connect"', 'level=error msg="cannot connect"'),
]


@pytest.mark.parametrize(("line", "wanted"), MASKED, ids=[line[:40] for line, _ in MASKED])
def test_what_varies_and_whom_it_is_about_is_masked(line: str, wanted: str) -> None:
    assert mask(line) == wanted
    assert mask(wanted) == wanted


WORDS = st.sampled_from(
    [
        *(f"<{name}>" for name in NAMES),
        *(
            "user=",
            "user ",
            "password: ",
            "for ",
            '"',
            "'",
            "`",
            "«",
            "»",
            "“",
            "://",
            "?",
            "=",
            ":",
            "-",
            ".",
            "/",
            "@",
            "h",
            "0x",
            "+33",
        ),
        *(
            "12",
            "2026-01-12",
            "10:21",
            "Jan ",
            "lundi ",
            "mars",
            "12.5ms",
            "1.2.3.4",
            "fe80::1",
            "a1b2c3",
            "FR76",
            "4111 1111 1111 1111",
        ),
        *(
            "/tmp/",
            "/home/",
            "HTTP/1.1 ",
            "status=",
            "ORA-",
            "M. ",
            "Dupont",
            "eyJ",
            "é",
            "٣",
            "é",
            "x" * 33,
            "  ",
            " ",
            "[",
            "]",
            "(",
            "}",
        ),
    ]
)
LINES = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=12).map("".join), st.lists(WORDS, max_size=12).map(" ".join))


@settings(max_examples=300, deadline=None)
@given(LINES)
@example("user=<user>")
@example("0" * 40 + "x")
def test_a_masked_line_is_masked_already(line: str) -> None:
    once = mask(harmless(line, 4096))
    assert mask(once) == once


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_no_digit_survives_but_in_names_with_digits(line: str) -> None:
    masked, _ = understood(line, 4096)
    for word in (
        masked.replace("<1xx>", "").replace("<2xx>", "").replace("<3xx>", "").replace("<4xx>", "").replace("<5xx>", "").split()
    ):
        assert sum(char.isdigit() and char.isdecimal() for char in word) <= 6, word


HOSTILE = [
    *(
        unit * (65_536 // len(unit))
        for unit in ("a", "0", "9 ", "a1", "1a", "-", ":", ".", "=", "@", "a@", "?a", "?a=", "'", '"', "'a' ", "/", "\\")
    ),
    *(
        unit * (65_536 // len(unit))
        for unit in ("user ", "user=", "user='", 'password="', "://", "://a@", "M. A", "Mme ", "FR76 ", "1 85 05 ", "+33 ")
    ),
    *(
        unit * (65_536 // len(unit))
        for unit in (
            "10:",
            "fe80:",
            "::",
            "1.1.",
            "Jan 1",
            "lundi ",
            "12h",
            "1,1",
            "1e",
            "0x",
            "eyJ.",
            "<num>",
            "<",
            "«",
            "HTTP/1.1 ",
        )
    ),
    *(
        unit * (65_536 // len(unit))
        for unit in ("at x.y(", "Caused by: ", "status=", "12 ms", "A" * 31 + " ", "é", "\u0660", "{", "[{", '{"a":')
    ),
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:10]))
def test_a_hostile_line_takes_no_longer_than_its_length(line: str) -> None:
    def seconds(text: str) -> float:
        took = []
        for _ in range(2):
            start = time.thread_time()
            understood(text, 65_536)
            took.append(time.thread_time() - start)
        return min(took)

    # Four times the text in at most a good four times the time: quadratic would be sixteen.
    assert seconds(line) < max(0.05, 9 * seconds(line[: len(line) // 4]))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200), st.integers(200, 400))
def test_text_is_made_harmless_once_and_for_all(text: str, most: int) -> None:
    line = harmless(text, most)
    assert harmless(line, most) == line
    assert len(line.encode()) <= most
    assert all(char.isprintable() for char in line)


def test_control_characters_and_colours_are_taken_out() -> None:
    assert harmless("\x1b[31mred\x1b[0m\x00 a\tb\u202egpj.exe\r\nnext", 200) == "red a b gpj.exe | next"


def test_half_characters_and_private_ones_cannot_pose_as_marks() -> None:
    assert harmless("a\udc80b\ue000c", 200) == "a b c"


@pytest.mark.parametrize(
    ("text", "message", "level"),
    [
        ('{"log":"20:00:36.278 INFO pay ok\\n","stream":"stdout"}', "<time> INFO pay ok", "info"),
        ('{"level":"error","message":"cannot connect","user":"bob"}', "cannot connect", "error"),
        ('{"log.level":"WARN","message":"x"}', "x", "warning"),
        ('{"log":{"level":"warn"},"message":"x"}', "x", "warning"),
        ('{"level":50,"msg":"x"}', "x", "error"),
        ('{"message":"x","error":{"type":"java.io.IOException"}}', "x [java.io.IOException]", "error"),
        ("[" * 20_000, None, "unknown"),
        ('{"a":' * 20_000, None, "unknown"),
        ('{"message":' + "9" * 5000 + "}", None, "unknown"),
        ("", "", "unknown"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_an_entry_in_json_tells(text: str, message: str | None, level: str) -> None:
    masked, told = understood(text, 4096)
    assert told == level
    assert message is None or masked == message
