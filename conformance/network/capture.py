"""The packets of one case in a file, written by a light process of its own (Linux, our own namespace only).

The packet socket is opened here, in the namespace that the case runs in, and handed to
`capture_writer`, so that neither the client nor the server waits for a packet to be written. The kernel keeps
packets in a ring of its own memory meanwhile: an ordinary user's socket buffer would hold a few hundred. To
open one takes 8 ms, so that one lasts for the namespace that most cases share.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from conformance.errors import MachineError
from conformance.network import safety
from conformance.network.capture_writer import statistics

DIRECTORY = "captures"
"""In the folder of the report; its owner alone may read it: packets hold the passwords of test accounts."""
SUFFIX = ".pcap"
BLOCK_SIZE, BLOCKS = 131_072, 64
"""Bytes and number of the ring's blocks; a block holds more than the largest packet.

Full or not, a block with a packet is handed over after `_HAND_OVER_MS`: the writer may be late by as many
times that as there are blocks.
"""

_WRITER = Path(__file__).with_name("capture_writer.py")
_ANSWER_LIMIT = 30.0
_LONGEST_NAME = 160
_SOL_PACKET, _PACKET_RX_RING, _PACKET_VERSION, _TPACKET_V3 = 263, 5, 10, 2
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_HAND_OVER_MS = 20


def file_name(case_id: str) -> str:
    """Return the name of a case's file: letters, digits and ``. _ = -``, no two cases alike."""
    name = re.sub(r"[^A-Za-z0-9._=-]+", "_", case_id).strip("_")
    plain = case_id.replace("[", "_").replace("]", "")
    if name != plain or len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(case_id.encode()).hexdigest()[:8]
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return name + SUFFIX


def directory(report: Path) -> Path:
    """Make the folder of the captures of a report, for us alone, and return it. Raises OSError."""
    path = report / DIRECTORY
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def clear(report: Path) -> None:
    """Remove the captures that an earlier run left in a report's folder."""
    path = report / DIRECTORY
    if path.is_dir() and not path.is_symlink():
        for file in path.glob(f"*{SUFFIX}"):
            file.unlink(missing_ok=True)
    remove_if_empty(report)


def remove_if_empty(report: Path) -> None:
    """Remove the folder of the captures when there is nothing in it."""
    path = report / DIRECTORY
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        path.rmdir()


def missing() -> str:
    """Return "" when packets can be captured here, in the namespace that this thread is in, else why not."""
    if not safety.inside_own_namespace():
        return "packets are captured in a network namespace of our own only"
    try:
        _packet_socket().close()
    except OSError as error:
        return f"no packet socket: {error.strerror}"
    return ""


class Recorder:
    """Records one case after the other; for one thread. Its process is started with the first of them.

    What goes wrong in the recording is told by `trouble` and never stops a case.
    """

    def __init__(self) -> None:
        self.trouble = ""
        """Why there are no captures, where that came up meanwhile; "" while all is well."""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._recording: _Packets | None = None
        self._lasting: _Packets | None = None
        self._home = safety.identity()

    def missing(self) -> str:
        """Return "" when this recorder can record, else why not."""
        return self.trouble or missing()

    def begin(self, path: Path) -> None:
        """Record everything on all interfaces of the namespace that this thread is in, from now on.

        ``path``: in a folder that exists. Raises MachineError outside a namespace of our own: other people's
        packets are never recorded.
        """
        if not safety.inside_own_namespace():
            raise MachineError("refused to capture packets outside a network namespace of our own")
        if self.trouble:
            return
        self.end(keep=False)
        packets, ring = self._lasting, None
        try:
            lasting = safety.identity() == self._home
            if not lasting or packets is None:
                packets = _Packets(_packet_socket())
                ring = {"blocks": BLOCKS, "block_size": BLOCK_SIZE, "lasting": lasting}
            if lasting:
                self._lasting = packets
            packets.count()
            order = {"begin": str(path), "after": packets.came, "ring": ring}
            self._send(order, [packets.socket.fileno()] if ring else [])
            self._recording = packets
        except OSError as error:
            if packets is not None:
                packets.socket.close()
            self._broken(error)

    def end(self, keep: bool) -> Path | None:
        """End the recording; return its file when it is kept: then every packet up to now is in it.

        The name of a file that does not hold everything ends with ``.incomplete.pcap``.
        """
        packets, self._recording = self._recording, None
        if packets is None:
            return None
        try:
            lost = packets.count()
            self._send({"end": keep, "until": packets.came, "lost": lost})
            answer = self._receive()
        except OSError as error:
            self._broken(error)
            return None
        finally:
            if packets is not self._lasting:
                packets.socket.close()
        if answer["error"]:
            self.trouble = f"packets are no longer captured: {answer['error']}"
        return Path(answer["path"]) if answer["path"] else None

    def close(self) -> None:
        """End the process; a file that was not ended is dropped. Idempotent."""
        self.end(keep=False)
        self._stop()

    def _send(self, order: dict[str, Any], descriptors: list[int] | None = None) -> None:
        if self._control is None:
            self._start()
        assert self._control is not None
        socket.send_fds(self._control, [json.dumps(order).encode()], descriptors or [])

    def _receive(self) -> dict[str, Any]:
        assert self._control is not None
        octets = self._control.recv(65_536)
        if not octets:
            raise ConnectionResetError("the process that writes captures has ended")
        answer = json.loads(octets)
        assert isinstance(answer, dict)
        return answer

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.settimeout(_ANSWER_LIMIT)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WRITER), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                start_new_session=True,  # Ctrl-C ends the owner's cases first
            )
        self._control = ours
        self._receive()  # it has started: until then the ring could overflow

    def _broken(self, error: OSError) -> None:
        self.trouble = f"packets are no longer captured: {error.strerror or error}"
        self._stop()

    def _stop(self) -> None:
        for packets in (self._recording, self._lasting):
            if packets is not None:
                packets.socket.close()
        self._recording = self._lasting = None
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_ANSWER_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class _Packets:
    """A packet socket, and how many packets it has seen."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.came = 0

    def count(self) -> int:
        """Bring `came` up to now; return how many packets found no room since the last time."""
        came, lost = statistics(self.socket)
        self.came += came
        return lost


def _packet_socket() -> socket.socket:
    """Return a packet socket with its ring, bound to all interfaces of this thread's namespace."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        program = ctypes.create_string_buffer(_filter())
        count = (len(program) - 1) // 8
        sock.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", count, ctypes.addressof(program)),
        )
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        # struct tpacket_req3: block size and number, frame size and number, hand-over, private area, features
        frame = 2048
        frames = BLOCK_SIZE // frame * BLOCKS
        request = struct.pack("@7I", BLOCK_SIZE, BLOCKS, frame, frames, _HAND_OVER_MS, 0, 0)
        sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        _bind_everywhere(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_everywhere(sock: socket.socket) -> None:
    """Bind to index 0, all interfaces; Python's own bind takes the name of one."""
    address = struct.pack("@HHiHBB8x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _filter() -> bytes:
    """Return the socket's filter: IPv4 and IPv6 only, and each packet once.

    On ``lo`` that is as it arrives. On a veth pair with both ends here (`conformance.packets.wire`), it is at
    the kernel's end: ours sends from the link-layer address zero, and receives what is not addressed to it.
    Classic BPF (struct sock_filter) over the kernel's notes on a packet: SKF_AD_*, SKF_LL_OFF in
    linux/filter.h.
    """
    load, load_half, jump_equal, answer = 0x20, 0x28, 0x15, 0x06
    notes, link_layer = 0xFFFF_F000, 0xFFE0_0000
    protocol, packet_type, hardware, sender = notes, notes + 4, notes + 28, link_layer + 6
    ipv4, ipv6, for_another, outgoing, ethernet, loopback = 0x0800, 0x86DD, 3, 4, 1, 772
    program = (
        (load, protocol, 0, 0),
        (jump_equal, ipv4, 1, 0),
        (jump_equal, ipv6, 0, 11),
        (load, packet_type, 0, 0),
        (jump_equal, for_another, 9, 0),
        (jump_equal, outgoing, 0, 7),
        (load, hardware, 0, 0),
        (jump_equal, loopback, 6, 0),
        (jump_equal, ethernet, 0, 4),
        (load, sender, 0, 0),
        (jump_equal, 0, 0, 2),
        (load_half, sender + 4, 0, 0),
        (jump_equal, 0, 1, 0),
        (answer, 0xFFFF_FFFF, 0, 0),
        (answer, 0, 0, 0),
    )
    return b"".join(
        struct.pack("=HBBI", code, if_true, if_false, value) for code, value, if_true, if_false in program
    )
