"""The harness: judges the IPv6 behaviour of a mail server, requirement by requirement.

Imports `reference_server` in `adapters.reference` and `selftest` only; `oracle` never does.
"""

__version__ = "0.1.0"
