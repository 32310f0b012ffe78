"""What holds incidents back, what people say of them, and the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("incident", sa.Column("flapping_since", sa.BigInteger))
    op.add_column("incident", sa.Column("folded", sa.Text, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("incident", sa.Column("behind", sa.Text, nullable=False, server_default=sa.text("''")))
    op.create_table(
        "silence",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("matcher", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("end", sa.BigInteger, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expired_by", sa.Text, nullable=False, server_default=sa.text("''")),
    )
    op.create_index("silence_by_end", "silence", ["end"])
    op.create_table(
        "verdict",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("component_type", sa.Text, nullable=False),
        sa.Column("component", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("author", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("text", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("until", sa.BigInteger),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("detectors", sa.Text, nullable=False),
        sa.Column("model_version", sa.Integer),
    )
    op.create_index("verdict_by_incident", "verdict", ["incident"])
    op.create_index("verdict_by_time", "verdict", ["at"])
    op.create_table(
        "promotion",
        sa.Column("component_type", sa.Text, primary_key=True),
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("rung", sa.Text, nullable=False),
        sa.Column("written", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
    )
    op.create_table(
        "bar",
        sa.Column("budget", sa.Text, primary_key=True),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
    )
    op.create_table(
        "snapshot",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("read_at", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
