"""The process table, seen through a child process that says what it has open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from conformance.network import processes

pytestmark = pytest.mark.skipif(processes.missing() != "", reason=processes.missing() or "-")

SERVER = """
import os, socket, sys
sockets = []
for address in "127.0.0.1", "::1", "::ffff:127.0.0.1":
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind((address, 0)); s.listen(); sockets.append(s)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(("::1", 0))
print(*(s.getsockname()[1] for s in sockets), flush=True)
for line in sys.stdin:
    if line == "open\\n":
        sockets += [open(os.devnull) for _ in range(7)]
    elif line == "close\\n":
        [s.close() for s in sockets]
    elif line == "fork\\n":
        pid = os.fork()
        if pid == 0:
            child = socket.socket(); child.bind(("127.0.0.1", 0)); child.listen()
            print(os.getpid(), child.getsockname()[1], flush=True)
            sys.stdin.readline()
            os._exit(0)
        continue
    print("done", flush=True)
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.communicate(timeout=30)


def ask(server: subprocess.Popen[str], word: str) -> str:
    server.stdin.write(f"{word}\n")
    server.stdin.flush()
    return server.stdout.readline()


def test_listening_sockets_with_address_and_family(server) -> None:
    v4, v6, mapped = map(int, server.stdout.readline().split())
    found = processes.listening_sockets([server.pid])
    assert {(one.address, one.port) for one in found} == {
        (ip_address("127.0.0.1"), v4),
        (ip_address("::1"), v6),
        (ip_address("::ffff:127.0.0.1"), mapped),
    }
    assert all(one.pid == server.pid for one in found)
    assert f"[::1]:{v6} of process {server.pid}" in map(str, found)
    assert [one.family for one in found] == ["ipv4", "ipv6", "ipv6"]
    ask(server, "close")
    assert processes.listening_sockets([server.pid]) == ()


def test_descriptors_are_counted(server) -> None:
    server.stdout.readline()
    before = processes.open_descriptors([server.pid])
    assert before == sum(map(len, processes.descriptors([server.pid]).values())) >= 7
    ask(server, "open")
    assert processes.open_descriptors([server.pid]) == before + 7


def test_children_belong_to_their_parents(server) -> None:
    server.stdout.readline()
    child, port = map(int, ask(server, "fork").split())
    assert processes.family_tree([server.pid]) == tuple(sorted((server.pid, child)))
    found = processes.listening_sockets([server.pid])
    assert [one.pid for one in found if one.port == port] == [child]
    assert len(found) == 4  # what is shared counts once
    assert processes.open_descriptors([server.pid]) > processes.open_descriptors([child])
    server.stdin.write("end\n")


def test_a_process_that_is_gone_has_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    assert processes.family_tree([process.pid]) == ()
    assert processes.open_descriptors([process.pid]) == 0
    assert processes.listening_sockets([process.pid]) == ()


def test_names_with_blanks_and_brackets_are_no_trap(tmp_path) -> None:
    program = tmp_path / "a) R (b"
    program.symlink_to(sys.executable)
    process = subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert process.pid in processes.family_tree([os.getpid()])
    finally:
        process.communicate(b"\n", timeout=30)


def test_the_kernels_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        [found] = [
            one for one in processes.listening_sockets([os.getpid()]) if one.port == listener.getsockname()[1]
        ]
    assert str(found.address) == "127.0.0.1"
