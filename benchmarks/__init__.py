"""How quick the reference server is, measured from outside, each number beside its limit.

``python -m benchmarks`` prints the table. Works on loopback alone, in a directory of its own.
"""
