"""Links, other hosts and steps ``os``: what no single value shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.addresses import Address, Interface, is_loopback, parse, parse_interface
from conformance.scenario import model, needs
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.words import expected, shown


def check_network(scenario: model.Scenario) -> list[Finding]:
    """Return what is wrong with the network that ``scenario`` describes."""
    findings = [*_links(scenario), *_hosts(scenario)]
    wired = any(isinstance(step, model.PacketsStep) for step in (*scenario.steps, *scenario.finally_))
    if wired and scenario.links:
        findings.append(
            Finding(
                ("links",),
                "crafted packets come over a wire of their own: make two scenarios, one with 'links' and one "
                "with 'packets'",
                at_key=True,
            )
        )
    there = {
        (link.name, found)
        for link in scenario.links
        for text in link.addresses
        if (found := _parsed(text)) is not None
    }
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            if isinstance(step, model.OsStep):
                findings.extend(_os(step.os, scenario, (block, index, "os")))
                findings.extend(_comes_and_goes(step.os, there, (block, index, "os")))
            elif isinstance(step, model.ConnectStep):
                findings.extend(_connect(step.connect, scenario, (block, index, "connect")))
            elif isinstance(step, model.SweepStep) and wired:
                findings.append(
                    Finding(
                        (block, index, "sweep"),
                        "beyond the wire of crafted packets a kernel client has few addresses: make two "
                        "scenarios, one with 'sweep' and one with 'packets'",
                        at_key=True,
                    )
                )
    return findings


def _links(scenario: model.Scenario) -> Iterator[Finding]:
    names = [link.name for link in scenario.links]
    for index, link in enumerate(scenario.links):
        if link.name in names[:index] or link.name == "lo":
            yield Finding(("links", index, "name"), f"there is an interface {link.name!r} already")
        yield from _addresses(link.addresses, ("links", index, "addresses"))


def _hosts(scenario: model.Scenario) -> Iterator[Finding]:
    links = [link.name for link in scenario.links]
    names = [host.name for host in scenario.hosts]
    for index, host in enumerate(scenario.hosts):
        if host.name in names[:index]:
            yield Finding(("hosts", index, "name"), f"there is a host {host.name!r} already")
        if host.link not in links:
            yield Finding(("hosts", index, "link"), _unknown("link", host.link, links))
        yield from _addresses(host.addresses, ("hosts", index, "addresses"))


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    hint = expected(known, name) if known else f"this scenario has no '{kind}s'"
    return f"unknown {kind} {name!r}; {hint}"


def _addresses(texts: Sequence[str], path: DocumentPath) -> Iterator[Finding]:
    for index, text in enumerate(texts):
        yield from _interface(text, (*path, index))


def _interface(text: str, path: DocumentPath) -> Iterator[Finding]:
    if _parsed(text) is None:
        yield Finding(
            path, f"{shown(text)} is no address with its prefix length; expected one such as 2001:db8:1::1/64"
        )


def _parsed(text: str) -> Interface | None:
    try:
        return parse_interface(text)
    except ValueError:
        return None


def _os(os: model.Os, scenario: model.Scenario, path: DocumentPath) -> Iterator[Finding]:
    if os == model.Os() or (os.link is not None and os.add_address is None and os.remove_address is None):
        known = [name for name in model.Os.model_fields if name != "link"]
        yield Finding(path, f"this changes nothing; {expected(known, '')}")
    for key in ("add_address", "remove_address"):
        if (text := getattr(os, key)) is not None:
            yield from _interface(text, (*path, key))
    links = [link.name for link in scenario.links]
    if os.link is not None and os.link not in links:
        yield Finding((*path, "link"), _unknown("link", os.link, links))


def _comes_and_goes(os: model.Os, there: set[tuple[str, Interface]], path: DocumentPath) -> Iterator[Finding]:
    """Follow which addresses the server's host has: ``there`` is changed as the step does it."""
    name = os.link or "lo"
    if os.remove_address is not None and (gone := _parsed(os.remove_address)) is not None:
        if (name, gone) not in there:
            known = [str(address) for link, address in there if link == name]
            yield Finding(
                (*path, "remove_address"),
                f"the server's host has no address {gone} on {name}; {expected(sorted(known), str(gone))}",
            )
        there.discard((name, gone))
    if os.add_address is not None and (come := _parsed(os.add_address)) is not None:
        if (name, come) in there:
            yield Finding(
                (*path, "add_address"), f"the server's host has the address {come} on {name} already"
            )
        there.add((name, come))


def _connect(connect: model.Connect, scenario: model.Scenario, path: DocumentPath) -> Iterator[Finding]:
    if connect.host is None:
        return
    hosts = {host.name: host for host in scenario.hosts}
    if connect.host not in hosts:
        yield Finding((*path, "host"), _unknown("host", connect.host, list(hosts)))
        return
    here = [found.ip for text in hosts[connect.host].addresses if (found := _parsed(text)) is not None]
    yield from _way(connect, scenario, here, path)
    try:
        source = None if connect.from_ is None else parse(connect.from_.partition("%")[0])
    except ValueError:
        return
    if source is not None and source not in here:
        yield Finding(
            (*path, "from"),
            f"the host {connect.host} has no address {connect.from_}; "
            f"{expected([str(address) for address in here], connect.from_ or '')}",
        )


def _way(
    connect: model.Connect, scenario: model.Scenario, here: Sequence[Address], path: DocumentPath
) -> Iterator[Finding]:
    """Yield why nobody gets from a host with the addresses ``here`` to the target."""
    texts = {port.name: port.address for port in needs.all_ports(scenario)}
    text, key = (connect.at, "at") if connect.at is not None else (texts.get(connect.to), "to")
    try:
        target = parse(text or "")
    except ValueError:
        return  # found elsewhere, or a port of the default configuration
    if target.is_unspecified or is_loopback(target):
        why = "another host reaches an address of a link only" + (
            "; say which with 'at'" if key == "to" else ""
        )
        yield Finding((*path, key), why)
    elif not any((one.version, one.is_link_local) == (target.version, target.is_link_local) for one in here):
        kind = "link-local" if target.is_link_local else "IPv6" if target.version == 6 else "IPv4"
        yield Finding((*path, "host"), f"the host {connect.host} has no {kind} address to come from")
