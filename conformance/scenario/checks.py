"""What no single value shows: whether a scenario judges something, proves it, and does what can be done.

`check` is the door; names that refer to each other are in `names`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from conformance.addresses import Address, parse
from conformance.requirements import Catalogue
from conformance.scenario import model
from conformance.scenario.check_network import check_network
from conformance.scenario.check_outgoing import check_outgoing
from conformance.scenario.check_packets import check_packets
from conformance.scenario.check_sweep import check_sweeps
from conformance.scenario.mistakes import DocumentPath, Finding
from conformance.scenario.names import check_names
from conformance.scenario.validation import Salvaged
from conformance.scenario.words import expected, listed, nearest, shown

_EXPIRY_WORDS = ("never", "past", "future")
_ADMIN_VERBS = ("add", "change", "delete", "read")
_SEEN_ON_A_LIVING_SERVER_ONLY = ("served", "accepted")
_NEUTRAL = "wrong_protocol"


def check(parts: Salvaged, catalogue: Catalogue) -> list[Finding]:
    """Return everything that is wrong with a scenario whose single values are right, in no order.

    Of one with wrong parts, what can be said without guessing at them.
    """
    scenario = parts.scenario
    findings = [
        *_requirements(scenario, catalogue),
        *_ports(scenario),
        *_ranges(scenario),
        *_steps(scenario),
    ]
    findings.extend(check_network(scenario))
    findings.extend(check_packets(scenario, complete=parts.complete))
    findings.extend(check_outgoing(scenario, names_known=parts.names_known, complete=parts.complete))
    findings.extend(check_sweeps(scenario, names_known=parts.names_known))
    if parts.names_known:
        findings.extend(check_names(scenario))
    if parts.complete:
        findings.extend(_judging(scenario))
        findings.extend(_evidence(scenario))
    return findings


def located_steps(scenario: model.Scenario) -> Iterator[tuple[DocumentPath, model.AnyStep]]:
    """Yield the steps with their paths, those of ``finally`` last."""
    for block, steps in (("steps", scenario.steps), ("finally", scenario.finally_)):
        for index, step in enumerate(steps):
            yield (block, index), step


def located_expectations(scenario: model.Scenario) -> Iterator[tuple[DocumentPath, model.Expectation]]:
    """Yield the expectations of all steps with their paths."""
    for path, step in located_steps(scenario):
        for index, expectation in enumerate(getattr(step, "expect", ())):
            yield (*path, "expect", index), expectation


# --- requirements and judging -----------------------------------------------------------------------


def _repeated(words: tuple[str, ...], path: DocumentPath) -> Iterator[Finding]:
    for index, word in enumerate(words):
        if word in words[:index]:
            yield Finding((*path, index), f"{word!r} stands in this list already")


def _requirements(scenario: model.Scenario, catalogue: Catalogue) -> Iterator[Finding]:
    yield from _repeated(scenario.requirements, ("requirements",))
    yield from _repeated(scenario.catches, ("catches",))
    for index, requirement in enumerate(scenario.requirements):
        if requirement not in catalogue:
            yield Finding(("requirements", index), catalogue.unknown(requirement))
    for path, expectation in located_expectations(scenario):
        judges = expectation.judges or ()
        yield from _repeated(judges, (*path, "judges"))
        for index, requirement in enumerate(judges):
            place = (*path, "judges", index)
            if requirement not in catalogue:
                yield Finding(place, catalogue.unknown(requirement))
            elif scenario.requirements and requirement not in scenario.requirements:
                yield Finding(
                    place,
                    f"{requirement} is not among this scenario's requirements "
                    f"({', '.join(scenario.requirements)}); add it there, or judge one of these",
                )


def _judging(scenario: model.Scenario) -> Iterator[Finding]:
    judged: set[str] = set()
    for path, expectation in located_expectations(scenario):
        if expectation.control:
            if expectation.judges:
                message = "a control judges nothing; remove 'judges', or 'control: true'"
                yield Finding((*path, "judges"), message, at_key=True)
            continue
        if expectation.judges == ():
            yield Finding(
                (*path, "judges"),
                "this expectation judges nothing; name requirements, or write 'control: true' instead",
            )
        judged.update(scenario.requirements if expectation.judges is None else expectation.judges)
    for index, requirement in enumerate(scenario.requirements):
        if requirement not in judged:
            yield Finding(
                ("requirements", index),
                f"no expectation judges {requirement}; write one that does, or remove it here",
            )


# --- evidence ---------------------------------------------------------------------------------------


def _evidence(scenario: model.Scenario) -> Iterator[Finding]:
    """A dead server refuses and is silent too: what only such a server shows proves nothing alone."""
    mail_alive = administration_alive = False
    mail_doubt: tuple[DocumentPath, str] | None = None
    other_doubt: tuple[DocumentPath, str] | None = None
    for path, expectation in located_expectations(scenario):
        word, field = _word(expectation)
        if _shows_mail_service(expectation):
            mail_alive = True
        elif isinstance(expectation, model.StatusExpectation) or word == "accepted":
            administration_alive = True
        elif _may_be_silence(expectation):
            doubt = ((*path, field), word)
            if isinstance(
                expectation,
                (
                    model.ConnectExpectation,
                    model.LoginExpectation,
                    model.SendExpectation,
                    model.SweepExpectation,
                ),
            ):
                mail_doubt = mail_doubt or doubt
            else:
                other_doubt = other_doubt or doubt
    if mail_doubt is not None and not mail_alive:
        yield _needs_control(*mail_doubt)
    elif other_doubt is not None and not (mail_alive or administration_alive):
        yield _needs_control(*other_doubt)


def _word(expectation: model.Expectation) -> tuple[str, str]:
    """Return the word that an expectation stands or falls with, and its key."""
    for field in ("outcome", "state", "ipv6"):
        word = getattr(expectation, field, None)
        if word is not None:
            return str(word), field
    return "", ""


def _shows_mail_service(expectation: model.Expectation) -> bool:
    match expectation:
        case model.TalkExpectation() | model.FetchExpectation():
            return True
        case (
            model.ConnectExpectation()
            | model.LoginExpectation()
            | model.SendExpectation()
            | model.SweepExpectation()
        ):
            return expectation.outcome in _SEEN_ON_A_LIVING_SERVER_ONLY
        case _:
            return False


def _may_be_silence(expectation: model.Expectation) -> bool:
    match expectation:
        case model.ConnectExpectation():
            return expectation.outcome != _NEUTRAL
        case model.SweepExpectation():
            # Of "oracle" the step itself sees to it that somebody is to be served.
            return expectation.outcome not in (_NEUTRAL, "oracle")
        case model.LoginExpectation() | model.SendExpectation():
            return not expectation.code  # a code that was said is a sign of life
        case model.AdminExpectation():
            return expectation.outcome != "accepted"
        case model.ListeningExpectation():
            return expectation.state == "failed"
        case model.SocketsExpectation():
            return expectation.ipv6 == "none"
        case model.DescriptorsExpectation():
            return True
        case _:
            return False


def _needs_control(path: DocumentPath, word: str) -> Finding:
    seen = f"{word!r} is" if word and word != "oracle" else "this may be"
    return Finding(
        path,
        f"{seen} what a dead server shows too: this scenario needs a positive control, such as a step "
        "'connect: {to: …}' with 'expect: {outcome: served, control: true}'",
    )


# --- ports, ranges, steps ---------------------------------------------------------------------------


def _address(text: str, path: DocumentPath, findings: list[Finding]) -> Address | None:
    try:
        return parse(text)
    except ValueError:
        findings.append(
            Finding(
                path,
                f"{shown(text)} is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1",
            )
        )
        return None


def _ports(scenario: model.Scenario) -> list[Finding]:
    findings: list[Finding] = []
    groups: list[tuple[DocumentPath, tuple[model.Port, ...]]] = []
    if isinstance(scenario.server, model.Server):
        groups.append((("server", "ports"), scenario.server.ports))
    for path, step in located_steps(scenario):
        if isinstance(step, model.ChangeStep):
            groups.append(((*path, "change", "add_ports"), step.change.add_ports))
    for path, ports in groups:
        for index, port in enumerate(ports):
            _address(port.address, (*path, index, "address"), findings)
            if not port.name:
                findings.append(Finding((*path, index, "name"), "a port needs a name; steps call it by that"))
    return findings


def _ranges(scenario: model.Scenario) -> list[Finding]:
    findings: list[Finding] = []
    groups: list[tuple[DocumentPath, tuple[model.IpRange, ...]]] = []
    if isinstance(scenario.server, model.Server):
        groups.append((("server", "ip_ranges"), scenario.server.ip_ranges or ()))
    for path, step in located_steps(scenario):
        if isinstance(step, model.ChangeStep):
            groups.append(((*path, "change", "add_ip_ranges"), step.change.add_ip_ranges))
            groups.append(((*path, "change", "replace_ip_ranges"), step.change.replace_ip_ranges))
    for path, ranges in groups:
        for index, ip_range in enumerate(ranges):
            _range(ip_range, (*path, index), findings)
    return findings


def _range(ip_range: model.IpRange, path: DocumentPath, findings: list[Finding]) -> None:
    if not ip_range.name:
        findings.append(Finding((*path, "name"), "an IP range needs a name"))
    for flag in ("allow", "deliver", "require_auth"):
        findings.extend(_repeated(getattr(ip_range, flag), (*path, flag)))
    lower = _address(ip_range.lower, (*path, "lower"), findings)
    upper = _address(ip_range.upper, (*path, "upper"), findings)
    for bound, key in ((lower, "lower"), (upper, "upper")):
        if bound is not None and getattr(bound, "scope_id", None):
            findings.append(Finding((*path, key), f"{shown(str(bound))} has a zone; a range has none"))
    if lower is not None and upper is not None:
        if lower.version != upper.version:
            findings.append(
                Finding(
                    (*path, "upper"),
                    f"the bounds are of two families: lower {ip_range.lower}, upper {ip_range.upper}; "
                    "a range is IPv4 or IPv6",
                )
            )
        elif int(lower) > int(upper):
            findings.append(
                Finding(
                    (*path, "lower"),
                    f"the range is reversed: lower {ip_range.lower} is above upper {ip_range.upper}; "
                    "exchange them",
                )
            )
    if not _is_expiry(ip_range.expires):
        meant = nearest(ip_range.expires, _EXPIRY_WORDS)
        findings.append(
            Finding(
                (*path, "expires"),
                f"{shown(ip_range.expires)} is no time of expiry; expected {listed(_EXPIRY_WORDS)}, or a "
                "time in UTC such as 2030-01-02 03:04:05" + (f"; did you mean {meant!r}?" if meant else ""),
            )
        )


def _is_expiry(text: str) -> bool:
    if text in _EXPIRY_WORDS:
        return True
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - UTC by definition
    except ValueError:
        return False
    return moment.strftime("%Y-%m-%d %H:%M:%S") == text


def _steps(scenario: model.Scenario) -> list[Finding]:
    findings: list[Finding] = []
    for path, step in located_steps(scenario):
        match step:
            case model.ConnectStep():
                _connect(step, path, findings)
            case model.LoginStep(login=visit):
                _source(visit.from_, (*path, "login", "from"), findings)
            case model.SendStep(send=visit):
                _source(visit.from_, (*path, "send", "from"), findings)
                if not visit.rcpt_to:
                    findings.append(Finding((*path, "send", "rcpt_to"), "a message needs a recipient"))
            case model.FetchStep(fetch=visit):
                _source(visit.from_, (*path, "fetch", "from"), findings)
            case model.AdminStep(admin=admin):
                _admin(admin, (*path, "admin"), findings)
            case model.ChangeStep(change=change):
                if change == model.Change():
                    findings.append(
                        Finding(
                            (*path, "change"),
                            f"this changes nothing; {expected(model.Change.model_fields, '')}",
                        )
                    )
            case _:
                pass
    return findings


def _source(text: str | None, path: DocumentPath, findings: list[Finding]) -> None:
    if text is not None:
        _address(text, path, findings)


def _connect(step: model.ConnectStep, path: DocumentPath, findings: list[Finding]) -> None:
    connect = step.connect
    _source(connect.from_, (*path, "connect", "from"), findings)
    _source(connect.at, (*path, "connect", "at"), findings)
    if connect.as_ is not None and connect.times > 1:
        message = "'as' names one session, and 'times' opens several; give each its own step"
        findings.append(Finding((*path, "connect", "times"), message))
    for index, one in enumerate(step.expect):
        if one.within is not None and one.warn_after is not None and one.warn_after >= one.within:
            findings.append(
                Finding(
                    (*path, "expect", index, "warn_after"),
                    "'warn_after' is not earlier than 'within', so that nothing would be warned about",
                )
            )


def _admin(admin: model.Admin, path: DocumentPath, findings: list[Finding]) -> None:
    given = [verb for verb in _ADMIN_VERBS if getattr(admin, verb) is not None]
    if len(given) != 1:
        found = f"found {listed(given, last='and')}" if given else "found none"
        findings.append(Finding(path, f"expected exactly one of {listed(_ADMIN_VERBS)}, {found}"))
        return
    verb, kind = given[0], getattr(admin, given[0])
    if kind == "settings" and verb == "add":
        findings.append(Finding((*path, "add"), "settings are there already; write 'change: settings'"))
    if verb != "add" and kind != "settings" and not admin.name:
        findings.append(Finding((*path, verb), f"'name' is missing: which {kind} to {verb}", at_key=True))
