"""The wire: raw IP packets to and from the kernel of a network namespace of our own (Linux only).

`open_wire` makes an interface in the namespace that the calling thread is in, and routes everything over it
that is not the host's own. What is written to the wire arrives at the kernel; what the kernel sends to a
foreign address is read from the wire. The addresses beyond it are nobody's: no kernel answers for them.

A wire is TUN where ``/dev/net/tun`` opens, else a veth pair; both show the same behaviour.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from conformance.errors import MachineError
from conformance.network import safety

Kind = Literal["tun", "veth"]

NAME = "sixwire"
_OUR_END = "sixwire-far"
_DEVICE = "/dev/net/tun"
_LARGEST = 65_536
_QUEUE = 20_000
"""Packets that may wait for us; thousands of answers come at once."""
_BUFFER = 64 * 1024 * 1024

_REMEDY = (
    "it needs Linux with the tun or the veth driver, root or unprivileged user namespaces, and pyroute2 "
    "(conformance doctor says what is missing)"
)


class Wire:
    """Both ends of the line are packets; for one thread at a time."""

    kind: Kind

    def __init__(self) -> None:
        """Raises `safety.UnsafeAddress` outside a network namespace that we made, whoever asks."""
        _refuse_outside()

    def read(self) -> bytes | None:
        """Return the next IP packet that the kernel sent; None when none waits."""
        raise NotImplementedError

    def write(self, packet: bytes) -> None:
        """Hand an IP packet to the kernel; it may be dropped, as on any network."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Return the descriptor that is readable when a packet waits."""
        raise NotImplementedError

    def close(self) -> None:
        """Take the wire away; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TunWire(Wire):
    """A TUN device: the kernel's end is an interface, ours a descriptor."""

    kind: Kind = "tun"

    def __init__(self) -> None:
        super().__init__()
        import fcntl

        self._descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # TUNSETIFF with IFF_TUN and IFF_NO_PI: packets bare, without a header of the driver's.
            fcntl.ioctl(self._descriptor, 0x400454CA, struct.pack("16sH22x", NAME.encode(), 0x0001 | 0x1000))
        except BaseException:
            os.close(self._descriptor)
            raise

    def read(self) -> bytes | None:
        try:
            return os.read(self._descriptor, _LARGEST)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> None:
        try:
            os.write(self._descriptor, packet)
        except OSError as error:
            _lost(error)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class VethWire(Wire):
    """A veth pair: one end is the kernel's, at the other packet sockets read and write."""

    kind: Kind = "veth"

    def __init__(self) -> None:
        super().__init__()
        from pyroute2 import IPRoute

        with IPRoute() as network:
            network.link("add", ifname=NAME, kind="veth", peer=_OUR_END)
            ours = network.link_lookup(ifname=_OUR_END)[0]
            _sysctl("net/ipv6/conf", _OUR_END, "disable_ipv6", "1")
            network.link("set", index=ours, state="up", mtu=1500)
            theirs = network.link_lookup(ifname=NAME)[0]
            # Nobody answers neighbour discovery or ARP at our end.
            network.link("set", index=theirs, flags=0x80, change=0x80)  # IFF_NOARP
            mac = bytes.fromhex(network.get_links(theirs)[0].get_attr("IFLA_ADDRESS").replace(":", ""))
        for interface in (NAME, _OUR_END):
            _offloads_off(interface)
        self._headers = {6: mac + bytes(6) + b"\x86\xdd", 4: mac + bytes(6) + b"\x08\x00"}
        self._reading = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        # Protocol 0: it is for writing, and nothing is queued for it.
        self._writing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self._reading.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
            _large_buffer(self._reading)
            self._reading.bind((_OUR_END, 3))  # ETH_P_ALL
            self._reading.setblocking(False)
            self._writing.bind((_OUR_END, 0))
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes | None:
        try:
            return self._reading.recv(_LARGEST)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> None:
        try:
            self._writing.send(self._headers[packet[0] >> 4] + packet)
        except OSError as error:
            _lost(error)

    def fileno(self) -> int:
        return self._reading.fileno()

    def close(self) -> None:
        if self._reading.fileno() < 0:
            return
        self._reading.close()
        self._writing.close()
        from pyroute2 import IPRoute

        # Of the namespace that this thread is in; elsewhere the pair goes with its own namespace.
        with contextlib.suppress(Exception), IPRoute() as network:
            for index in network.link_lookup(ifname=_OUR_END):
                network.link("del", index=index)


def open_wire(kind: Kind | None = None) -> Wire:
    """Open a wire in the namespace of the calling thread; ``kind`` None takes what is possible.

    The namespace is one that `netns.fresh` made; it has its addresses on ``lo``. Raises MachineError with the
    remedy where neither kind is possible, and `safety.UnsafeAddress` outside a namespace of our own.
    """
    wire = _made(kind)
    try:
        _route()
    except BaseException as error:
        wire.close()
        if isinstance(error, Exception) and not isinstance(error, MachineError):
            raise MachineError(f"no wire for crafted packets ({wire.kind}): {error}; {_REMEDY}") from error
        raise
    return wire


def _made(kind: Kind | None) -> Wire:
    refused: list[str] = []
    for name, make in (("tun", TunWire), ("veth", VethWire)):
        if kind not in (None, name):
            continue
        try:
            return make()
        except MachineError:
            raise
        except Exception as error:  # noqa: BLE001 - pyroute2 has errors of its own; whatever it is, it is said
            refused.append(f"{name}: {error}")
    raise MachineError(f"no wire for crafted packets ({'; '.join(refused)}); {_REMEDY}")


def _route() -> None:
    """Bring the kernel's end up, silent and trusting, with the default routes over it."""
    _refuse_outside()  # once more: elsewhere this would take the machine off its network
    from pyroute2 import IPRoute

    from conformance.network import interfaces

    _sysctl("net/ipv6/conf", NAME, "disable_ipv6", "0")
    for name, value in (("accept_ra", "0"), ("router_solicitations", "0"), ("accept_dad", "0")):
        _sysctl("net/ipv6/conf", NAME, name, value)
    # No link-local address of its own: with one, the kernel speaks of it (MLD) into the exchanges.
    _sysctl("net/ipv6/conf", NAME, "addr_gen_mode", "1")
    for scope in ("all", NAME):
        _sysctl("net/ipv4/conf", scope, "rp_filter", "0")
    with contextlib.suppress(FileNotFoundError):  # a kernel without them
        _sysctl("net", "ipv4", "tcp_syncookies", "1")
    with IPRoute() as network:
        index = network.link_lookup(ifname=NAME)[0]
        network.link("set", index=index, mtu=1500, txqlen=_QUEUE, state="up")
        for family, everything in ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0")):
            network.route("replace", family=family, dst=everything, oif=index)
        ends = [name for name in (NAME, _OUR_END) if network.link_lookup(ifname=name)]
    # Not a constant time: until the kernel has connected a veth pair, it drops what is sent.
    interfaces.wait_until_ready(*ends)


def _refuse_outside() -> None:
    if not safety.inside_own_namespace():
        raise safety.UnsafeAddress(
            "refused to send crafted packets: they are for a network namespace of our own only; run with "
            "--network namespace (conformance doctor says what that needs)"
        )


def _sysctl(folder: str, scope: str, name: str, value: str) -> None:
    Path("/proc/sys", folder, scope, name).write_text(value, "ascii")


def _lost(error: OSError) -> None:
    """Pass over a packet that the system would not take; whoever awaits its answer says so."""
    if error.errno not in (errno.ENOBUFS, errno.EAGAIN, errno.EINVAL, errno.EMSGSIZE):
        raise error


def _large_buffer(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)


def _offloads_off(interface: str) -> None:
    """Let the kernel compute its checksums and cut its segments itself, as a network card would."""
    import array
    import fcntl

    rx_checksum, tx_checksum, scatter, tso, gso, gro = 0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in (gro, gso, tso, scatter, tx_checksum, rx_checksum):
            value = array.array("I", [command, 0])
            request = struct.pack("16sP8x", interface.encode(), value.buffer_info()[0])
            # An offload that a driver does not have cannot be switched off (EOPNOTSUPP).
            with contextlib.suppress(OSError):
                fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL
