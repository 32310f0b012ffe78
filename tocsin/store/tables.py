"""The tables of the state database, the same on SQLite and PostgreSQL.

A change here needs a file in `migrations/versions` that does it to the databases there are, and its number in `HEAD`; a
test compares what the migrations make with what is written here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0003"
"""The newest migration."""


class Words(TypeDecorator[str]):
    """Text from outside. What no database can keep (NUL, half a surrogate pair) becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else keepable(value)


def keepable(text: str) -> str:
    """The text as every database can keep it."""
    if text.isascii() and "\x00" not in text:
        return text
    return "".join("\ufffd" if character == "\x00" or "\ud800" <= character <= "\udfff" else character for character in text)


metadata = MetaData()

watermark = Table(
    "watermark",
    metadata,
    Column("component_type", Words, primary_key=True),
    Column("source", Words, primary_key=True),
    Column("pos", BigInteger, nullable=False),
)

judge_state = Table(
    "judge_state",
    metadata,
    Column("component_type", Words, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

incident = Table(
    "incident",
    metadata,
    Column("id", Words, primary_key=True),
    Column("component_type", Words, nullable=False),
    Column("component", Words, nullable=False),
    Column("signature", Words, nullable=False),
    Column("phase", Words, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("last_bad", BigInteger, nullable=False),
    Column("recovered", BigInteger),
    Column("surprise", Double, nullable=False),
    Column("peak", Double, nullable=False),
    Column("version", Integer, nullable=False),
    Column("anomalies", Text, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("flapping_since", BigInteger),
    Column("folded", Text, nullable=False, server_default=text("'[]'")),
    Column("behind", Words, nullable=False, server_default=text("''")),
    Index("incident_by_phase", "phase", "component_type"),
    Index("incident_by_time", "since"),
)

transition = Table(
    "transition",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("incident", Words, ForeignKey("incident.id", ondelete="CASCADE"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("severity", SmallInteger, nullable=False),
    UniqueConstraint("incident", "at", "kind", name="transition_once"),
)

desired = Table(
    "desired",
    metadata,
    Column("host", Words, primary_key=True),
    Column("service", Words, primary_key=True),
    # the tick's columns
    Column("component_type", Words, nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("text", Words, nullable=False),
    Column("perf", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
    # both write these: a tick with a new version, delivery while the version is the one it knows
    Column("must_show", SmallInteger),
    Column("next_due_at", Double, nullable=False),
    # delivery's columns
    Column("last_sent_at", Double),
    Column("last_check_time", BigInteger, nullable=False, server_default=text("0")),
    Column("last_seen_code", SmallInteger),
    Column("last_seen_at", Double),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error", Words, nullable=False, server_default=text("''")),
    Index("desired_by_due", "next_due_at"),
    Index("desired_by_component_type", "component_type"),
)

told = Table(
    "told",
    metadata,
    Column("sink", Words, primary_key=True),
    Column("host", Words, primary_key=True),
    Column("service", Words, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("told_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("next_due_at", Double, nullable=False),
    Column("error", Words, nullable=False),
    ForeignKeyConstraint(["host", "service"], ["desired.host", "desired.service"], ondelete="CASCADE"),
)

model = Table(
    "model",
    metadata,
    Column("component_type", Words, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("path", Words, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("trained_from", BigInteger, nullable=False),
    Column("trained_to", BigInteger, nullable=False),
    Column("span", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("facts", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Index("model_one_active", "component_type", unique=True, sqlite_where=text("active"), postgresql_where=text("active")),
)

run = Table(
    "run",
    metadata,
    Column("job", Words, primary_key=True),
    Column("period", Words, primary_key=True),
    Column("claimed_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("outcome", Words, nullable=False, server_default=text("''")),
)

# --- what people decide and say ---------------------------------------------------------------------------------------

silence = Table(
    "silence",
    metadata,
    Column("id", Words, primary_key=True),
    Column("matcher", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("author", Words, nullable=False),
    Column("comment", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expired_by", Words, nullable=False, server_default=text("''")),
    Index("silence_by_end", "end"),
)

verdict = Table(
    "verdict",
    metadata,
    Column("id", Words, primary_key=True),
    Column("incident", Words, nullable=False),
    Column("component_type", Words, nullable=False),
    Column("component", Words, nullable=False),
    Column("verdict", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("author", Words, nullable=False, server_default=text("''")),
    Column("text", Words, nullable=False, server_default=text("''")),
    Column("until", BigInteger),
    Column("severity", SmallInteger, nullable=False),
    Column("detectors", Text, nullable=False),
    Column("model_version", Integer),
    Index("verdict_by_incident", "incident"),
    Index("verdict_by_time", "at"),
)

promotion = Table(
    "promotion",
    metadata,
    Column("component_type", Words, primary_key=True),
    Column("component", Words, primary_key=True),
    Column("rung", Words, nullable=False),
    Column("written", Words, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("figures", Text, nullable=False),
)

bar = Table(
    "bar",
    metadata,
    Column("budget", Words, primary_key=True),
    Column("value", Double, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Words, nullable=False),
    Column("used", Integer, nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("name", Words, primary_key=True),
    Column("read_at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Words, nullable=False),
    Column("digest", Text, nullable=False),
)
