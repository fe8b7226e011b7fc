"""Runs one case: prepares the server under test, does the steps, and returns the record with its judgements.

`plugin` alone calls it. May import `adapters.base`, `clients`, `network`, `oracle`, `scenario` and `verdict`.
"""
