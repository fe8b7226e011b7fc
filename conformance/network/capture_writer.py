"""The program that writes captured packets to files, in a process of its own. Standard library only.

Its one argument is the descriptor of a Unix SOCK_SEQPACKET socket, over which its owner (`capture.Recorder`)
sends JSON objects and gets answers. The owner alone asks the kernel how many packets have come, so that a
file begins and ends with what it does at that moment, however late this program learns of it. A first answer,
``{}``, says that the program has started. Orders:

``{"begin": file, "after": n, "ring": null | {"blocks": n, "block_size": bytes, "lasting": bool}}``
    Record what comes after the ``n``-th packet; with a ring comes its socket, else it is the lasting one.
``{"end": keep, "until": n, "lost": n}``
    Answered when everything up to the ``n``-th packet is in the file, or the file is gone:
    ``{"path": file or "", "packets": n, "error": text}``.

The program ends with its owner, and keeps the file that it has begun: it shows what a killed owner did last.

Files are classic pcap with nanoseconds and LINKTYPE_RAW: every packet begins with its IP header.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any

MAX_PACKETS = 250_000
MAX_BYTES = 64_000_000
"""The most that one file holds."""
INCOMPLETE = ".incomplete"
"""Stands before the suffix of a file that does not hold everything: a limit was met, or packets were lost."""
SNAPLEN = 262_144
LINKTYPE_RAW = 101
FILE_HEADER = struct.pack("=IHHiIII", 0xA1B2_3C4D, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW)

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_PR_SET_PDEATHSIG = 1
_DRAIN_LIMIT_MS = 5_000
# linux/if_packet.h: struct tpacket_block_desc, the start of struct tpacket3_hdr, struct tpacket_stats_v3
_STATUS_AT, _BLOCK = 8, struct.Struct("=III")  # block_status, num_pkts, offset_to_first_pkt
_TO_USER = 1
_PACKET = struct.Struct("=IIIIIIHH")  # next_offset, sec, nsec, snaplen, len, status, mac, net
_RECORD = struct.Struct("=IIII")
_STATISTICS = struct.Struct("=III")  # packets with those that were dropped, dropped, freezes


class OwnerGone(Exception):  # noqa: N818 - how this program ends
    """The owner has ended."""


class Ring:
    """A packet socket's memory, which it shares with the kernel (TPACKET_V3)."""

    def __init__(self, sock: socket.socket, blocks: int, block_size: int) -> None:
        self.socket = sock
        self.taken = 0
        """Packets that were taken out, or passed over, since the ring was made."""
        self._memory = mmap.mmap(sock.fileno(), blocks * block_size)
        self._size = block_size
        self._blocks = blocks
        self._next = 0

    def take(self, after: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield seconds, nanoseconds, length and bytes of what the kernel has handed over after a number."""
        while (found := self._handed_over()) is not None:
            at, packets = found
            for number in range(self.taken, self.taken + packets):
                following, sec, nsec, kept, length, _status, start, _net = _PACKET.unpack_from(
                    self._memory, at
                )
                if number >= after:
                    yield sec, nsec, length, self._memory[at + start : at + start + kept]
                at += following
            self._give_back(packets)

    def ready(self) -> int:
        """Return how many blocks the kernel has handed over."""
        for number in range(self._blocks):
            block = (self._next + number) % self._blocks * self._size
            if not _BLOCK.unpack_from(self._memory, block + _STATUS_AT)[0] & _TO_USER:
                return number
        return self._blocks

    def pass_over(self, blocks: int) -> None:
        """Give back blocks that the kernel has handed over."""
        for _ in range(blocks):
            found = self._handed_over()
            if found is not None:
                self._give_back(found[1])

    def _handed_over(self) -> tuple[int, int] | None:
        """Return where the first packet of the next block is, and how many there are."""
        block = self._next * self._size
        status, packets, offset = _BLOCK.unpack_from(self._memory, block + _STATUS_AT)
        return (block + offset, packets) if status & _TO_USER else None

    def _give_back(self, packets: int) -> None:
        self.taken += packets
        struct.pack_into("=I", self._memory, self._next * self._size + _STATUS_AT, 0)
        self._next = (self._next + 1) % self._blocks

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        self.socket.close()


def statistics(sock: socket.socket) -> tuple[int, int]:
    """Return how many packets found room since this was asked last, and how many did not."""
    octets = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    packets, dropped, _freezes = _STATISTICS.unpack(octets)
    return packets - dropped, dropped


class Recording:
    """One file. A disk that is full ends the recording, never this program."""

    def __init__(self, path: str, after: int, *, packets: int = MAX_PACKETS, octets: int = MAX_BYTES) -> None:
        self.path = path
        self.after = after
        self.packets = 0
        self.error = ""
        self.incomplete = False
        self._room = octets - len(FILE_HEADER)
        self._max_packets = packets
        self._file = -1
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - this program starts fast
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._write(FILE_HEADER)
        except OSError as error:
            self.error = str(error)

    def take(self, ring: Ring) -> None:
        """Write what the kernel has handed over."""
        if self.error or self.incomplete:
            ring.pass_over(ring.ready())
            return
        parts: list[bytes] = []
        for sec, nsec, length, octets in ring.take(self.after):
            self._room -= _RECORD.size + len(octets)
            if self.packets == self._max_packets or self._room < 0:
                self.incomplete = True
                continue
            self.packets += 1
            parts += (_RECORD.pack(sec, nsec, len(octets), length), octets)
        try:
            self._write(b"".join(parts))
        except OSError as error:
            self.error = str(error)

    def _write(self, octets: bytes) -> None:
        remaining = memoryview(octets)
        while remaining:
            remaining = remaining[os.write(self._file, remaining) :]

    def end(self, *, keep: bool) -> dict[str, Any]:
        """Finish; return the answer to the owner."""
        path = ""
        if self._file >= 0:
            os.close(self._file)
            if keep and not self.error:
                path = self._named()
            else:
                os.unlink(self.path)  # noqa: PTH108
        return {"path": path, "packets": self.packets, "error": self.error}

    def _named(self) -> str:
        if not self.incomplete:
            return self.path
        stem, suffix = os.path.splitext(self.path)  # noqa: PTH122
        named = f"{stem}{INCOMPLETE}{suffix}"
        os.rename(self.path, named)  # noqa: PTH104
        return named


class Writer:
    """Does what the owner says, until the owner is gone."""

    def __init__(self, control: socket.socket, gone: int) -> None:
        """``gone``: a descriptor that becomes readable when the owner has ended."""
        self._control = control
        self._gone = gone
        self._recording: Recording | None = None
        self._lasting: Ring | None = None
        self._own: Ring | None = None
        """Of this recording alone: its namespace goes with it."""

    def run(self) -> None:
        """Work; returns when the owner has ended."""
        with contextlib.suppress(OwnerGone, ConnectionError):
            self._control.send(b"{}")
            while True:
                self._wait()
        ring = self._ring
        if self._recording is not None and ring is not None:
            came, lost = statistics(ring.socket)
            self._drain(self._recording.after + came, lost)
            self._recording.end(keep=True)

    @property
    def _ring(self) -> Ring | None:
        return self._own or self._lasting

    def _wait(self) -> None:
        orders, everything = select.poll(), select.poll()
        for poll in (orders, everything):
            poll.register(self._control, select.POLLIN)
            poll.register(self._gone, select.POLLIN)
        rings = [ring for ring in (self._own, self._lasting) if ring is not None]
        for ring in rings:
            everything.register(ring.socket, select.POLLIN)
        everything.poll()
        if self._recording is not None:
            used = rings.pop(0)
            self._recording.take(used)
        # What came after an order to begin is wanted: an order that was there before them is obeyed first.
        nobodys = [(ring, ring.ready()) for ring in rings]
        waiting = {descriptor for descriptor, _event in orders.poll(0)}
        if self._control.fileno() in waiting:
            self._obey()
        elif waiting:
            raise OwnerGone
        else:
            for ring, blocks in nobodys:
                ring.pass_over(blocks)

    def _obey(self) -> None:
        octets, descriptors, _flags, _address = socket.recv_fds(self._control, 65_536, 1)
        if not octets:
            raise OwnerGone
        order = json.loads(octets)
        if "begin" in order:
            self._finish(keep=False)
            if order["ring"]:
                sock = socket.socket(fileno=descriptors[0])
                ring = Ring(sock, order["ring"]["blocks"], order["ring"]["block_size"])
                if order["ring"]["lasting"]:
                    self._lasting = ring
                else:
                    self._own = ring
            self._recording = Recording(order["begin"], order["after"])
            return
        if order["end"]:
            self._drain(order["until"], order["lost"])
        answer = self._recording.end(keep=order["end"]) if self._recording else {}
        self._recording = None
        self._control.send(json.dumps(answer).encode())
        self._finish(keep=False)

    def _finish(self, *, keep: bool) -> None:
        """End what is being recorded. To close a ring takes milliseconds: nobody waits for it."""
        if self._recording is not None:
            self._recording.end(keep=keep)
            self._recording = None
        if self._own is not None:
            self._own.close()
            self._own = None

    def _drain(self, until: int, lost: int) -> None:
        """Take everything up to a packet."""
        recording, ring = self._recording, self._ring
        if recording is None or ring is None:
            return
        recording.incomplete = recording.incomplete or lost > 0
        poll = select.poll()
        poll.register(ring.socket, select.POLLIN)
        while ring.taken < until:
            if not poll.poll(_DRAIN_LIMIT_MS):
                recording.incomplete = True
                return
            recording.take(ring)


def main(arguments: Sequence[str]) -> int:
    """Run the program."""
    # Ctrl-C and what ends the whole group reach us too: the owner still has to end its cases.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # The end of the control socket tells of the owner's; a child of the owner may hold that socket, too.
    gone, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGUSR1))
    with socket.socket(fileno=int(arguments[0])) as control:
        Writer(control, gone).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
