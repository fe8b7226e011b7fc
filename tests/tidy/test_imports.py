"""The rules of the house about who imports whom (`conformance` and `reference_server` door plates)."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("conformance", "reference_server")

SOCKET_OWNERS = (
    "reference_server/listening/",
    "reference_server/delivery/",
    "reference_server/admin/http.py",
    "conformance/clients/",
    "conformance/network/",
    "conformance/peers/",
    "conformance/adapters/control.py",  # a Unix socket of the server's
    "conformance/adapters/doors.py",  # asks which numbers are free
    "conformance/adapters/programs/",  # servers under test of our own
    "conformance/selftest/",  # breaks the server's sockets on purpose
)
"""The modules that may open sockets: everything else decides, and is told what came over them."""

STREAM_CALLS = frozenset(
    {
        "create_connection",
        "create_datagram_endpoint",
        "create_server",
        "create_unix_connection",
        "create_unix_server",
        "open_connection",
        "open_unix_connection",
        "sock_accept",
        "sock_connect",
        "start_server",
        "start_unix_server",
    }
)
"""How asyncio opens sockets."""


def sources(root: Path, *packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((root / package).rglob("*.py"))


def name_of(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path, file: Path) -> set[str]:
    """Return what ``file`` imports, in functions as well; of ``from a import b`` both a and a.b."""
    found: set[str] = set()
    package = name_of(root, file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (start, node.module or "") if part)
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def users(root: Path, packages: tuple[str, ...], package: str) -> dict[str, set[str]]:
    """Return what each module imports of ``package``, by the module's path."""
    found = {}
    for file in sources(root, *packages):
        used = {module for module in imports(root, file) if is_in(module, package)}
        if used:
            found[file.relative_to(root).as_posix()] = used
    return found


def outside(found: Iterable[str], allowed: tuple[str, ...]) -> list[str]:
    return [path for path in found if not path.startswith(allowed)]


def reachable(root: Path, package: str, start: str) -> dict[str, str]:
    """Return the modules whose code ``start`` uses, directly or not, each with the one that imports it.

    A package that is only passed through (``from conformance.adapters.base import …``) is not used.
    """
    graph = {name_of(root, file): imports(root, file) for file in sources(root, package)}
    found: dict[str, str] = {}
    waiting = [name for name in graph if is_in(name, start)]
    while waiting:
        name = waiting.pop()
        used = graph.get(name, set())
        for module in used:
            is_way = any(other in graph and other.startswith(f"{module}.") for other in used)
            if module not in found and not is_way and not is_in(module, start):
                found[module] = name
                waiting.append(module)
    return found


def annotation_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node of every annotation."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            written = getattr(node, field, None)
            if isinstance(written, ast.AST):
                yield from ast.walk(written)


def uses_sockets(text: str) -> bool:
    """Say whether a module makes or asks for sockets; to hold one that it was given is another matter."""
    tree = ast.parse(text)
    only_named = {id(node) for node in annotation_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "socket" and not node.level:
            return True
        if isinstance(node, ast.Name) and node.id == "socket" and isinstance(node.ctx, ast.Load):
            imported = any(
                isinstance(one, ast.Import) and any(alias.name == "socket" for alias in one.names)
                for one in ast.walk(tree)
            )
            if imported and id(node) not in only_named:
                return True
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in STREAM_CALLS
        ):
            return True
    return False


def socket_users(root: Path, packages: tuple[str, ...]) -> list[str]:
    return [
        file.relative_to(root).as_posix()
        for file in sources(root, *packages)
        if uses_sockets(file.read_text(encoding="utf-8"))
    ]


def test_the_harness_knows_the_reference_server_in_its_adapter_and_its_selftest_only() -> None:
    found = users(ROOT, ("conformance",), "reference_server")
    assert outside(found, ("conformance/adapters/reference.py", "conformance/selftest/")) == []
    assert found


def test_the_reference_server_knows_no_harness() -> None:
    assert users(ROOT, ("reference_server",), "conformance") == {}


def test_the_oracle_reaches_the_reference_server_by_no_way() -> None:
    """An oracle that shares code with the server certifies its errors."""
    found = reachable(ROOT, "conformance", "conformance.oracle")
    assert [module for module in found if is_in(module, "reference_server")] == []
    assert "conformance.addresses" in found


@pytest.mark.parametrize("room", ["oracle", "verdict", "scenario"])
def test_what_decides_and_judges_opens_nothing(room: str) -> None:
    found = reachable(ROOT, "conformance", f"conformance.{room}")
    opened = {module: by for module, by in found.items() if module in ("socket", "asyncio", "subprocess")}
    # The needs of a scenario are named as the network names them, for type checkers only.
    assert [by for by in opened.values() if not is_in(by, "conformance.network")] == []


def test_scapy_is_imported_with_the_packets_only() -> None:
    """Its licence is GPL-2.0-only: it stays an extra that nothing else touches."""
    found = users(ROOT, (*PACKAGES, "benchmarks", "tests"), "scapy")
    assert outside(found, ("conformance/packets/", "tests/conformance/packets/")) == []
    assert [path for path, used in found.items() if "scapy.all" in used] == []


def test_sockets_are_opened_by_their_owners_only() -> None:
    found = socket_users(ROOT, PACKAGES)
    assert outside(found, SOCKET_OWNERS) == []
    assert found


@pytest.mark.parametrize("package", PACKAGES)
def test_addresses_are_parsed_in_one_module(package: str) -> None:
    """No address is compared as text; one module of each program makes addresses of text."""
    parsers = [
        file.relative_to(ROOT).as_posix()
        for file in sources(ROOT, package)
        if "ipaddress.ip_address" in imports(ROOT, file) or "ipaddress.ip_interface" in imports(ROOT, file)
    ]
    assert parsers == [f"{package}/addresses.py"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import scapy.layers.inet6", {"a/b.py"}),
        ("from scapy import all", {"a/b.py"}),
        ("def f():\n    from scapy.all import IPv6", {"a/b.py"}),
        ("import scapyish", set()),
        ("from . import scapy", set()),
    ],
)
def test_an_import_is_seen_wherever_it_stands(tmp_path: Path, text: str, expected: set[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text(text)
    assert set(users(tmp_path, ("a",), "scapy")) == expected


def test_a_detour_is_seen(tmp_path: Path) -> None:
    for name, text in (
        ("conformance/__init__.py", ""),
        ("conformance/oracle/__init__.py", "from .ranges import find"),
        ("conformance/oracle/ranges.py", "from conformance.helpers import parse"),
        ("conformance/helpers.py", "def parse():\n    from reference_server.addresses import parse_address"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = reachable(tmp_path, "conformance", "conformance.oracle")
    assert found["reference_server.addresses"] == "conformance.helpers"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import asyncio\nasync def f():\n    await asyncio.open_connection()\n", True),
        ("from socket import AF_INET6\n", True),
        ("def f():\n    import socket\n    return socket.socket()\n", True),
        ("import socket\nheld: list[socket.socket] = [socket.socket()]\n", True),
        ("import socket\ndef f(one: socket.socket) -> socket.socket:\n    return one\n", False),
        ("import asyncio\n", False),
        ("def f(socket):\n    return socket\n", False),
    ],
)
def test_a_socket_is_seen(text: str, expected: bool) -> None:
    assert uses_sockets(text) is expected
