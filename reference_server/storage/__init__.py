"""What the server keeps: one SQL database with configuration, accounts and mail.

`database` owns the connections and the one writer thread; `schema` names the tables; `configuration`,
`accounts`, `mailboxes`, `contents` and `queue` translate between rows and values. Nobody else writes SQL. The
database is the truth: what is in memory is a copy that answers look-ups.
"""
