"""Captures: in processes of their own, each in a namespace; the files are read by a small parser."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import MachineError
from conformance.network import capture
from conformance.network.capture_writer import FILE_HEADER, Recording

ROOT = Path(capture.__file__).parents[2]
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16


@dataclass(frozen=True)
class Packet:
    """One TCP packet of a file; other packets have no flags."""

    time: float
    source: str
    target: str
    protocol: int
    flags: int
    payload: bytes


def packets(path: Path) -> list[Packet]:
    """Read a classic pcap file of LINKTYPE_RAW with nanoseconds."""
    octets = path.read_bytes()
    magic, major, minor, _zone, _digits, _longest, link = struct.unpack("=IHHiIII", octets[:24])
    assert (magic, major, minor, link) == (0xA1B2_3C4D, 2, 4, 101)
    found, at = [], 24
    while at < len(octets):
        seconds, nanoseconds, kept, length = struct.unpack("=IIII", octets[at : at + 16])
        assert kept == length
        assert nanoseconds < 1_000_000_000
        found.append(packet(seconds + nanoseconds / 1e9, octets[at + 16 : at + 16 + kept]))
        at += 16 + kept
    assert at == len(octets), "the last packet is cut"
    return found


def packet(time: float, octets: bytes) -> Packet:
    if octets[0] >> 4 == 4:
        source, target = str(IPv4Address(octets[12:16])), str(IPv4Address(octets[16:20]))
        protocol, length = octets[9], int.from_bytes(octets[2:4])
        segment = octets[(octets[0] & 15) * 4 : length]
    else:
        assert octets[0] >> 4 == 6
        source, target = str(IPv6Address(octets[8:24])), str(IPv6Address(octets[24:40]))
        protocol, segment = octets[6], octets[40:]
    flags, payload = (segment[13], segment[(segment[12] >> 4) * 4 :]) if protocol == 6 else (0, b"")
    return Packet(time, source, target, protocol, flags, payload)


PRELUDE = """
import json, os, socket, sys
from pathlib import Path
from conformance.network import modes, netns
from conformance.network.capture import Recorder
modes.enter("namespace")
folder = Path(sys.argv[1])
def roundtrip(server, client, times=1, text=b"220 hello\\r\\n"):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family) as listener:
        free(listener, family); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server, 2525)); listener.listen()
        for _ in range(times):
            with socket.socket(family) as caller:
                free(caller, family); caller.bind((client, 0)); caller.connect((server, 2525))
                with listener.accept()[0] as accepted:
                    accepted.sendall(text); assert caller.recv(99)
def free(sock, family):
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
def answer(value):
    print(json.dumps(value), flush=True)
"""


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.endswith("-packages"))])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def python(code: str, folder: Path) -> Any:
    """Run code in a namespace; it prints one JSON value."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + code, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        cwd="/",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.needs_namespace
def test_each_packet_on_lo_is_there_once(tmp_path: Path) -> None:
    code = """
recorder = Recorder()
assert recorder.missing() == ""
roundtrip("2001:db8::1", "8000::7", text=b"before")
recorder.begin(folder / "one.pcap")
roundtrip("2001:db8::1", "8000::7")
roundtrip("192.0.2.1", "203.0.113.7")
kept = recorder.end(True)
roundtrip("2001:db8::1", "8000::7", text=b"between")
recorder.begin(folder / "two.pcap")
roundtrip("192.0.2.1", "203.0.113.8", text=b"not kept")
dropped = recorder.end(False)
roundtrip("2001:db8::1", "8000::7", text=b"between")
recorder.begin(folder / "three.pcap")
roundtrip("2001:db8::1", "8000::9", text=b"third")
recorder.end(True)
again = recorder.end(True)
recorder.close(); recorder.close()
answer([str(kept), str(dropped), str(again), recorder.trouble])
"""
    first, third = tmp_path / "one.pcap", tmp_path / "three.pcap"
    assert python(code, tmp_path) == [str(first), "None", "None", ""]
    assert sorted(tmp_path.iterdir()) == [first, third]
    assert first.stat().st_mode & 0o777 == 0o600
    found = packets(first)
    for server, client in (("2001:db8::1", "8000::7"), ("192.0.2.1", "203.0.113.7")):
        ours = [one for one in found if {one.source, one.target} == {server, client}]
        assert [(one.source, one.flags) for one in ours if one.flags & SYN] == [
            (client, SYN),
            (server, SYN | ACK),
        ]
        assert [(one.source, one.payload) for one in ours if one.payload] == [(server, b"220 hello\r\n")]
        ends = [one.source for one in ours if one.flags & FIN]
        assert sorted(ends) == sorted([server, client])
    assert [one.time for one in found] == sorted(one.time for one in found)
    assert [one.payload for one in packets(third) if one.payload] == [b"third"]


@pytest.mark.needs_namespace
def test_both_directions_of_a_link_in_a_network_of_its_own(tmp_path: Path) -> None:
    code = """
from pyroute2 import IPRoute
recorder = Recorder()
recorder.begin(folder / "shared.pcap")
recorder.end(False)
with netns.fresh() as server:
    recorder.begin(folder / "case.pcap")
    with netns.fresh() as client:
        with IPRoute() as network:
            network.link("add", ifname="left", kind="veth", peer={"ifname": "right", "net_ns_fd": server})
            index = network.link_lookup(ifname="left")[0]
            network.addr("add", index=index, address="fd00::2", prefixlen=64, flags=2)
            network.link("set", index=index, state="up")
        with netns.inside(server):
            with IPRoute() as network:
                index = network.link_lookup(ifname="right")[0]
                network.addr("add", index=index, address="fd00::1", prefixlen=64, flags=2)
                network.link("set", index=index, state="up")
            listener = socket.socket(socket.AF_INET6)
            listener.bind(("fd00::1", 25)); listener.listen()
        caller = socket.create_connection(("fd00::1", 25), timeout=20)
        accepted, peer = listener.accept()
        accepted.sendall(b"over the link"); assert caller.recv(99)
        for one in (accepted, caller, listener):
            one.close()
    kept = recorder.end(True)
    roundtrip("::1", "::1", text=b"after")
recorder.begin(folder / "shared.pcap")
roundtrip("2001:db8::1", "8000::7", text=b"shared again")
recorder.end(True); recorder.close()
answer([str(kept), peer[0]])
"""
    path = tmp_path / "case.pcap"
    assert python(code, tmp_path) == [str(path), "fd00::2"]
    ours = [one for one in packets(path) if one.protocol == 6]
    assert [(one.source, one.flags) for one in ours if one.flags & SYN] == [
        ("fd00::2", SYN),
        ("fd00::1", SYN | ACK),
    ]
    assert [one.payload for one in ours if one.payload] == [b"over the link"]
    assert [one.payload for one in packets(tmp_path / "shared.pcap") if one.payload] == [b"shared again"]


@pytest.mark.needs_namespace
@pytest.mark.parametrize("kind", ["tun", "veth"])
def test_each_packet_on_a_wire_is_there_once(tmp_path: Path, kind: str) -> None:
    if kind == "tun" and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("the TUN device is closed to an ordinary user")
    code = f"""
import select
from conformance.packets.wire import open_wire
recorder = Recorder()
with netns.fresh(), open_wire({kind!r}) as wire:
    recorder.begin(folder / "wire.pcap")
    # A UDP datagram to a port where nobody is: the kernel answers with an ICMP error over the wire.
    wire.write(bytes.fromhex(
        "4500001c000100004011f9ccc0000201" "cb007107" "10e1270f" "00080000"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"out", ("198.51.100.9", 9))
    seen = []
    while not seen:
        assert select.select([wire], [], [], 30)[0]
        packet = wire.read()
        seen += [packet] if packet and packet[9] == 17 else []
    recorder.end(True)
recorder.close()
answer(recorder.trouble)
"""
    assert python(code, tmp_path) == ""
    found = [(one.source, one.target, one.protocol) for one in packets(tmp_path / "wire.pcap")]
    udp = [one for one in found if one[2] == 17]
    assert [one[1] for one in udp] == ["203.0.113.7", "198.51.100.9"]
    assert len(set(found)) == len(found)


@pytest.mark.needs_namespace
def test_everything_up_to_the_end_is_there(tmp_path: Path) -> None:
    code = """
recorder = Recorder()
recorder.begin(folder / "many.pcap")
roundtrip("2001:db8::1", "8000::7", times=500)
kept = recorder.end(True)
size = kept.stat().st_size
roundtrip("2001:db8::1", "8000::8", times=5)
recorder.close()
answer([str(kept), size == kept.stat().st_size])
"""
    path = tmp_path / "many.pcap"
    assert python(code, tmp_path) == [str(path), True]
    found = packets(path)
    assert sum(one.flags == SYN for one in found) == 500
    assert sum(one.payload == b"220 hello\r\n" for one in found) == 500
    assert sum(bool(one.flags & FIN) for one in found) == 1000


@pytest.mark.needs_namespace
def test_a_killed_owner_leaves_the_file_and_no_writer(tmp_path: Path) -> None:
    code = """
recorder = Recorder()
recorder.begin(folder / "first.pcap"); recorder.end(False)  # it has started
recorder.begin(folder / "cut-short.pcap")
roundtrip("2001:db8::1", "8000::7")
# A process that holds the control socket, too, and outlives us: the socket alone would tell of no end.
if os.fork() == 0:
    os.close(0); os.close(1); os.close(2)
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
answer([recorder._process.pid, os.getpid()])
sys.stdin.readline()
roundtrip("2001:db8::1", "8000::8")
answer("done")
sys.stdin.read()
"""
    prelude = PRELUDE.replace('modes.enter("namespace")', ENTER_ALONE)
    held, let_go = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + code, str(tmp_path), str(held)],
        pass_fds=[held],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        cwd="/",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.close(held)
    with process.stdin, process.stdout, os.fdopen(let_go, "wb"):
        writer, owner = json.loads(process.stdout.readline())
        with contextlib.ExitStack() as stack:
            watch = os.pidfd_open(writer)
            stack.callback(os.close, watch)
            # As Ctrl-C and the end of a job do: the writer is not theirs to end.
            os.kill(writer, signal.SIGINT)
            os.kill(writer, signal.SIGTERM)
            process.stdin.write(b"go on\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == "done"
            os.kill(owner, signal.SIGKILL)
            ended, _, _ = select.select([watch], [], [], 30)
            assert ended, "the writer goes on without its owner"
    process.wait(30)
    found = packets(tmp_path / "cut-short.pcap")
    assert sum(bool(one.flags & FIN) for one in found) == 4


ENTER_ALONE = """
from conformance.network import namespace
namespace._unshare(0)
namespace._name_and_configure()
"""
"""Without the processes that end what we leave: the writer has to end by itself."""


def test_other_peoples_packets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = capture.Recorder()
    opened: list[object] = []
    monkeypatch.setattr(capture, "_packet_socket", lambda: opened.append("a socket"))
    monkeypatch.setenv("SIXPOST_NETWORK_NAMESPACE", "1:2")
    with pytest.raises(MachineError, match="outside a network namespace of our own"):
        recorder.begin(tmp_path / "x.pcap")
    assert "namespace of our own" in recorder.missing()
    assert recorder.end(keep=True) is None
    recorder.close()
    assert (opened, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.needs_namespace
def test_a_folder_that_cannot_be_written_and_a_writer_that_is_gone_stop_nothing(tmp_path: Path) -> None:
    code = """
recorder = Recorder()
recorder.begin(folder / "no" / "such.pcap")
roundtrip("::1", "::1")
seen = [recorder.end(True), recorder.trouble, recorder.missing()]
recorder.begin(folder / "x.pcap"); seen.append(recorder.end(True)); recorder.close()
recorder = Recorder()
recorder.begin(folder / "y.pcap")
recorder._process.kill(); recorder._process.wait()
seen += [recorder.end(True), recorder.trouble]
recorder.begin(folder / "z.pcap"); seen.append(recorder.end(True)); recorder.close()
answer(seen)
"""
    first, trouble, missing, second, third, gone, fourth = python(code, tmp_path)
    assert [first, second, third, fourth] == [None] * 4
    assert "No such file" in trouble
    assert missing == trouble
    assert "no longer captured" in gone


# --- without a network ------------------------------------------------------------------------------------


class Ring:
    """What the kernel would hand over."""

    def __init__(self, *packets: bytes) -> None:
        self.packets = packets
        self.passed_over = 0

    def take(self, after: int) -> list[tuple[int, int, int, bytes]]:
        return [(7, 8, len(one), one) for one in self.packets[after:]]

    def ready(self) -> int:
        return 1

    def pass_over(self, blocks: int) -> None:
        self.passed_over += blocks


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"packets": 2}, 2),
        ({"octets": 24 + 3 * (16 + 60) + 59}, 3),
        ({"packets": 5}, 5),
        ({"octets": 24 + 5 * (16 + 60)}, 5),
    ],
)
def test_a_file_has_a_limit_and_says_that_it_was_met(
    tmp_path: Path, limits: dict[str, int], kept: int
) -> None:
    path = tmp_path / "case.pcap"
    recording = Recording(str(path), 1, **limits)
    ring: Any = Ring(*[bytes(60)] * 6)
    recording.take(ring)
    named = path if kept == 5 else tmp_path / "case.incomplete.pcap"
    recording.take(ring) if kept != 5 else None
    assert ring.passed_over == (0 if kept == 5 else 1)
    assert recording.end(keep=True) == {"path": str(named), "packets": kept, "error": ""}
    assert list(tmp_path.iterdir()) == [named]
    assert named.stat().st_size == len(FILE_HEADER) + kept * (16 + 60)


def test_a_full_disk_ends_the_recording_only(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    recording = Recording(str(tmp_path / "case.pcap"), 0)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recording._file)
    os.close(full)
    ring: Any = Ring(bytes(60))
    recording.take(ring)
    ended = recording.end(keep=True)
    assert (ended["path"], "No space" in ended["error"]) == ("", True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("ip_ranges.no-match", "ip_ranges.no-match.pcap"),
        ("ip_ranges.bounds[last-octet]", "ip_ranges.bounds_last-octet.pcap"),
    ],
)
def test_names_of_files(case: str, name: str) -> None:
    assert capture.file_name(case) == name


def test_no_two_cases_share_a_file() -> None:
    cases = ["a.b[::1]", "a.b[;;1]", "a.b[ ::1]", "a.b[../../etc/x]", "a.b[" + "x" * 200 + "]", "a.b[é]"]
    names = {capture.file_name(case) for case in cases}
    assert len(names) == len(cases)
    for name in names:
        assert "/" not in name
        assert len(name) < 200
        assert not name.startswith(".")


def test_the_folder_is_ours_alone_and_is_emptied(tmp_path: Path) -> None:
    folder = capture.directory(tmp_path / "report")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert capture.directory(tmp_path / "report").stat().st_mode & 0o777 == 0o700
    (folder / "old.pcap").touch()
    (folder / "mine.txt").touch()
    capture.clear(tmp_path / "report")
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    capture.clear(tmp_path / "report")
    assert not folder.exists()
    capture.clear(tmp_path / "report")


def test_the_writer_uses_the_standard_library_only() -> None:
    """It is run isolated from whatever is installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "conformance/network/capture_writer.py"), "999999"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Bad file descriptor" in done.stderr
    assert "Import" not in done.stderr


def test_an_owner_that_ends_at_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                str(ROOT / "conformance/network/capture_writer.py"),
                str(theirs.fileno()),
            ],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
