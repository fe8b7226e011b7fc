"""The step ``sweep``: what no single value shows."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.addresses import Address, family, parse
from conformance.scenario import model
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.needs import all_ports, all_ranges, all_steps
from conformance.scenario.words import expected, shown


def check_sweeps(scenario: model.Scenario, *, names_known: bool = True) -> Iterator[Finding]:
    """Yield what is wrong with the sweeps of ``scenario``; ``names_known``: it names every range it has."""
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            if isinstance(step, model.SweepStep):
                path = (block, index, "sweep")
                yield from _addresses(step.sweep, scenario, path)
                if names_known and scenario.server != "default":
                    yield from _ranges(step.sweep, scenario, path)


def proves_life(scenario: model.Scenario) -> bool:
    """Say whether a step whose outcome is written shows that the server serves somebody."""
    return any(
        isinstance(step, (model.TalkStep, model.FetchStep))
        or any(
            getattr(expectation, "outcome", "") in ("served", "accepted")
            for expectation in getattr(step, "expect", ())
        )
        for step in all_steps(scenario)
        if not isinstance(step, model.AdminStep)
    )


def _addresses(sweep: model.Sweep, scenario: model.Scenario, path: DocumentPath) -> Iterator[Finding]:
    target = None
    if sweep.at is not None:
        target = _parsed(sweep.at)
        if target is None:
            yield _no_address(sweep.at, (*path, "at"))
    else:
        port = next((one for one in all_ports(scenario) if one.name == sweep.to), None)
        target = _parsed(port.address) if port is not None else None
    seen: set[Address] = set()
    for index, text in enumerate(sweep.sources):
        source = _parsed(text)
        place = (*path, "sources", index)
        if source is None:
            yield _no_address(text, place)
            continue
        if getattr(source, "scope_id", None):
            yield Finding(place, f"{shown(text)} has a zone; the clients of a sweep have none")
        if target is not None and source.version != target.version:
            yield Finding(
                place,
                f"{text} is of {_name(source)}, and this sweep goes to an {_name(target)} address ({target})",
            )
        if source in seen:
            yield Finding(place, f"the address {text} stands in this list already")
        seen.add(source)


def _ranges(sweep: model.Sweep, scenario: model.Scenario, path: DocumentPath) -> Iterator[Finding]:
    known = list(dict.fromkeys(one.name for one in all_ranges(scenario)))
    chosen = known if sweep.ranges is None else sweep.ranges
    for index, name in enumerate(sweep.ranges or ()):
        if name not in known:
            hint = expected(known, name) if known else "this scenario has none"
            yield Finding((*path, "ranges", index), f"unknown IP range {name!r}; {hint}")
        if name in (sweep.ranges or ())[:index]:
            yield Finding((*path, "ranges", index), f"the IP range {name!r} stands in this list already")
    if not chosen and not sweep.sources and not sweep.random:
        yield Finding(
            path, "nobody would come: no IP range is swept; name 'sources', or a number of 'random' ones"
        )


def _parsed(text: str) -> Address | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _no_address(text: str, path: DocumentPath) -> Finding:
    return Finding(path, f"{shown(text)} is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1")


def _name(address: Address) -> str:
    return "IPv4" if family(address) == "ipv4" else "IPv6"
