"""What becomes of a message: may it come in, where does it go, and the way there.

Pure: `router` (at RCPT), `trace`, `next_hop`, `results`, `retry`, `bounce`. With sockets: `resolver` (DNS),
`connect` and `wire` (one connection), `smtp_client` (one session), `relay` (every address until one takes the
message), `queue_worker` (what is due). `protocols` calls the first two, `server` makes the last two.
"""
