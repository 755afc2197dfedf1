"""How Alembic reaches the database: over the connection `trunkline.store.database` hands it, in its transaction."""

from alembic import context

from trunkline.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
