"""Alembic's directory: how a database of each older version becomes one of this version.

Run by `storage.migration` alone. A revision is never changed once it is released.
"""
