"""Scenes beyond a wire, each in a network namespace of its own: ``scenes.py tun|veth ipv4|ipv6 [NAME …]``.

Prints what was seen as JSON; with exit code 3, why there is no namespace, or no such wire. The servers are
plain sockets of this process: what they see is what the kernel made of the packets.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from conformance.addresses import Network, parse, parse_interface, parse_network
from conformance.errors import MachineError
from conformance.network import interfaces, modes, netns
from conformance.network.plan import SERVER_V4, SERVER_V6
from conformance.packets import exchange, peer
from conformance.packets.station import Station
from conformance.packets.templates import SYN, checksum_is_right, template
from conformance.packets.templates import parse as parsed
from conformance.packets.wire import Kind, Wire, open_wire
from conformance.scenario.actions import Exchange

LIMIT = 30.0
SOURCES = {6: "2001:db8:f::25", 4: "203.0.113.25"}
CROWDS = {6: "2001:db8:c::/64", 4: "10.0.0.0/8"}
TO_SYN_ACK = [{"send": {"flags": "SYN"}}, {"await": {"flags": "SYN-ACK"}}]
CONNECT = [*TO_SYN_ACK, {"send": {"flags": "ACK"}}]
TEXT = "The quick brown fox jumps over the lazy dog.\r\n"


class Scene:
    """A wire, its station, and the server's address."""

    def __init__(self, wire: Wire, version: int) -> None:
        self.wire = wire
        self.version = version
        self.address: IPv4Address | IPv6Address = SERVER_V6 if version == 6 else SERVER_V4
        self.source = parse(SOURCES[version])
        self.station = Station(wire)
        self.lines: list[tuple[str, str]] = []

    @property
    def crowd(self) -> Network:
        return parse_network(CROWDS[self.version])

    @contextlib.contextmanager
    def listener(self, backlog: int = 1000) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if self.version == 6 else socket.AF_INET
        with socket.create_server((str(self.address), 25), family=family, backlog=backlog) as listening:
            listening.settimeout(LIMIT)
            yield listening

    def exchange(self, *turns: dict[str, Any]) -> str:
        """Return "" for a completed exchange, else what came."""
        result = exchange.run(
            self.station,
            self.source,
            self.address,
            25,
            [Exchange.model_validate(turn) for turn in turns],
            lambda _who, kind, text: self.lines.append((kind, text)),
        )
        return "" if result.completed else f"{result.expected} | {result.actual}"


def received(listening: socket.socket) -> list[str]:
    """Accept the next client, and return its address, what it said, and how that ended."""
    client, address = listening.accept()
    with client:
        client.settimeout(LIMIT)
        octets = b""
        try:
            while data := client.recv(4096):
                octets += data
            end = "FIN"
        except ConnectionResetError:
            end = "RST"
    return [address[0], octets.decode(), end]


# --- scenes ---------------------------------------------------------------------------------------------


def options(scene: Scene) -> dict[str, Any]:
    """A server's socket gets the same octets, whatever is done to their packets."""
    dresses: dict[str, dict[str, Any]] = {
        "plain": {},
        "one": {"segments": 1},
        "reversed": {"segments": 5, "order": "reversed"},
        "copies": {"segments": 20, "copies": 3},
        "overlap": {"segments": 5, "overlap": 3},
        "fragment": {"fragment": 32},
    }
    if scene.version == 6:
        dresses |= {
            "hop-by-hop": {"hop_by_hop": True},
            "destination": {"destination_options": True},
            "flow-label": {"flow_label": 0xABCDE},
            "all": {"hop_by_hop": True, "destination_options": True, "fragment": 40, "flow_label": 1},
        }
    seen = {}
    with scene.listener() as listening:
        for name, dress in dresses.items():
            scene.lines.clear()
            failed = scene.exchange(
                *CONNECT,
                {"send": {"flags": "DATA", "text": TEXT, **dress}},
                {"await": {"flags": "ACK"}},
                {"send": {"flags": "FIN", **{k: v for k, v in dress.items() if k != "segments"}}},
            )
            sent = [text for kind, text in scene.lines if kind == "sent"]
            seen[name] = [failed, received(listening), len(sent), sent[-2]]
    return seen


def endings(scene: Scene) -> dict[str, Any]:
    """FIN and RST arrive as such; with a wrong checksum or number nothing arrives."""
    seen = {}
    say = {"send": {"flags": "DATA", "text": TEXT}}
    heard = {"await": {"flags": "ACK"}}
    with scene.listener() as listening:
        for name, turns in {
            "fin": [say, heard, {"send": {"flags": "FIN"}}],
            "rst": [say, heard, {"send": {"flags": "RST"}}],
            "stray": [
                {"send": {"flags": "DATA", "text": "wrong", "checksum": "wrong"}},
                {"send": {"flags": "DATA", "text": "ahead", "sequence_offset": 1_000_000}},
                {"send": {"flags": "RST", "checksum": "wrong"}},
                {"send": {"flags": "RST", "sequence_offset": 1_000_000}},
                {"await": {"nothing": "100ms"}},
                say,
                heard,
                {"send": {"flags": "FIN"}},
            ],
        }.items():
            seen[name] = [scene.exchange(*CONNECT, *turns), received(listening)]
    return seen


def awaited(scene: Scene) -> dict[str, Any]:
    """Each kind of ``await``, met and not met, by a server that greets and closes."""
    seen = {}
    greet = [{"await": {"text": "220"}}]

    clients: list[socket.socket] = []

    def serve(listening: socket.socket) -> None:
        for _ in cases:
            client = listening.accept()[0]
            client.sendall(b"220-hello\r\n220 there\r\n")
            client.shutdown(socket.SHUT_WR)
            clients.append(client)

    fin = {"send": {"flags": "FIN"}}
    cases: dict[str, list[dict[str, Any]]] = {
        "text": [*CONNECT, *greet, {"await": {"flags": "FIN"}}, fin],
        "closed": [*CONNECT, *greet, {"await": {"closed": True}}, fin],
        "other text": [*CONNECT, {"await": {"text": "250"}}],
        "closed with text": [*CONNECT, {"await": {"closed": True}}],
        "nothing with text": [*CONNECT, {"await": {"nothing": "10s"}}],
        "fin with text": [*CONNECT, {"await": {"flags": "FIN"}}],
        "rst for fin": [*CONNECT, *greet, {"await": {"flags": "RST"}}],
        "text after fin": [*CONNECT, *greet, {"await": {"text": "250"}}],
        "not acknowledged": [
            *CONNECT,
            {"await": {"text": "220", "acknowledge": False}},
            {"await": {"flags": "ACK", "acknowledge": False}},
            fin,
        ],
        "too late": [
            *CONNECT,
            *greet,
            {"await": {"closed": True}},
            {"await": {"text": "x", "within": "50ms"}},
        ],
    }
    with scene.listener() as listening:
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        for name, turns in cases.items():
            scene.lines.clear()
            seen[name] = scene.exchange(*turns)
            seen[f"{name}: told"] = max(_acknowledged(text) for kind, text in scene.lines if kind == "sent")
        server.join(LIMIT)
    for client in clients:
        client.close()
    seen["no port"] = scene.exchange(*TO_SYN_ACK)
    return seen


def _acknowledged(line: str) -> int:
    return int(line.partition("ack ")[2].partition(",")[0] or 0)


def windows(scene: Scene) -> dict[str, Any]:
    """Window and MSS are what the server's kernel goes by."""
    with scene.listener() as listening:
        turns = [{"send": {"flags": "SYN", "window": 0, "mss": 600}}, *CONNECT[1:]]
        failed = scene.exchange(*turns)
        client = listening.accept()[0]
        with client:
            size = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    with scene.listener() as listening:

        def serve() -> None:
            with listening.accept()[0] as one:
                one.sendall(b"220 hello\r\n")
                one.settimeout(LIMIT)
                with contextlib.suppress(OSError):
                    one.recv(1)  # until the client's RST

        server = threading.Thread(target=serve)
        server.start()
        shut = scene.exchange(
            {"send": {"flags": "SYN", "window": 0}},
            *CONNECT[1:],
            {"await": {"nothing": "400ms"}},
            {"send": {"flags": "ACK", "window": 1000}},
            {"await": {"text": "220"}},
            {"send": {"flags": "RST"}},
        )
        server.join(LIMIT)
    return {"failed": failed, "mss": size, "shut": shut}


def icmp(scene: Scene) -> dict[str, Any]:
    """The kernel believes an ICMP error about a segment that it sent, and none with a wrong checksum."""
    seen: dict[str, Any] = {}
    level, recverr = (socket.IPPROTO_IPV6, 25) if scene.version == 6 else (socket.IPPROTO_IP, 11)
    for name, out in {
        "none": None,
        "too_big": {"icmp": "too_big", "mtu": 1280},
        "too_big wrong": {"icmp": "too_big", "mtu": 1280, "checksum": "wrong"},
        "unreachable": {"icmp": "unreachable"},
        "unreachable wrong": {"icmp": "unreachable", "checksum": "wrong"},
    }.items():
        with scene.listener() as listening:
            accepted: list[socket.socket] = []

            def serve(listening: socket.socket = listening, accepted: list[socket.socket] = accepted) -> None:
                client = listening.accept()[0]
                client.setsockopt(level, recverr, 1)
                accepted.append(client)
                client.sendall(b"220 hello\r\n")

            server = threading.Thread(target=serve)
            server.start()
            failed = scene.exchange(
                {"send": {"flags": "SYN", "mss": 1400}},
                *CONNECT[1:],
                {"await": {"text": "220", "acknowledge": False}},
                *([{"send": out}] if out else []),
            )
            server.join(LIMIT)
            with accepted[0] as client:
                size = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            seen[name] = [failed, size, error != 0]
        # What the kernel learned of the path to this client would answer for the next case.
        scene.source += 1
    return seen


def checksums(scene: Scene) -> dict[str, Any]:
    """A template's packet is answered; with one bit less it is dropped; the answer's checksum is right."""
    build = template(scene.address, 25, SYN, mss=1000)
    source = int(scene.source)
    with scene.listener():
        right = build(source, 4000, 7, 0)
        wrong = bytearray(build(source + 1, 4000, 7, 0))
        wrong[-9] ^= 1
        scene.wire.write(bytes(wrong))
        scene.wire.write(right)
        answers = []
        while (packet := scene.wire.read()) is not None:
            answers.append(packet)
    segments = [parsed(one) for one in answers]
    return {
        "answered": [str(type(scene.source)(one.destination)) for one in segments if one],
        "right": [checksum_is_right(one) for one in answers],
        "acknowledged": [one.acknowledgement for one in segments if one],
    }


def crowd(scene: Scene) -> dict[str, Any]:
    """Three hundred clients connect, hear their greeting, stay silent, and are sent away."""
    count = 300
    with scene.listener() as listening:
        clients: list[socket.socket] = []
        peers = set()

        def serve() -> None:
            for _ in range(count):
                client, address = listening.accept()
                client.sendall(b"220 hello\r\n")
                peers.add(address[0])
                clients.append(client)

        server = threading.Thread(target=serve)
        server.start()
        held = peer.complete_handshakes(scene.station, scene.address, 25, scene.crowd, count)
        server.join(LIMIT)
        scene.station.pump_until(lambda: held.greeted == count, LIMIT)
        seen: dict[str, Any] = {
            "established": held.established,
            "greeted": [held.greeted, held.octets],
            "open": held.open,
            "peers": len(peers),
        }
        # All that was said is acknowledged: nothing waits in the server's sockets (SIOCOUTQ).
        scene.station.pump_until(lambda: not any(map(_unacknowledged, clients)), 2)
        seen["unacknowledged"] = sum(map(_unacknowledged, clients))
        for index, client in enumerate(clients):
            if index % 3 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        # Nobody of this thread reads now: the station's own thread does.
        scene.station.pump_until(lambda: held.open == 0, LIMIT)
        seen["ends"] = [held.finished, held.resets, held.open]
        again = peer.complete_handshakes(scene.station, scene.address, 25, scene.crowd, 2)
        others = set()
        for _ in range(2):
            client, address = listening.accept()
            client.close()
            others.add(address[0])
        seen["again"] = [again.established, len(others & peers)]
    return seen


def _unacknowledged(client: socket.socket) -> int:
    import fcntl

    return int(struct.unpack("i", fcntl.ioctl(client, 0x5411, bytes(4)))[0])


def kept(scene: Scene) -> dict[str, Any]:
    """The station's own thread answers while this one only looks at the server's socket."""
    with scene.listener() as listening:
        held = peer.complete_handshakes(scene.station, scene.address, 25, scene.crowd, 1)
        with listening.accept()[0] as client:
            client.settimeout(LIMIT)
            client.sendall(b"220 hello\r\n")
            client.shutdown(socket.SHUT_WR)
            end = client.recv(10)  # the client's own FIN
        scene.station.close()
        scene.station.close()
    return {"end": end.decode(), "finished": held.finished, "threads": threading.active_count()}


def not_all(scene: Scene) -> dict[str, Any]:
    """A server that accepts nobody, one that is not there, and half-open handshakes."""
    with scene.listener(backlog=5):
        held = peer.complete_handshakes(scene.station, scene.address, 25, scene.crowd, 300, patience=0.5)
        flood = peer.half_open(scene.station, scene.address, 25, scene.crowd, 10)
    nobody = peer.complete_handshakes(scene.station, scene.address, 25, scene.crowd, 40)
    closed = peer.half_open(scene.station, scene.address, 25, scene.crowd, 40)
    with scene.listener() as listening:
        listening.setblocking(False)
        half = peer.half_open(scene.station, scene.address, 25, scene.crowd, 3000)
        try:
            listening.accept()
            accepted = True
        except BlockingIOError:
            accepted = False
    return {
        "full": [0 < held.established < 300, flood.answered],
        "nobody": [nobody.established, nobody.refused, nobody.open],
        "closed": [closed.sent, closed.answered, closed.refused],
        "half": [half.sent, half.answered, half.refused, accepted],
    }


SCENES = (options, endings, awaited, windows, icmp, checksums, crowd, kept, not_all)


def play(scene: Callable[[Scene], dict[str, Any]], kind: Kind, version: int) -> dict[str, Any]:
    """Play one scene in a namespace of its own."""
    with netns.fresh(), open_wire(kind) as wire:
        for address in (SERVER_V4, SERVER_V6):
            interfaces.add_address("lo", parse_interface(f"{address}/{address.max_prefixlen}"))
        place = Scene(wire, version)
        try:
            return scene(place)
        finally:
            place.station.close()


def main(kind: Kind, family: str, *names: str) -> int:
    if reason := modes.probe():
        print(reason)
        return 3
    modes.enter("namespace")
    try:
        with netns.fresh():
            open_wire(kind).close()
    except MachineError as error:
        print(error)
        return 3
    chosen = [scene for scene in SCENES if not names or scene.__name__ in names]
    print(json.dumps({one.__name__: play(one, kind, 6 if family == "ipv6" else 4) for one in chosen}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]
