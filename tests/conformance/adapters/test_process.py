"""The ``exec:`` contract: what a wrong adapter does is one clear error, and nothing of it is left."""

from __future__ import annotations

import os
import select
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.adapters import create
from conformance.adapters.base import AdminRequest, Configuration, RangeSpec
from conformance.adapters.process import Patience, ProcessAdapter
from conformance.errors import AdapterError, AdapterUnsupported, ExitCode, UsageError

WRONG = Path(__file__).with_name("wrong_adapter.py")
PATIENT = Patience(answer=60.0, goodbye=20.0)


@contextmanager
def adapter_that(how: str, workdir: Path, patience: Patience = PATIENT) -> Iterator[ProcessAdapter]:
    adapter = ProcessAdapter([sys.executable, str(WRONG), how], {}, workdir, patience=patience)
    try:
        yield adapter
    finally:
        adapter.close()


def ended(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 30)[0])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("dies", "start: it ended with exit code 3"),
        ("dies-by-signal", "start: it was ended by signal 9"),
        ("garbage", "start: its answer cannot be read: it is no JSON"),
        ("not-utf8", "start: its answer cannot be read: it is no JSON"),
        ("a-list", "start: its answer cannot be read"),
        ("two-answers-in-one", "exactly one of ok, unsupported and error is expected"),
        ("neither", "exactly one of ok, unsupported and error is expected"),
        ("unknown-key", "start: its answer is wrong: colour"),
        ("wrong-type", "start: its answer is wrong: endpoints.0.port"),
        ("out-of-order", "start: it answered out of order: seq 3, expected is 2"),
        ("floods", "start: it floods"),
    ],
)
def test_a_breach_of_the_contract_is_one_error_with_the_log(how: str, words: str, tmp_path: Path) -> None:
    with adapter_that(how, tmp_path) as adapter:
        assert adapter.hello().name == "wrong"
        with pytest.raises(AdapterError) as raised:
            adapter.start("case", tmp_path, Configuration())
    assert words in str(raised.value)
    assert "asked for start" in raised.value.log
    assert raised.value.exit_code is ExitCode.NOT_STARTED


def test_what_was_written_shows_in_the_error(tmp_path: Path) -> None:
    with (
        adapter_that("garbage", tmp_path) as adapter,
        pytest.raises(AdapterError, match="Welcome to my adapter!"),
    ):
        adapter.start("case", tmp_path, Configuration())


def test_a_silent_adapter_is_given_up(tmp_path: Path) -> None:
    with adapter_that("silent", tmp_path, Patience(answer=3.0, goodbye=0.2)) as adapter:
        adapter.hello()
        with pytest.raises(AdapterError, match=r"start: it was silent for 3 s"):
            adapter.start("case", tmp_path, Configuration())


def test_an_adapter_that_reads_nothing_does_not_block_the_harness(tmp_path: Path) -> None:
    many = tuple(RangeSpec(name=f"range {n}", lower="::1", upper="::1") for n in range(3000))
    with adapter_that("silent", tmp_path, Patience(answer=3.0, goodbye=0.2)) as adapter:
        adapter.hello()
        with pytest.raises(AdapterError, match="silent"):
            adapter.start("case", tmp_path, Configuration(ip_ranges=many))


def test_a_closed_stdout_is_told_apart_from_an_end(tmp_path: Path) -> None:
    patience = Patience(answer=30.0, goodbye=0.2)
    with (
        adapter_that("closes-stdout", tmp_path, patience) as adapter,
        pytest.raises(AdapterError, match="it closed its stdout"),
    ):
        adapter.start("case", tmp_path, Configuration())


def test_a_second_answer_is_found_at_the_next_request(tmp_path: Path) -> None:
    with adapter_that("twice", tmp_path) as adapter:
        adapter.start("case", tmp_path, Configuration())
        with pytest.raises(AdapterError, match=r"without being asked|out of order"):
            adapter.restart()


def test_a_flooded_log_stops_nobody_and_is_cut(tmp_path: Path) -> None:
    with adapter_that("floods-its-log", tmp_path) as adapter:
        adapter.start("case", tmp_path, Configuration())
    assert (tmp_path / "adapter.log").stat().st_size < 65 * 2**20


def test_unsupported_and_error_are_answers_and_the_adapter_goes_on(tmp_path: Path) -> None:
    with adapter_that("unsupported", tmp_path) as adapter:
        for _ in range(2):
            with pytest.raises(AdapterUnsupported) as raised:
                adapter.start("case", tmp_path, Configuration())
            assert (raised.value.feature, raised.value.reason) == ("ip_ranges", "it has none")
            assert raised.value.link == "https://example.org/"
        with pytest.raises(AdapterUnsupported):
            adapter.admin(AdminRequest(operation="read", kind="settings"))
    with adapter_that("error", tmp_path) as adapter:
        with pytest.raises(AdapterError, match="the server's disk is full"):
            adapter.start("case", tmp_path, Configuration())
        assert adapter.log() == "log\n"


def test_another_version_of_the_contract_is_refused(tmp_path: Path) -> None:
    words = "version 2 of the adapter contract, expected is 1"
    with adapter_that("other-version", tmp_path) as adapter, pytest.raises(AdapterError, match=words):
        adapter.hello()


def test_an_adapter_that_broke_is_started_again_by_the_next_start(tmp_path: Path) -> None:
    with adapter_that("dies", tmp_path) as adapter:
        for _ in range(2):
            with pytest.raises(AdapterError, match="exit code 3"):
                adapter.start("case", tmp_path, Configuration())
        with pytest.raises(AdapterError, match="is not running; start it first"):
            adapter.restart()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open of Linux")
def test_the_adapter_is_ended_with_its_children(tmp_path: Path) -> None:
    with adapter_that("has-a-child", tmp_path) as adapter:
        (child,) = adapter.start("case", tmp_path, Configuration()).pids
        os.kill(child, 0)
    assert ended(child)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open of Linux")
def test_an_adapter_that_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    adapter = ProcessAdapter(
        [sys.executable, str(WRONG), "ignores-the-end"],
        {},
        tmp_path,
        patience=Patience(answer=60, goodbye=0.2),
    )
    adapter.hello()
    program = adapter._program
    assert program is not None
    pid = program._child.pid
    before = time.monotonic()
    adapter.close()
    assert ended(pid)
    assert time.monotonic() - before < 30
    adapter.close()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    adapter = create("exec:/no/such/program --x", {}, tmp_path)
    with pytest.raises(AdapterError, match=r"'/no/such/program' could not be started: No such file"):
        adapter.hello()
    adapter.close()


@pytest.mark.parametrize("name", ["exec:", "exec:'", "postfixx", "python:no.colon", "python:sys:nothing"])
def test_a_wrong_name_is_a_usage_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--server"):
        create(name, {}, tmp_path)


def test_the_command_is_split_as_a_shell_does(tmp_path: Path) -> None:
    adapter = create(f"exec:{shlex.quote(sys.executable)} '{WRONG}' unsupported", {}, tmp_path)
    assert adapter.hello().name == "wrong"
    adapter.close()
