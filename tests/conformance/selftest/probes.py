"""One look at a running server for each fault, with plain sockets: does it show the fault?

Run as a program it makes the look in a network namespace of its own: ``probes.py FAULT yes|no DIRECTORY``
prints ``true`` or ``false``, or, with exit code 3, why there is no namespace.
"""

from __future__ import annotations

import json
import poplib
import smtplib
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from conformance.adapters.base import AccountSpec, Configuration, PortSpec, RangeSpec, Running
from conformance.adapters.reference import ReferenceAdapter

Probe = Callable[[ReferenceAdapter, Path], bool]

SMTP = PortSpec(name="smtp", protocol="smtp", address="127.0.0.1")
SIX = PortSpec(name="six", protocol="smtp", address="::1")
POP3 = PortSpec(name="pop3", protocol="pop3", address="127.0.0.1")
WIDE = PortSpec(name="wide", protocol="smtp", address="::")
NOBODY: tuple[RangeSpec, ...] = ()
LOCAL = RangeSpec(name="local", lower="127.0.0.0", upper="127.0.0.9")
ANN = AccountSpec(address="ann@example.org", password="secret")
LIMIT = 60.0


def greeting(
    running: Running, name: str, *, source: str = "127.0.0.1", host: str | None = None
) -> bytes | None:
    """Return the first bytes; b"" when the server closes without one; None when nothing listens."""
    (endpoint,) = (one for one in running.endpoints if one.name == name)
    try:
        sock = socket.create_connection((host or endpoint.address, endpoint.port), LIMIT, (source, 0))
    except ConnectionRefusedError:
        return None
    with sock:
        try:
            return sock.recv(200)
        except ConnectionResetError:
            return b""


def upper_bound_exclusive(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP,), ip_ranges=(LOCAL,)))
    assert greeting(running, "smtp", source="127.0.0.8")
    return greeting(running, "smtp", source="127.0.0.9") == b""


def only_upper_64_bits_compared(adapter: ReferenceAdapter, case: Path) -> bool:
    near = RangeSpec(name="same /64", lower="::5", upper="::9")
    running = adapter.start("probe", case, Configuration(ports=(SIX,), ip_ranges=(near,)))
    return greeting(running, "six", source="::1") != b""


def greeting_before_range_check(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP,), ip_ranges=NOBODY))
    return (greeting(running, "smtp") or b"").startswith(b"220")


def pop3_not_gated(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP, POP3), ip_ranges=NOBODY))
    assert greeting(running, "smtp") == b""
    return (greeting(running, "pop3") or b"").startswith(b"+OK")


def lowest_priority_wins(adapter: ReferenceAdapter, case: Path) -> bool:
    closed = LOCAL.model_copy(update={"name": "closed", "priority": 20, "allow": ()})
    running = adapter.start("probe", case, Configuration(ports=(SMTP,), ip_ranges=(LOCAL, closed)))
    return greeting(running, "smtp") != b""


def acknowledged_before_stored(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP, POP3), accounts=(ANN,)))
    ports = {endpoint.name: endpoint.port for endpoint in running.endpoints}
    with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=LIMIT) as client:
        assert client.sendmail("x@example.net", [ANN.address], "Subject: x\r\n\r\nbody\r\n") == {}
        adapter.kill()
        client.close()
    running = adapter.restart()
    ports = {endpoint.name: endpoint.port for endpoint in running.endpoints}
    reader = poplib.POP3("127.0.0.1", ports["pop3"], timeout=LIMIT)
    try:
        reader.user(ANN.address)
        reader.pass_(ANN.password)
        return reader.stat()[0] == 0
    finally:
        reader.quit()


def ranges_cached_until_restart(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP,), ip_ranges=(LOCAL,)))
    assert greeting(running, "smtp")
    adapter.configure(Configuration(ports=(SMTP,), ip_ranges=NOBODY))
    cached = greeting(running, "smtp") != b""
    assert greeting(adapter.restart(), "smtp") == b""
    return cached


def gate_blocks_on_one_client(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(SMTP,)))
    (endpoint,) = running.endpoints
    with socket.create_connection((endpoint.address, endpoint.port), LIMIT) as silent:
        assert silent.recv(200).startswith(b"220")
        with socket.create_connection((endpoint.address, endpoint.port), LIMIT) as behind:
            behind.settimeout(3)
            try:
                blocked = not behind.recv(200)
            except TimeoutError:
                blocked = True
            behind.settimeout(LIMIT)
            silent.sendall(b"NOOP\r\n")
            assert blocked is False or behind.recv(200).startswith(b"220")
    return blocked


def ipv6_wildcard_takes_ipv4(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(ports=(WIDE,)))
    assert (greeting(running, "wide", source="::1", host="::1") or b"").startswith(b"220")
    return greeting(running, "wide", host="127.0.0.1") is not None


def mapped_clients_are_ipv6(adapter: ReferenceAdapter, case: Path) -> bool:
    ranges = (RangeSpec(name="Four", lower="127.0.0.1", upper="127.0.0.1"),)
    running = adapter.start("probe", case, Configuration(ports=(WIDE,), ip_ranges=ranges))
    return greeting(running, "wide", host="127.0.0.1") == b""


def ipv6_listening_by_default(adapter: ReferenceAdapter, case: Path) -> bool:
    running = adapter.start("probe", case, Configuration(default=True))
    shipped = [one for one in running.endpoints if one.address == "0.0.0.0"]
    assert sorted(one.name for one in shipped) == ["imap", "pop3", "smtp", "submission"]
    healthy = Running(endpoints=tuple(shipped))
    assert (greeting(healthy, "smtp", host="127.0.0.1") or b"").startswith(b"220")
    return greeting(healthy, "smtp", source="::1", host="::1") is not None


ON_LOOPBACK: dict[str, Probe] = {
    "upper-bound-exclusive": upper_bound_exclusive,
    "only-upper-64-bits-compared": only_upper_64_bits_compared,
    "greeting-before-range-check": greeting_before_range_check,
    "pop3-not-gated": pop3_not_gated,
    "lowest-priority-wins": lowest_priority_wins,
    "acknowledged-before-stored": acknowledged_before_stored,
    "ranges-cached-until-restart": ranges_cached_until_restart,
    "gate-blocks-on-one-client": gate_blocks_on_one_client,
}
IN_A_NAMESPACE: dict[str, Probe] = {
    "ipv6-wildcard-takes-ipv4": ipv6_wildcard_takes_ipv4,
    "ipv6-listening-by-default": ipv6_listening_by_default,
    "mapped-clients-are-ipv6": mapped_clients_are_ipv6,
}


def shows(probe: Probe, directory: Path, *, fault: str | None) -> bool:
    """Start the server, with ``fault`` or healthy, and say whether ``probe`` sees the fault."""
    case = directory / "case"
    case.mkdir()
    adapter = ReferenceAdapter({"fault": fault} if fault else {}, directory)
    try:
        return probe(adapter, case)
    finally:
        adapter.close()


def main() -> int:
    from conformance.errors import MachineError
    from conformance.network import modes

    name, faulty, directory = sys.argv[1:]
    try:
        modes.enter("namespace")
    except MachineError as error:
        print(error)
        return 3
    print(json.dumps(shows(IN_A_NAMESPACE[name], Path(directory), fault=name if faulty == "yes" else None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
