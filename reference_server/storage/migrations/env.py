"""What Alembic runs: on the connection, and in the transaction, that `storage.migration` gives it."""

from alembic import context

from reference_server.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
