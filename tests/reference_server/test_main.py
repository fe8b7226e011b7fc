"""The command line: what it takes, what it refuses, how it says so."""

from __future__ import annotations

import gc
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from reference_server import __main__ as command
from reference_server import __version__, run
from reference_server.options import Options


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "reference_server", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(command.PASSWORD_VARIABLE, raising=False)


def test_the_defaults_are_the_documented_ones() -> None:
    options, log_format = command.parse(["--data-dir", "d"])
    assert log_format == "text"
    assert options == Options(
        data_dir=Path("d"),
        database=None,
        port_offset=2000,
        admin_addresses=(ip_address("127.0.0.1"),),
        admin_port=8443,
    )
    assert options.database_url == f"sqlite:///{Path('d').absolute()}/reference-server.sqlite3"


def test_every_option_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.touch()
    key.touch()
    monkeypatch.setenv(command.PASSWORD_VARIABLE, "secret")
    line = (
        f"--data-dir d --database sqlite:////x --port-offset 0 --admin-address ::1 --admin-address 192.0.2.1 "
        f"--admin-address 0:0::1 --admin-port 0 --admin-certificate {chain} --admin-key {key} --bare "
        "--cheap-password-hashes --log-format json"
    )
    options, log_format = command.parse(line.split())
    assert log_format == "json"
    assert options == Options(
        data_dir=Path("d"),
        database="sqlite:////x",
        port_offset=0,
        admin_addresses=(ip_address("::1"), ip_address("192.0.2.1")),
        admin_port=0,
        admin_certificate=chain,
        admin_key=key,
        admin_password="secret",
        bare=True,
        cheap_password_hashes=True,
    )
    assert "secret" not in repr(options)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "the following arguments are required: --data-dir"),
        ("--data-dir d --admin-address 127.0.0", "'127.0.0' is not an IP address; enter an IPv4 address"),
        ("--data-dir d --admin-address fe80::1%eth0", "has a zone (%eth0)"),
        ("--data-dir d --admin-address ::", "passwords would cross the network in clear"),
        ("--data-dir d --admin-port 65536", "'65536' is no number from 0 to 65535"),
        ("--data-dir d --admin-port x", "'x' is no number from 0 to 65535"),
        ("--data-dir d --port-offset 64949", "'64949' is no number from 0 to 64948"),
        ("--data-dir d --port-offset=-1", "'-1' is no number from 0 to 64948"),
        ("--data-dir d --admin-key k", "--admin-certificate and --admin-key belong together"),
        (
            "--data-dir d --admin-key k --admin-certificate /nowhere/c",
            "--admin-certificate /nowhere/c: there is no",
        ),
        ("--data-dir d --log-format xml", "invalid choice: 'xml'"),
        ("--data-dir d --admin 1", "unrecognized arguments: --admin 1"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_code_2(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parse(line.split())
    assert ended.value.code == 2
    *usage, last = capsys.readouterr().err.splitlines()
    assert last.startswith("reference-server: error: ")
    assert words in last
    assert usage[0].startswith("usage: reference-server ")


def test_help_and_version_answer_without_a_server() -> None:
    shown = run_command("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in ("examples:", "--data-dir", command.PASSWORD_VARIABLE, "exit codes:", "2025", "8443"):
        assert words in shown.stdout
    assert run_command("--version").stdout == f"reference-server {__version__}\n"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_why_it_cannot_start_is_one_line_and_code_1(tmp_path: Path, log_format: str) -> None:
    (tmp_path / "file").touch()
    ended = run_command("--data-dir", str(tmp_path / "file"), "--log-format", log_format)
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert "Not a directory; choose another one" in line
    assert line.startswith("reference-server: --data-dir" if log_format == "text" else '{"timestamp"')


def test_a_database_that_is_not_supported_is_code_1(tmp_path: Path) -> None:
    ended = run_command("--data-dir", str(tmp_path / "data"), "--database", "postgresql://db/mail")
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "reference-server: postgresql is not supported yet; write sqlite:///path/to/file"
    ]


def test_the_exit_code_of_a_run_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run", lambda *_, **__: 7)
    try:
        assert command.main(["--data-dir", "d"]) == 7
    finally:
        gc.enable()
