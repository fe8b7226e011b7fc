"""The clients that talk to the server under test, on sockets of their own.

`connect` makes one TCP connection and says what came of it (the alphabet is in `outcome`), `session` keeps
one open, `smtp` sends a message, `mail` logs in and fetches. `run` and `adapters` may import this package;
it imports `addresses`, `errors`, `adapters.base` (for names of protocols) and `network.safety`.
Every read has a limit of bytes and of time, no thread is started, and every socket is closed by its owner.
"""
