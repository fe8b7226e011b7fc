"""Incoming sockets and the decision at the door.

`server` alone calls in here. `gate` owns the listening sockets, `sessions` the clients that were let in;
`admission` and `ip_ranges` decide, purely; `os_ipv6` asks the system once; `tls` reads certificates.
Nothing here knows what is said to a client: `protocols.open_session` is handed in.
"""
