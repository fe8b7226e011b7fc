"""Where scenarios run: on loopback, or in a network namespace of our own.

`modes` enters and describes the mode, `namespace` makes the namespace (Linux), `safety` refuses foreign
addresses outside one, `without_ipv6` takes IPv6 away from a program, `ports` gives port numbers, `processes`
reads the process table. `clients`, `adapters` and `run` may import this package; it imports `addresses` and
`errors` only. Nothing that exists on Linux alone is imported before it is used.
"""
