"""What a run leaves: the stream of records, and everything that is made from it.

`stream` writes while the run goes on; `summary`, `junit` and `terminal` are made from its records.
"""
