"""The world that a server under test talks to: the next hop (`smart_host`) and names (`dns_server`).

Real sockets in threads, opened in the network that the calling thread is in, by the rules of
`network.safety`. `behaviour` and `names` are pure: scenarios are written in their words. `run` opens what a
case names.
"""
