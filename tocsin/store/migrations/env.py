"""Run by alembic: the connection is ours, and so is the transaction."""

from __future__ import annotations

from alembic import context

from tocsin.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
