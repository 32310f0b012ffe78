"""What was told to the sinks beside Centreon."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "told",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("told_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_due_at", sa.Double, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["host", "service"], ["desired.host", "desired.service"], ondelete="CASCADE"),
    )
