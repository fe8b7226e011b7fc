"""The text of a message as DATA brings it (RFC 5321 section 4.5.2), block by block. Pure.

Only CR LF . CR LF ends it: with a bare CR or LF anywhere else in its place, two servers could see different
messages (SMTP smuggling). A text with a bare CR or LF is read to its end and refused (section 2.3.8).
"""

from __future__ import annotations

from enum import Enum

from reference_server import limits

_END = b"\r\n.\r\n"


class Fault(Enum):
    """Why a text that came to its end is not taken."""

    BARE_LINE_END = "554 5.6.0 The message has a bare CR or LF (RFC 5321 section 2.3.8)"
    LINE_TOO_LONG = "500 5.5.2 A line of the message is too long (RFC 5321 section 4.5.3.1.6)"
    TOO_BIG = "552 5.3.4 The message is too big"


class DataText:
    """Collects one message: `feed` until `complete`."""

    def __init__(self, limit: int) -> None:
        """``limit``: octets of the message, without the dots of transparency."""
        self.complete = False
        self.fault: Fault | None = None
        self._limit = limit
        self._lines: list[bytes] = []
        self._size = 0
        # As if a line had just ended: a dot in the very first line may be the end.
        self._pending = b"\r\n"

    def feed(self, data: bytes) -> bytes:
        """Take ``data``; return what follows the end of the text (the next commands), else nothing."""
        data = self._pending + data
        end = data.find(_END)
        if end >= 0:
            self.complete = True
            self._take(data[2 : end + 2])
            self._pending = b""
            return data[end + len(_END) :]
        # Keep the unfinished line with the line end before it: the end of the text may be split anywhere.
        last = data.rfind(b"\r\n")
        self._take(data[2 : last + 2])
        self._pending = data[last:]
        if len(self._pending) > limits.SMTP_TEXT_LINE + 8:
            # Too long whatever follows; its last octet may still begin a line end.
            self._fail(Fault.LINE_TOO_LONG)
            self._pending = b"\r\nX" + self._pending[-1:]
        return b""

    def content(self, header: bytes = b"") -> bytes:
        """Return the message, dots removed, after ``header``; only when complete and without fault."""
        return b"".join((header, *self._lines))

    def beginning(self, size: int) -> bytes:
        """Return at least the first ``size`` octets of the message, when it has so many."""
        blocks, taken = [], 0
        for block in self._lines:
            blocks.append(block)
            taken += len(block)
            if taken >= size:
                break
        return b"".join(blocks)

    def _fail(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
        self._lines.clear()

    def _take(self, block: bytes) -> None:
        """Take whole lines."""
        if self.fault is not None or not block:
            return
        if not _lines_end_well(block):
            self._fail(Fault.BARE_LINE_END)
            return
        lines = block.split(b"\r\n")
        # The dot of transparency and the line end do not count here.
        longest = limits.SMTP_TEXT_LINE - 2
        if any(len(line) > longest and len(line) - line.startswith(b".") > longest for line in lines):
            self._fail(Fault.LINE_TOO_LONG)
            return
        block = b"\r\n".join(line[1:] if line[:1] == b"." else line for line in lines)
        self._size += len(block)
        if self._size > self._limit:
            self._fail(Fault.TOO_BIG)
            return
        self._lines.append(block)


def _lines_end_well(block: bytes) -> bool:
    """Say whether every CR is followed by LF and every LF preceded by CR."""
    pairs = block.count(b"\r\n")
    return block.count(b"\r") == pairs and block.count(b"\n") == pairs
