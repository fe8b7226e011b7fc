"""The step ``sweep``: one connection from each of many addresses, and a verdict on each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conformance.addresses import Address, family, parse, with_port
from conformance.clients import sweep as client
from conformance.clients.outcome import Observation
from conformance.clients.sweep import AT_ONCE, Swept
from conformance.errors import MachineError
from conformance.oracle import ExpectedConnection
from conformance.oracle.boundaries import Decisions, Sources, named, sources
from conformance.run.configuration import range_spec
from conformance.run.context import Context, ScenarioAtFault
from conformance.run.steps.connections import outcome_word
from conformance.scenario import model
from conformance.scenario.check_sweep import proves_life
from conformance.scenario.needs import all_ranges
from conformance.verdict import judge
from conformance.verdict.judge import Finding, State

NAMED = 5
"""Disagreeing sources that a judgement names."""
RECORDED = 50
"""Disagreeing sources that have a line in the transcript."""


def sweep(context: Context, step: model.SweepStep) -> None:
    """Come from every address of the step and judge whether each got what it should."""
    action = step.sweep
    target, port = context.target(action.to, action.at, None)
    target = (target.ipv4_mapped or target) if target.version == 6 else target
    chosen = _sources(context, action, target)
    decisions = Decisions(
        context.configuration.ip_ranges or (),
        family(target),
        lambda source: context.expected_connection(action.to, source, target),
    )
    words = [_words(expectation.outcome, decisions) for expectation in step.expect]
    _check(context, step, chosen.addresses, words)
    protocol = context.endpoint(action.to).protocol
    swept = client.sweep(target, port, protocol=protocol, sources=chosen.addresses)
    context.latencies.setdefault(f"sweep:{action.to}", round(swept.seconds, 6))
    context.transcript.action(_summary(swept, f"{action.to} at {with_port(target, port)}"))
    if swept.left_out:
        context.transcript.action(f"this system gave no client the address {named(swept.left_out)}")
    if not any(swept.observations):
        raise MachineError(f"this system gave no client one of the addresses: {named(swept.left_out[:3])}")
    for expectation, word in zip(step.expect, words, strict=True):
        verdicts = judged(expectation, word, chosen.addresses, swept)
        for line in _lines(verdicts.others[:RECORDED]):
            context.transcript.record("harness", "note", line)
        context.judge(expectation, verdicts.finding)


Words = Callable[[Address], str]
"""The outcome word for each source."""


# --- before ---------------------------------------------------------------------------------------------


def _sources(context: Context, action: model.Sweep, target: Address) -> Sources:
    """Return where the clients come from, and write down what that is."""
    now = datetime.now(UTC)
    ranges = [
        range_spec(one, now)
        for one in all_ranges(context.case.scenario)
        if action.ranges is None or one.name in action.ranges
    ]
    more = [parse(text) for text in action.sources]
    seed = int.from_bytes(hashlib.sha256(context.case.id.encode()).digest()[:6], "big")
    chosen = sources(ranges, family(target), more=more, count=action.random, seed=seed)
    about = f"{len(chosen.addresses)} addresses, {action.random} of them scattered"
    context.transcript.action(f"sweep of {action.to} from {about} (seed {seed})")
    if chosen.left_out:
        count = len(chosen.left_out)
        context.transcript.action(
            f"{count} left out, since no client can come from there: {named(chosen.left_out)}"
        )
    if not chosen.addresses:
        raise ScenarioAtFault(
            "no client can come from any address of this sweep; name 'sources', or sweep other ranges"
        )
    return chosen


def _words(written: str, decisions: Decisions[ExpectedConnection | None]) -> Words:
    return lambda source: outcome_word(written, decisions.of(source), source)


def _check(
    context: Context, step: model.SweepStep, addresses: Iterable[Address], words: Sequence[Words]
) -> None:
    """Raise ScenarioAtFault unless the sweep can be judged and proves something."""
    expected = {word(source) for source in addresses for word in words}
    if "served" not in expected and not proves_life(context.case.scenario):
        raise ScenarioAtFault(
            "nobody is to be served in this sweep, and no other step shows that the server is alive: add a "
            "positive control, such as 'connect: {to: …}' with 'expect: {outcome: served, control: true}'"
        )
    protocol = context.endpoint(step.sweep.to).protocol
    limit = getattr(context.configuration.limits, protocol)
    if limit and "served" in expected and limit - context.open_sessions()[protocol] < AT_ONCE:
        raise ScenarioAtFault(
            f"a sweep has up to {AT_ONCE} connections at one time, and the limit is {limit} {protocol} "
            "sessions: chance would decide who is served"
        )


# --- after ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a sweep came to for one expectation: the finding, and every source that did not agree."""

    finding: Finding
    others: tuple[tuple[Observation, Finding], ...]


def judged(
    expectation: model.SweepExpectation, word: Words, addresses: Sequence[Address], swept: Swept
) -> Verdicts:
    """Hold each source's observation against what ``word`` says for it."""
    single: dict[str, model.ConnectExpectation] = {}
    wanted: Counter[str] = Counter()
    worst: State = "met"
    anyhow: State = "met"
    closes = False
    others: list[tuple[Observation, Finding]] = []
    for source, observation in zip(addresses, swept.observations, strict=True):
        if observation is None:
            continue
        name = word(source)
        wanted[name] += 1
        if name not in single:
            single[name] = model.ConnectExpectation.model_construct(outcome=name, within=expectation.within)
        state, any_close = judge.connection_states(single[name], name, observation)
        closes = closes or any_close is not None
        if state != "met":
            others.append((observation, judge.connection(single[name], name, observation)))
            worst = _worse(worst, state)
            anyhow = _worse(anyhow, any_close or state)
    if swept.not_tried:
        worst = anyhow = "unmet"
    count = sum(wanted.values())
    expected = f"{_counted(wanted)} of {count}" if len(wanted) > 1 else f"{_counted(wanted)}, all"
    if expectation.within is not None:
        expected += f", each within {expectation.within:g} s"
    actual = _actual(others, swept, count)
    return Verdicts(Finding(worst, expected, actual, anyhow if closes else None), tuple(others))


def _worse(one: State, other: State) -> State:
    return min(one, other, key=("unmet", "lesser", "met").index)


def _actual(others: Sequence[tuple[Observation, Finding]], swept: Swept, count: int) -> str:
    if not others and not swept.not_tried:
        return "that"
    text = f"{len(others)} of {count} otherwise: " + "; ".join(_lines(others[:NAMED]))
    if len(others) > NAMED:
        text += "; …"
    if swept.not_tried:
        text += f"; {swept.not_tried} more were not tried after so many without an end"
    return text


def _lines(others: Sequence[tuple[Observation, Finding]]) -> Iterator[str]:
    for observation, finding in others:
        yield f"{observation.source}: expected {finding.expected}, got {finding.actual}"


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items()))


def _summary(swept: Swept, where: str) -> str:
    found = [one for one in swept.observations if one is not None]
    counts = _counted(Counter(str(one.outcome) for one in found))
    text = f"swept {where} from {len(found)} addresses in {swept.seconds:.3f} s: {counts or 'nobody came'}"
    slowest = max((one.close_delay or 0.0 for one in found), default=0.0)
    if slowest:
        text += f"; the last close came {slowest:.3f} s after its handshake"
    return text
