"""The steps ``listening``, ``status``, ``descriptors``, ``sockets``: looking at the server from outside."""

from __future__ import annotations

import re

from conformance.adapters.base import Endpoint
from conformance.addresses import family, parse, with_port
from conformance.network import processes
from conformance.run.context import Context, ScenarioAtFault
from conformance.scenario import model
from conformance.verdict.judge import found

_ADDRESS = re.compile(r"[0-9A-Fa-f:.]*[:.][0-9A-Fa-f:.]*[0-9A-Fa-f:]")


def listening(context: Context, step: model.ListeningStep) -> None:
    """Judge whether a port opened, and whether a failure was reported by address and number."""
    endpoint = context.endpoint(step.listening.port)
    log = context.adapter.log() if "log" in context.hello.capabilities else ""
    for expectation in step.expect:
        expected = f"the port {endpoint.name} {expectation.state}"
        actual = f"the port {endpoint.name} {endpoint.state}"
        if endpoint.error:
            actual += f" ({endpoint.error})"
        met = endpoint.state == expectation.state
        if expectation.reported:
            expected += ", reported with address and number"
            reported = is_reported(endpoint, f"{endpoint.error}\n{log}")
            actual += ", reported" if reported else ", and no line of the report has both address and number"
            met = met and reported
        context.judge(expectation, found(met, expected, actual))


def is_reported(endpoint: Endpoint, text: str) -> bool:
    """Say whether one line of ``text`` names the address, in any form, and the number of a port."""
    number = re.compile(rf"(?<!\d){endpoint.port}(?!\d)")
    return any(number.search(line) and _names(line, endpoint.address) for line in text.splitlines())


def _names(line: str, address: str) -> bool:
    wanted = parse(address)
    for token in _ADDRESS.findall(line):
        # "[::1]:25:", "::1:25" and "on 127.0.0.1." all occur: try without the end, and without a number.
        bare = token.rstrip(":.")
        for text in (token, bare, bare.rpartition(":")[0]):
            try:
                if parse(text) == wanted:
                    return True
            except ValueError:
                continue
    return False


def status(context: Context, step: model.StatusStep) -> None:
    """Judge what the server says of itself."""
    answer = context.adapter.status()
    context.transcript.record("server", "received", f"status: {answer.text or answer.ipv6_available}")
    for expectation in step.expect:
        expected = f"the server says IPv6 available: {expectation.ipv6_available}"
        actual = f"it says {answer.ipv6_available}"
        context.judge(
            expectation, found(answer.ipv6_available is expectation.ipv6_available, expected, actual)
        )


def descriptors(context: Context, step: model.DescriptorsStep) -> None:
    """Take a mark of the open descriptors, or compare with one."""
    count = processes.open_descriptors(context.running.pids)
    context.transcript.action(f"open descriptors of the server: {count}")
    if step.descriptors.mark is not None:
        context.marks[step.descriptors.mark] = count
    if step.descriptors.since is None:
        return
    before = context.marks.get(step.descriptors.since)
    if before is None:
        raise ScenarioAtFault(f"the mark {step.descriptors.since!r} was not taken")
    for expectation in step.expect:
        context.judge(
            expectation,
            found(
                count - before <= expectation.growth_at_most,
                f"at most {expectation.growth_at_most} open descriptors more",
                f"{before} before, {count} after",
            ),
        )


def sockets(context: Context, step: model.SocketsStep) -> None:
    """Judge the listening sockets of the server's processes."""
    # The administration's own channel is no mail listener: the page speaks of TCP/IP ports.
    mail = {endpoint.port for endpoint in context.running.endpoints}
    table = processes.listening_sockets(context.running.pids)
    listed = ", ".join(with_port(one.address, one.port) for one in table) or "none"
    context.transcript.action(f"listening sockets of the server: {listed}")
    six = [one for one in table if family(one.address) == "ipv6" and not one.address.is_loopback]
    six += [one for one in table if family(one.address) == "ipv6" and one.port in mail and one not in six]
    for expectation in step.expect:
        found_text = ", ".join(with_port(one.address, one.port) for one in six) or "none"
        met = bool(six) == (expectation.ipv6 == "some")
        context.judge(
            expectation,
            found(met, f"{expectation.ipv6} of the listening sockets is IPv6", found_text),
        )
