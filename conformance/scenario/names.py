"""Names in a scenario: ports, sessions, ranges and marks must be there before a step speaks of them.

The steps are walked in their order, as the runner will. With ``server: default`` the shipped ports and
ranges are the adapter's to name, so that no port or range is unknown there.
"""

from __future__ import annotations

from collections.abc import Iterable

from conformance.addresses import Address, family, parse
from conformance.scenario import model
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.words import expected, listed, shown

_NUMBER_WORDS = ("any", "in_use")
_ARTICLES = {"ip_range": "IP range", "port": "port"}


def check_names(scenario: model.Scenario) -> list[Finding]:
    """Return what is wrong with the names in ``scenario``, and with families of a source and its target."""
    walk = _Walk(shipped=scenario.server == "default")
    if isinstance(scenario.server, model.Server):
        walk.add_ports(scenario.server.ports, ("server", "ports"))
        walk.add_ranges(scenario.server.ip_ranges or (), ("server", "ip_ranges"))
        walk.add_accounts(scenario.server.accounts)
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            walk.step(step, (block, index))
    return walk.findings


def _address(text: str | None) -> Address | None:
    """Return the address, or None: what does not parse is another module's finding."""
    try:
        return None if text is None else parse(text)
    except ValueError:
        return None


class _Walk:
    """What has a name at this point of the scenario."""

    def __init__(self, *, shipped: bool) -> None:
        self._shipped = shipped
        self._ports: dict[str, model.Port] = {}
        self._deleted_ports: set[str] = set()
        self._entered_ports: set[str] = set()
        self._ranges: set[str] = set()
        self._entered_ranges: set[str] = set()
        self._sessions: dict[str, bool] = {}
        self._marks: set[str] = set()
        self.findings: list[Finding] = []

    # --- what the server has ---

    def add_ports(self, ports: Iterable[model.Port], path: DocumentPath) -> None:
        given = tuple(ports)
        for index, port in enumerate(given):
            if port.name in self._ports and port.name not in self._deleted_ports:
                self._say(
                    (*path, index, "name"),
                    f"there is a port {port.name!r} already; give this one another name",
                )
            self._ports[port.name] = port
            self._deleted_ports.discard(port.name)
        for index, port in enumerate(given):
            self._number(port, (*path, index, "number"))

    def _number(self, port: model.Port, path: DocumentPath) -> None:
        others = [name for name in self._ports if name != port.name]
        if (
            port.number in _NUMBER_WORDS
            or port.number in others
            or (self._shipped and not port.number.isdigit())
        ):
            return
        fixed = " (fixed numbers are not used: they may be taken)" if port.number.isdigit() else ""
        known = (*_NUMBER_WORDS, *others)
        self._say(path, f"{shown(port.number)} is no port number here; {expected(known, port.number)}{fixed}")

    def add_ranges(self, ranges: Iterable[model.IpRange], path: DocumentPath) -> None:
        for index, ip_range in enumerate(ranges):
            if ip_range.name in self._ranges:
                self._say(
                    (*path, index, "name"),
                    f"there is an IP range {ip_range.name!r} already; names are unique",
                )
            self._ranges.add(ip_range.name)

    def add_accounts(self, accounts: Iterable[model.Account]) -> None:
        seen: set[str] = set()
        for index, account in enumerate(accounts):
            path = ("server", "accounts", index, "address")
            local, at, domain = account.address.rpartition("@")
            if not (local and at and domain):
                self._say(
                    path,
                    f"{shown(account.address)} is no mail address; expected one such as user@example.test",
                )
            if account.address.casefold() in seen:
                self._say(path, f"there is an account {account.address!r} already")
            seen.add(account.address.casefold())

    # --- steps ---

    def step(self, step: model.AnyStep, path: DocumentPath) -> None:
        match step:
            case model.ConnectStep(connect=connect):
                self._visit(connect.to, connect.from_, (*path, "connect"), at=connect.at)
                self._open(connect.as_, (*path, "connect", "as"))
            case model.SweepStep(sweep=sweep):
                self._port(sweep.to, (*path, "sweep", "to"))
            case model.PacketsStep(packets=packets):
                self._port(packets.to, (*path, "packets", "to"))
            case model.LoginStep(login=login):
                self._visit(login.to, login.from_, (*path, "login"))
            case model.SendStep(send=send):
                self._visit(send.to, send.from_, (*path, "send"), speaks=("smtp",))
            case model.FetchStep(fetch=fetch):
                self._visit(fetch.to, fetch.from_, (*path, "fetch"), speaks=("pop3", "imap"))
            case model.TalkStep(talk=talk):
                self._session(talk.session, (*path, "talk", "session"))
            case model.DisconnectStep(disconnect=disconnect):
                self._session(disconnect.session, (*path, "disconnect", "session"))
                self._sessions[disconnect.session] = False
            case model.ListeningStep(listening=listening):
                self._port(listening.port, (*path, "listening", "port"))
            case model.DescriptorsStep():
                self._descriptors(step, path)
            case model.ChangeStep(change=change):
                self._change(change, (*path, "change"))
            case model.AdminStep():
                self._admin(step, (*path, "admin"))
            case _:
                pass

    def _port(self, name: str, path: DocumentPath) -> model.Port | None:
        known = self._ports.get(name)
        if known is None and not self._shipped and name not in self._entered_ports:
            ports = self._ports or {}
            hint = (
                expected(ports, name)
                if ports
                else "this scenario has no ports; add some below 'server: ports:'"
            )
            self._say(path, f"unknown port {name!r}; {hint}")
        return known

    def _visit(
        self,
        to: str,
        source: str | None,
        path: DocumentPath,
        *,
        at: str | None = None,
        speaks: tuple[str, ...] = (),
    ) -> None:
        port = self._port(to, (*path, "to"))
        if port is not None and speaks and port.protocol not in speaks:
            self._say(
                (*path, "to"),
                f"the port {to!r} speaks {port.protocol}; expected one that speaks {listed(speaks)}",
            )
        client = _address(source)
        target = _address(at if at is not None else port.address if port is not None else None)
        if client is not None and target is not None and client.version != target.version:
            self._say(
                (*path, "from"),
                f"an {_name(client)} client ({source}) cannot reach an {_name(target)} address "
                f"({at if at is not None else to}: {target}); take a source of its family",
            )

    def _open(self, name: str | None, path: DocumentPath) -> None:
        if name is None:
            return
        if self._sessions.get(name):
            self._say(
                path, f"the session {name!r} is open already; take another name, or disconnect it first"
            )
        self._sessions[name] = True

    def _session(self, name: str, path: DocumentPath) -> None:
        if name not in self._sessions:
            hint = (
                expected(self._sessions, name)
                if self._sessions
                else "no step before this one keeps one open with 'as'"
            )
            self._say(path, f"unknown session {name!r}; {hint}")
        elif not self._sessions[name]:
            self._say(path, f"the session {name!r} was disconnected by an earlier step")

    def _descriptors(self, step: model.DescriptorsStep, path: DocumentPath) -> None:
        mark, since = step.descriptors.mark, step.descriptors.since
        if (mark is None) == (since is None):
            found = "found both" if mark is not None else "found none"
            self._say((*path, "descriptors"), f"expected exactly one of 'mark' and 'since', {found}")
            return
        if mark is not None:
            if step.expect:
                self._say((*path, "expect"), "a mark expects nothing; write 'since' to compare with it")
            self._marks.add(mark)
            return
        assert since is not None
        if since not in self._marks:
            hint = expected(self._marks, since) if self._marks else "no step before this one takes a 'mark'"
            self._say((*path, "descriptors", "since"), f"unknown mark {since!r}; {hint}")
        if not step.expect:
            self._say(path, "'since' compares: write what to expect, such as 'expect: {growth_at_most: 0}'")

    def _change(self, change: model.Change, path: DocumentPath) -> None:
        for index, name in enumerate(change.delete_ports):
            place = (*path, "delete_ports", index)
            if name in self._deleted_ports:
                self._say(place, f"the port {name!r} was deleted by an earlier step")
            self._port(name, place)
            self._deleted_ports.add(name)
        self.add_ports(change.add_ports, (*path, "add_ports"))
        for index, name in enumerate(change.delete_ip_ranges):
            self._range(name, (*path, "delete_ip_ranges", index))
            self._ranges.discard(name)
        for index, ip_range in enumerate(change.replace_ip_ranges):
            self._range(ip_range.name, (*path, "replace_ip_ranges", index, "name"))
        self.add_ranges(change.add_ip_ranges, (*path, "add_ip_ranges"))

    def _range(self, name: str, path: DocumentPath) -> None:
        if name not in self._ranges and not self._shipped:
            known = sorted(self._ranges)
            hint = expected(known, name) if known else "there is none at this point"
            self._say(path, f"unknown IP range {name!r}; {hint}")

    def _admin(self, step: model.AdminStep, path: DocumentPath) -> None:
        admin = step.admin
        if admin.add is not None:
            entered = {admin.name, str(admin.values.get("name", ""))} - {""}
            (self._entered_ports if admin.add == "port" else self._entered_ranges).update(entered)
            return
        kind = admin.change or admin.delete or admin.read
        if kind is None or kind == "settings" or not admin.name or self._shipped:
            return
        known = (
            {*self._ports, *self._entered_ports} if kind == "port" else {*self._ranges, *self._entered_ranges}
        )
        if admin.name in known or any(one.outcome == "absent" for one in step.expect):
            return
        hint = expected(sorted(known), admin.name) if known else "there is none at this point"
        self._say((*path, "name"), f"unknown {_ARTICLES[kind]} {admin.name!r}; {hint}")
        return

    def _say(self, path: DocumentPath, message: str) -> None:
        self.findings.append(Finding(path, message))


def _name(address: Address) -> str:
    return "IPv4" if family(address) == "ipv4" else "IPv6"
