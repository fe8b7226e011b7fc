"""What servers see of crafted packets, and what crafted clients see of servers, over both kinds of wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters.servers import python_environment

pytest.importorskip("scapy.layers.inet6", reason="needs scapy")
pytestmark = pytest.mark.needs_namespace

SCENES = Path(__file__).with_name("scenes.py")
TEXT = "The quick brown fox jumps over the lazy dog.\r\n"
SOURCES = {"ipv6": "2001:db8:f::25", "ipv4": "203.0.113.25"}


@pytest.fixture(scope="module", params=["tun-ipv6", "tun-ipv4", "veth-ipv6", "veth-ipv4"])
def played(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """All scenes over one kind of wire and one family, played in a fresh process that warns of nothing."""
    kind, _, family = request.param.partition("-")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(SCENES), kind, family],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=python_environment(),
    )
    if result.returncode == 3:
        pytest.skip(result.stdout.strip())
    assert (result.returncode, result.stderr) == (0, "")
    return family, json.loads(result.stdout)


def test_a_server_gets_the_same_octets_however_they_are_packed(played: tuple[str, dict[str, Any]]) -> None:
    family, seen = played
    assert len(seen["options"]) == (10 if family == "ipv6" else 6)
    for name, (failed, received, _, _) in seen["options"].items():
        assert (name, failed, received) == (name, "", [SOURCES[family], TEXT, "FIN"])


def test_the_options_are_seen_on_the_wire(played: tuple[str, dict[str, Any]]) -> None:
    """Beside SYN, ACK and FIN: a segment for each octet or five, three copies, fragments."""
    family, seen = played
    counts = {name: packets for name, (_, _, packets, _) in seen["options"].items()}
    before_fin = {name: line for name, (_, _, _, line) in seen["options"].items()}
    assert counts["plain"] == 4
    assert counts["one"] == 20 + 2 + 1  # what a transcript shows of 46
    assert counts["reversed"] == counts["overlap"] == 10 + 3
    assert counts["fragment"] == 3 + 3
    assert "seq 1," in before_fin["reversed"]
    assert "seq 43," in before_fin["overlap"]  # the last one begins at 46, three octets early
    if family == "ipv6":
        assert "hop-by-hop options" in before_fin["hop-by-hop"]
        assert "destination options" in before_fin["destination"]
        assert "flow label 0xabcde" in before_fin["flow-label"]
        for words in ("flow label 0x1", "hop-by-hop options", "fragment 40"):
            assert words in before_fin["all"]


def test_fin_and_rst_arrive_and_what_is_wrong_does_not(played: tuple[str, dict[str, Any]]) -> None:
    family, seen = played
    for name, end in (("fin", "FIN"), ("rst", "RST"), ("stray", "FIN")):
        assert seen["endings"][name] == ["", [SOURCES[family], TEXT, end]]


def test_each_turn_that_waits_is_met_or_says_what_came(played: tuple[str, dict[str, Any]]) -> None:
    _, seen = played
    turns = {name: said.partition(" | ")[2] for name, said in seen["awaited"].items() if ": told" not in name}
    reply = "'220-hello\\n220 there'"
    assert turns == {
        "text": "",
        "closed": "",
        "other text": f"the reply {reply}",
        "closed with text": f"the octets {reply}",
        "nothing with text": f"the octets {reply}",
        "fin with text": f"the octets {reply}",
        "rst for fin": "FIN",
        "text after fin": "FIN",
        "not acknowledged": "",
        "too late": "nothing came within 0.05 s",
        "no port": "RST",
    }
    # 22 octets and the FIN; or the SYN alone.
    assert seen["awaited"]["text: told"] == 24
    assert seen["awaited"]["not acknowledged: told"] == 1
    assert seen["awaited"]["other text"].startswith("turn 4 of 4: a reply that begins with '250' within 10 s")


def test_window_and_mss_are_obeyed(played: tuple[str, dict[str, Any]]) -> None:
    assert played[1]["windows"] == {"failed": "", "mss": 600, "shut": ""}


def test_an_icmp_error_is_believed_when_its_checksum_is_right(played: tuple[str, dict[str, Any]]) -> None:
    family, seen = played
    smaller = 1280 - (60 if family == "ipv6" else 40)
    assert seen["icmp"] == {
        "none": ["", 1400, False],
        "too_big": ["", smaller, False],
        "too_big wrong": ["", 1400, False],
        "unreachable": ["", 1400, True],
        "unreachable wrong": ["", 1400, False],
    }


def test_wrong_checksums_are_dropped(played: tuple[str, dict[str, Any]]) -> None:
    family, seen = played
    assert seen["checksums"] == {"answered": [SOURCES[family]], "right": [True], "acknowledged": [8]}


def test_a_crowd_stays_and_acknowledges_and_sees_its_end(played: tuple[str, dict[str, Any]]) -> None:
    assert played[1]["crowd"] == {
        "established": 300,
        "greeted": [300, 3300],
        "open": 300,
        "peers": 300,
        "unacknowledged": 0,
        "ends": [200, 100, 0],
        "again": [2, 0],  # of addresses that nobody had before
    }


def test_a_crowd_is_answered_for_while_nobody_reads(played: tuple[str, dict[str, Any]]) -> None:
    assert played[1]["kept"] == {"end": "", "finished": 1, "threads": 1}


def test_servers_that_take_nobody(played: tuple[str, dict[str, Any]]) -> None:
    assert played[1]["not_all"] == {
        "full": [True, 0],
        "nobody": [0, 40, 0],
        "closed": [40, 0, 40],
        "half": [3000, 3000, 0, False],
    }
