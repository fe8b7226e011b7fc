"""IMAP4rev1 (RFC 3501): one client's session over `conversation`.

`session` talks; `syntax`, `fetch`, `search`, `message` and `names` are pure: text in, values or text out.
Not Twisted's: its server runs pipelined commands at once, answers CREATE before it is stored, searches
through a reactor, compares bytes with text, ignores partial FETCH, and shows exceptions to the client.
"""
