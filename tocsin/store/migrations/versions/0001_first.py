"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "watermark",
        sa.Column("component_type", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("pos", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "judge_state",
        sa.Column("component_type", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("component_type", sa.Text, nullable=False),
        sa.Column("component", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("opened", sa.BigInteger, nullable=False),
        sa.Column("last_bad", sa.BigInteger, nullable=False),
        sa.Column("recovered", sa.BigInteger),
        sa.Column("surprise", sa.Double, nullable=False),
        sa.Column("peak", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("anomalies", sa.Text, nullable=False),
        sa.Column("held_by", sa.Text, nullable=False),
    )
    op.create_index("incident_by_phase", "incident", ["phase", "component_type"])
    op.create_index("incident_by_time", "incident", ["since"])
    op.create_table(
        "transition",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("incident", sa.Text, sa.ForeignKey("incident.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("severity", sa.SmallInteger, nullable=False),
        sa.UniqueConstraint("incident", "at", "kind", name="transition_once"),
    )
    op.create_table(
        "desired",
        sa.Column("host", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("component_type", sa.Text, nullable=False),
        sa.Column("code", sa.SmallInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("perf", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("valid_until", sa.BigInteger, nullable=False),
        sa.Column("must_show", sa.SmallInteger),
        sa.Column("next_due_at", sa.Double, nullable=False),
        sa.Column("last_sent_at", sa.Double),
        sa.Column("last_check_time", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("last_seen_code", sa.SmallInteger),
        sa.Column("last_seen_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("error", sa.Text, nullable=False, server_default=sa.text("''")),
    )
    op.create_index("desired_by_due", "desired", ["next_due_at"])
    op.create_index("desired_by_component_type", "desired", ["component_type"])
    op.create_table(
        "model",
        sa.Column("component_type", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("trained_from", sa.BigInteger, nullable=False),
        sa.Column("trained_to", sa.BigInteger, nullable=False),
        sa.Column("span", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
    )
    op.create_index(
        "model_one_active",
        "model",
        ["component_type"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    op.create_table(
        "run",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("outcome", sa.Text, nullable=False, server_default=sa.text("''")),
    )
