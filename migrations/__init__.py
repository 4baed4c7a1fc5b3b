"""The schema's history, run by alembic; `penstock migrate` brings a database to its head."""
