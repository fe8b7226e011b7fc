"""Kills the reference server again and again under load, and accounts for every message afterwards.

``python -m torture`` (``tox -e torture``) prints a summary; exit code 1 when mail was lost, or came twice for
no reason. Works on loopback alone, in a directory of its own. Judges what the server did from outside: what
clients were told, what the recording smart host took, what lies in the mailboxes, and the server's log.
"""
