"""``conformance doctor``: what this machine can do for a run, what is missing, and how to get it.

`examination` asks, `causes` says why there is no namespace, `trial` tries what only a namespace shows, `show`
prints, `command` is all of it. Nothing is changed on the machine. The JSON of ``--json`` is a promise to
scripts:

``schema``
    1.
``mode``
    "namespace" or "loopback": what ``conformance run`` takes here with ``--network auto``.
``reason``
    Why it is that mode, in one line.
``checks``
    A list of ``{id, state, found, means, remedy}``, all texts. ``state``: "ok", "limited" (it works in part,
    or is optional) or "missing". ``means``: what it is good for, or what goes without it. ``remedy``: "" when
    nothing is to be done; else lines, of which those that begin with two blanks are commands or settings.
``cases``
    ``{total, runnable}``: of the built-in cases, how many this machine can run. What the server under test
    does not support is another matter.
"""
