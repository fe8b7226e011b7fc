"""Deliberately broken servers: the reference server with one fault, which scenarios must catch.

A fault is applied from outside, to the running server's process; the server's own code knows nothing of it.
May import `reference_server`; is imported by `adapters.reference` (the catalogue only) and the command line.
"""
