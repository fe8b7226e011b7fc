"""A small, honest mail server that does what the IPv6 page says: SMTP, POP3, IMAP, administration.

`server.py` wires everything; decisions are pure (`listening.admission`, `listening.ip_ranges`,
`delivery.router`, `delivery.next_hop`, `delivery.retry`); sockets live in `listening` and `delivery` alone.
Knows nothing of `conformance`.
"""

__version__ = "0.1.0"
