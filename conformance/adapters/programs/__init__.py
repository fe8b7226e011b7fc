"""Adapter programs of the ``exec:`` contract, run with ``python -m``; `serve` is their common loop.

They show how an adapter for another server is written. May import `adapters` and `network`, nothing else
of the harness.
"""
