"""Administration: what an administrator can do, and how it is reached.

`operations` has every verb once: it validates (`checks`), writes to the database, updates what is in
memory, and tells the running server. `api` is the HTTP contract over it, `http` serves that on sockets of
its own. `api` and `records` import FastAPI and pydantic, which take long to load: they are imported by
`http.build_app` alone, when the listeners are open.
"""
