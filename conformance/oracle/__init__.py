"""What should happen, computed from a `Configuration` alone: an independent second opinion.

Pure. It shares no code with the reference server, with its adapter or with the clients: the range decision is
written twice on purpose, and tests compare the two. `run` may import this package; it imports
`addresses`, `errors`, `adapters.base` and `clients.outcome` only.
"""

from conformance.oracle.connections import ExpectedConnection, expected_connection, expected_listener
from conformance.oracle.deliveries import ExpectedDelivery, expected_delivery
from conformance.oracle.logins import ExpectedLogin, expected_login

__all__ = [
    "ExpectedConnection",
    "ExpectedDelivery",
    "ExpectedLogin",
    "expected_connection",
    "expected_delivery",
    "expected_listener",
    "expected_login",
]
