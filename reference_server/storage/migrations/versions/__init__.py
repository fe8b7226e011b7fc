"""The revisions, oldest first. None of them uses `storage.schema`: that is the schema of today."""
