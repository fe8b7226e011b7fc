"""Smart hosts, names, relay and the steps about outgoing mail: what no single value shows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from conformance.addresses import Address, parse
from conformance.peers.behaviour import Behaviour
from conformance.peers.names import Records
from conformance.scenario import model
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.needs import all_steps
from conformance.scenario.words import expected, shown

_NO_PORT = ("smart_hosts",)


def check_outgoing(scenario: model.Scenario, *, names_known: bool, complete: bool) -> Iterator[Finding]:
    """Yield what is wrong with outgoing mail in ``scenario``; see `Salvaged` for the flags."""
    yield from _smart_hosts(scenario, complete=complete)
    if scenario.dns is not None:
        yield from _zone(scenario.dns.zone, ("dns", "zone"))
        for index, text in enumerate(scenario.dns.at):
            yield from _address(text, ("dns", "at", index))
    if isinstance(scenario.server, model.Server):
        yield from _relay(scenario.server.relay, scenario, ("server", "relay"), names_known)
        yield from _bind(scenario.server.delivery, ("server", "delivery", "bind"))
    seen: set[str] = set()
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            yield from _step(step, scenario, (block, index), names_known, seen)
    if complete and names_known:
        yield from _evidence(scenario)


def _smart_hosts(scenario: model.Scenario, *, complete: bool) -> Iterator[Finding]:
    names = [one.name for one in scenario.smart_hosts]
    taken: set[tuple[Address, str, str | None]] = set()
    hosts = [one.name for one in scenario.hosts]
    for index, one in enumerate(scenario.smart_hosts):
        path: DocumentPath = ("smart_hosts", index)
        if one.name in names[:index]:
            yield Finding((*path, "name"), f"there is a smart host {one.name!r} already")
        if complete and one.host is not None and one.host not in hosts:
            hint = expected(hosts, one.host) if hosts else "this scenario has no 'hosts'"
            yield Finding((*path, "host"), f"unknown host {one.host!r}; {hint}")
        if one.port != "any" and not _is_number(one.port):
            yield Finding(
                (*path, "port"), f"{shown(one.port)} is no port number; expected any, or one such as 25"
            )
        for place, text in enumerate(one.addresses):
            yield from _address(text, (*path, "addresses", place))
            address = _parsed(text)
            if address is not None and (address, one.port, one.host) in taken:
                yield Finding(
                    (*path, "addresses", place),
                    f"another smart host with this port is at {text} already: give this one another address",
                )
            elif address is not None:
                taken.add((address, one.port, one.host))
        yield from _behaviour(one.behaviour, (*path, "behaviour"))


def _behaviour(behaviour: Behaviour, path: DocumentPath) -> Iterator[Finding]:
    for key, replies in (("answer", behaviour.answer), ("recipients", behaviour.recipients)):
        for name, reply in replies.items():
            if re.fullmatch(r"[2-5]\d\d( .*)?", reply) is None:
                yield Finding(
                    (*path, key, name),
                    f"{shown(reply)} is no reply; expected a code, such as 451 4.3.0 later",
                )
    if behaviour.times is not None and not (behaviour.answer or behaviour.recipients or behaviour.cut):
        yield Finding(
            (*path, "times"), "'times' counts answers, recipients and cuts, and there are none", at_key=True
        )
    if behaviour.security == "none" and (behaviour.certificate is not None or behaviour.untrusted):
        yield Finding(path, "a certificate is shown with TLS only: write 'security', too")


def _zone(zone: dict[str, Records], path: DocumentPath) -> Iterator[Finding]:
    if zone:
        # dnspython takes a while to load, and few scenarios have names.
        from conformance.peers.dns_messages import problem
    for name, records in zone.items():
        if wrong := problem(name, records):
            yield Finding((*path, name), wrong)


def _relay(
    relay: model.Relay | None, scenario: model.Scenario, path: DocumentPath, names_known: bool
) -> Iterator[Finding]:
    if relay is None:
        return
    if not relay.to.strip(" |"):
        yield Finding((*path, "to"), "a relay is a host name or an address; leave it out where there is none")
    if relay.port == "smart_hosts":
        numbers = {one.port for one in scenario.smart_hosts}
        if names_known and len(numbers) != 1:
            found = "they have several" if numbers else "there are none"
            yield Finding(
                path,
                f"the relay's port is that of the smart hosts, and {found}: write 'port'",
            )
    elif names_known and not _is_number(relay.port):
        ports = (
            [one.name for one in scenario.server.ports] if isinstance(scenario.server, model.Server) else []
        )
        if relay.port not in ports:
            yield Finding(
                (*path, "port"), f"unknown port {relay.port!r}; {expected([*_NO_PORT, *ports], relay.port)}"
            )


def _bind(delivery: model.Delivery, path: DocumentPath) -> Iterator[Finding]:
    if delivery.bind:
        yield from _address(delivery.bind, path)


def _step(
    step: model.AnyStep, scenario: model.Scenario, path: DocumentPath, names_known: bool, seen: set[str]
) -> Iterator[Finding]:
    hosts = [one.name for one in scenario.smart_hosts]
    match step:
        case model.SendStep(send=send):
            if send.as_ is not None:
                if send.as_ in seen:
                    yield Finding((*path, "send", "as"), f"a message is called {send.as_!r} already")
                seen.add(send.as_)
        case model.RelayedStep():
            for index, name in enumerate(step.relayed.by):
                if names_known and name not in hosts:
                    yield _unknown("smart host", name, hosts, (*path, "relayed", "by", index))
            message = step.relayed.message
            if names_known and message is not None and message not in seen:
                yield _unknown("message", message, sorted(seen), (*path, "relayed", "message"))
            for index, expectation in enumerate(step.expect):
                yield from _relayed(step.relayed, expectation, (*path, "expect", index))
        case model.SmartHostStep(smart_host=change):
            if names_known and change.name not in hosts:
                yield _unknown("smart host", change.name, hosts, (*path, "smart_host", "name"))
            yield from _behaviour(change.behaviour, (*path, "smart_host", "behaviour"))
        case model.DnsStep(dns=change):
            yield from _zone(change.zone, (*path, "dns", "zone"))
            if change == model.DnsChange() and not step.expect:
                yield Finding((*path, "dns"), "this changes nothing, and expects nothing")
        case model.QueueStep(queue=queue):
            if queue.retry and queue.delete:
                yield Finding((*path, "queue"), "expected one of 'retry' and 'delete', found both")
            if queue == model.Queue() and not step.expect:
                yield Finding((*path, "queue"), "this does nothing; write what to expect, or 'retry: true'")
        case model.ChangeStep(change=change):
            yield from _relay(change.relay, scenario, (*path, "change", "relay"), names_known)
            if change.delivery is not None:
                yield from _bind(change.delivery, (*path, "change", "delivery", "bind"))
            if change.relay is not None and change.no_relay:
                yield Finding(
                    (*path, "change", "no_relay"), "'relay' says the contrary; keep one", at_key=True
                )
        case _:
            pass


def _relayed(
    relayed: model.Relayed, expectation: model.RelayedExpectation, path: DocumentPath
) -> Iterator[Finding]:
    for key in ("from_", "at"):
        text = getattr(expectation, key)
        if text is not None:
            yield from _address(text, (*path, key.rstrip("_")))
    if expectation.ehlo is not None:
        try:
            re.compile(expectation.ehlo)
        except re.error as error:
            yield Finding((*path, "ehlo"), f"this is no regular expression: {error}")
    if expectation.times is not None and expectation.at_most is not None:
        yield Finding((*path, "at_most"), "'times' says exactly how often already", at_key=True)
    if expectation.accounted and relayed.notification:
        yield Finding((*path, "accounted"), "messages are accounted for, not notifications", at_key=True)
    if expectation.content is not None and relayed.notification:
        yield Finding((*path, "content"), "nobody knows what a notification has to be like", at_key=True)


def _evidence(scenario: model.Scenario) -> Iterator[Finding]:
    """A server that sends nothing at all relays nothing to the wrong host either."""
    doubt: DocumentPath | None = None
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            if not isinstance(step, model.RelayedStep):
                continue
            for place, expectation in enumerate(step.expect):
                if expectation.times != 0 or expectation.control:
                    return
                doubt = doubt or (block, index, "expect", place, "times")
    if doubt is not None and not _mail_comes_back(scenario):
        yield Finding(
            doubt,
            "a server that sends nothing shows this, too: this scenario needs a positive control, such as a "
            "step 'relayed' of what a smart host did get, or a look into the queue",
        )


def _mail_comes_back(scenario: model.Scenario) -> bool:
    return any(
        isinstance(step, (model.FetchStep, model.QueueStep)) and step.expect for step in all_steps(scenario)
    )


def _unknown(what: str, name: str, known: list[str], path: DocumentPath) -> Finding:
    hint = expected(known, name) if known else "there is none at this point"
    return Finding(path, f"unknown {what} {name!r}; {hint}")


def _address(text: str, path: DocumentPath) -> Iterator[Finding]:
    if _parsed(text) is None:
        yield Finding(
            path, f"{shown(text)} is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1"
        )


def _parsed(text: str) -> Address | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536
