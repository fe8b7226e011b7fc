"""Servers under test: the contract (`base`), and what translates it for each server.

`create` is the door: it finds an adapter by the name that the user gave. `reference` is the one module
here that may import the reference server. Called by `run`; knows neither scenarios nor verdicts.
"""

from conformance.adapters.registry import create

__all__ = ["create"]
