"""Every cap of the server, with its RFC section or its reason. Times in seconds, sizes in octets."""

from __future__ import annotations

# --- Listening (listening/) ---------------------------------------------------------------------------

BACKLOG = 1024
"""Connections that the kernel completes before we accept them (it may cap this: net.core.somaxconn)."""

ACCEPT_BATCH = 64
"""Clients accepted from one listener before the loop serves the others."""

ACCEPT_PAUSE = 0.25
"""How long a listener waits when the system lacks descriptors or memory, unless a session ends before."""

COMPLAINT_EVERY = 60.0
"""A want of descriptors or memory is logged so often at most, however long it lasts."""

RESERVED_DESCRIPTORS = 64
"""Kept back from clients: for the database, the administration and files."""

# --- Starting and stopping (server) -------------------------------------------------------------------

STOP_GRACE = 8.0
"""For the commands and messages that are running when the server stops; then they are cut off. Below
the 10 s after which container engines kill what does not stop (systemd: 90 s)."""

ABORT_GRACE = 1.0
"""For sessions that were cut off to notice it."""

REINITIALIZE_GRACE = 0.05
"""Between the end of the old services and the start of the new ones: idle sessions leave within it, a running
command goes on beside the new services until it is done, or STOP_GRACE is over."""

RANGES_LOOK = 3600.0
"""The table of IP ranges is looked at so often, at least, for expired ones: clocks may be set."""

# --- Conversations (protocols/) -----------------------------------------------------------------------

INPUT_HIGH = 256 * 1024
"""Unread input of one client above which its socket is no longer read."""

OUTPUT_SLICE = 64 * 1024
"""Long answers are written in slices of this size, each waiting for the client to keep up."""

WRITE_TIMEOUT = 120.0
"""A client that takes none of our bytes for so long is cut off."""

CLOSE_TIMEOUT = 5.0
"""How long the last bytes and the TLS close may take before the connection is aborted."""

TLS_HANDSHAKE_TIMEOUT = 30.0
"""From STARTTLS, STLS to the end of the handshake."""

LOGIN_ATTEMPTS = 5
"""Failed logins of one session; then it ends (the RFCs leave the number open)."""

BAD_COMMANDS = 20
"""Commands answered with an error of syntax or order before a session ends (RFC 5321 section 4.3.2: 421)."""

IN_LOOP_OCTETS = 256 * 1024
"""A message above this size is parsed and searched in a thread: the loop serves the others meanwhile."""

# --- SMTP ---------------------------------------------------------------------------------------------

SMTP_COMMAND_LINE = 512
"""RFC 5321 section 4.5.3.1.4, with the CRLF."""

SMTP_EXTENDED_COMMAND_LINE = 1024
"""MAIL and RCPT with the parameters that extensions add (RFC 1870, 6152, 4954: together below 600)."""

SMTP_AUTH_LINE = 12288
"""RFC 4954 section 4, with the CRLF."""

SMTP_LOCAL_PART = 64
"""RFC 5321 section 4.5.3.1.1."""

SMTP_DOMAIN = 255
"""RFC 5321 section 4.5.3.1.2."""

SMTP_PATH = 256
"""RFC 5321 section 4.5.3.1.3, with the angle brackets."""

SMTP_TEXT_LINE = 1000
"""RFC 5321 section 4.5.3.1.6, with the CRLF, without the dot of transparency."""

SMTP_RECIPIENTS = 1000
"""Per transaction; RFC 5321 section 4.5.3.1.8 wants at least 100."""

SMTP_MESSAGE_WITHOUT_LIMIT = 256 * 1024 * 1024
"""What one session may hold in memory when the settings name no maximum size."""

SMTP_HOPS = 100
"""Received fields above which a message loops (RFC 5321 section 6.3)."""

SMTP_COMMAND_TIMEOUT = 300.0
"""RFC 5321 section 4.5.3.2.7: at least 5 minutes for the next command, and for the next block of data."""

# --- Outgoing mail (delivery/) ------------------------------------------------------------------------

QUEUE_LEASE = 6 * 3600.0
"""How long a message stays with a process that is not heard of any more. Longer than one try may take: each
address has the time-outs below. A process that starts takes back the leases of its predecessor at once."""

QUEUE_LOOK = 300.0
"""The queue is looked at so often, at least, for what is due: clocks may be set."""

QUEUE_MESSAGES = 100
"""Messages that are being sent at a time, those included that wait for a connection."""

QUEUE_SMALL = 64 * 1024
"""A message up to this size is read together with others; so many times QUEUE_MESSAGES are held at most."""

QUEUE_RETRY = 1.0
"""Between two attempts to keep what became of a message, when the database does not take it."""

OUT_DELIVERIES = 200
"""Transactions that are under way at a time, to whomever."""

OUT_CONNECTIONS = 20
"""Connections to one next hop at a time."""

OUT_KEPT_IDLE = 2.0
"""A connection to a next hop is kept for so long for the mail that comes next, then ended with QUIT."""

OUT_MESSAGES = 100
"""Messages over one connection; then a new one is made, perhaps to another of the next hop's addresses."""

OUT_RECIPIENTS = 100
"""In one transaction (RFC 5321 section 4.5.3.1.8: every server takes 100)."""

OUT_ADDRESSES = 20
"""Addresses of one next hop that are tried in one attempt (RFC 5321 section 5.1: at least two)."""

OUT_HEAD_START = 2.0
"""How long an address may be silent before the next one is tried beside it (RFC 8305 section 5; longer than
the 0.25 s there, since the order of the addresses is a setting here)."""

OUT_CONNECT = 30.0
"""For one address to accept the connection. The system itself would try for some two minutes."""

OUT_GREETING = 300.0
"""RFC 5321 section 4.5.3.2.1."""

OUT_COMMAND = 300.0
"""MAIL and RCPT: RFC 5321 section 4.5.3.2.2 and 3; EHLO, STARTTLS and AUTH, which it leaves open, as well."""

OUT_DATA_INITIATION = 120.0
"""RFC 5321 section 4.5.3.2.4."""

OUT_DATA_BLOCK = 180.0
"""RFC 5321 section 4.5.3.2.5."""

OUT_DATA_TERMINATION = 600.0
"""RFC 5321 section 4.5.3.2.6."""

OUT_QUIT = 5.0
"""For the answer to QUIT, and for the close: nothing depends on it any more."""

OUT_REPLY_LINE = 4096
"""RFC 5321 section 4.5.3.1.5 says 512; some servers say more."""

OUT_REPLY_LINES = 200
"""Lines of one reply."""

OUT_BLOCK = 64 * 1024
"""Octets of a message that are written before the next hop has to keep up."""

DNS_TIME = 20.0
"""For the answer to one question, all servers and repetitions included."""

DNS_CNAMES = 10
"""CNAMEs that are followed from one name to its records (the documented server's number)."""

REPORT_OCTETS = 64 * 1024
"""A message up to this size is returned whole with the report, of a bigger one the header."""

REPORT_HEADER = 32 * 1024
"""Of a header so much is returned."""

# --- POP3 and IMAP ------------------------------------------------------------------------------------

POP3_COMMAND_LINE = 512
"""RFC 2449 section 4 says 255 with the CRLF; long passwords need more."""

POP3_IDLE_TIMEOUT = 600.0
"""RFC 1939 section 3: at least 10 minutes."""

IMAP_COMMAND = 64 * 1024
"""One command with its literals, the message of APPEND not counted (RFC 7162 section 4: 8192 at least)."""

IMAP_LOGIN_TIMEOUT = 180.0
"""Before authentication; RFC 3501 section 5.4 speaks of the time after it."""

IMAP_IDLE_TIMEOUT = 1800.0
"""RFC 3501 section 5.4: at least 30 minutes."""

IMAP_NESTING = 50
"""Parentheses in a command."""

MAILBOX_NAME = 250
"""Characters of an IMAP mailbox name: it must fit the database's column."""

MIME_NESTING = 20
"""Parts within parts; deeper ones are opaque."""

MIME_PARTS = 1000
"""Parts of one message; the rest is opaque."""

# --- Listening ----------------------------------------------------------------------------------------

LISTEN_BACKLOG = 1024
"""Connections that the kernel keeps for us while the loop is busy; the kernel's own limit may be lower."""

ACCEPT_BATCH = 64
"""Connections taken from one listener before others have their turn."""

ACCEPT_PAUSE = 0.1
"""Wait after the system ran out of descriptors or memory, unless a session ends before."""

SHUTDOWN_TIMEOUT = 10.0
"""How long running commands and messages may take to finish when the server stops or starts anew."""
