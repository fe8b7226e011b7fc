"""The steps ``connect``, ``talk`` and ``disconnect``."""

from __future__ import annotations

from conformance.addresses import Address, canonical
from conformance.clients.outcome import CLOSED, Observation
from conformance.clients.record import Record, discard
from conformance.oracle import ExpectedConnection
from conformance.run.context import Context, ScenarioAtFault
from conformance.run.patience import again_until
from conformance.scenario import model
from conformance.verdict import judge
from conformance.verdict.judge import Finding, found

RECORDED = 3
"""Connections of a step with ``times`` that are written into the transcript."""
EVENTUALLY = 30.0
"""Seconds until something that must happen soon has not happened."""


def connect(context: Context, step: model.ConnectStep) -> None:
    """Connect, once or often, and judge the outcome."""
    action = step.connect
    target, _ = context.target(action.to, action.at, action.from_)
    source = context.source(action.from_, target, action.host)
    expected = [_expected(context, step, one, source, target) for one in step.expect]
    observations: list[Observation] = []
    for number in range(action.times):
        record = context.transcript.record if number < RECORDED else discard
        observation = _once(context, step, source, record)
        if action.eventually:
            observation = _again(context, step, source, expected, observation)
        observations.append(observation)
        if observation.first_byte_after is not None:
            context.latencies.setdefault(f"greeting:{action.to}", round(observation.first_byte_after, 6))
        if not all(_judged(step, expected, observation)):
            break
    if action.times > RECORDED:
        context.transcript.action(
            f"{len(observations)} connections to {action.to}; the last: {observations[-1].outcome}"
        )
    for expectation, word in zip(step.expect, expected, strict=True):
        context.judge(expectation, _finding(expectation, word, observations, action.times))


def _finding(
    expectation: model.ConnectExpectation, word: str, observations: list[Observation], times: int
) -> Finding:
    """Return the worst finding of all connections of the step."""
    findings = [judge.connection(expectation, word, one) for one in observations]
    order = {"unmet": 0, "lesser": 1, "met": 2, None: 2}
    number, worst = min(enumerate(findings, start=1), key=lambda item: order[item[1].state])
    if times == 1:
        return worst
    anyhow = min((one.whatever_was_said for one in findings), key=lambda state: order[state])
    actual = worst.actual if worst.met else f"connection {number}: {worst.actual}"
    return Finding(worst.state, f"{worst.expected}, {times} times", actual, anyhow)


def _judged(step: model.ConnectStep, expected: list[str], observation: Observation) -> list[bool]:
    return [
        judge.connection(one, word, observation).state != "unmet"
        for one, word in zip(step.expect, expected, strict=True)
    ]


def _expected(
    context: Context,
    step: model.ConnectStep,
    expectation: model.ConnectExpectation,
    source: Address,
    target: Address,
) -> str:
    """Return the outcome word; what is written has to agree with the oracle where that knows."""
    return outcome_word(expectation.outcome, context.expected_connection(step.connect.to, source, target))


def outcome_word(written: str, computed: ExpectedConnection | None, source: Address | None = None) -> str:
    """Return the outcome word of one connection: the written one, or for ``oracle`` the computed one.

    Raises ScenarioAtFault where the oracle does not know, or says otherwise than is written.
    """
    who = "" if source is None else f" for {canonical(source)}"
    if written == "oracle":
        if computed is None or computed.outcome == "undefined":
            reason = computed.reason if computed else "nobody knows the configuration at this step"
            raise ScenarioAtFault(f"'oracle' cannot say what must happen{who}: {reason}; write the outcome")
        return computed.outcome
    if computed is not None and not _agrees(written, computed.outcome):
        raise ScenarioAtFault(
            f"the outcome {written!r} contradicts the configuration, which says {computed.outcome!r}{who}: "
            f"{computed.reason}"
        )
    return written


def _agrees(written: str, computed: str) -> bool:
    if computed == "undefined":
        return True
    if written == "closed" or written in {str(outcome) for outcome in CLOSED}:
        return computed == "closed"
    return written == computed


def _once(context: Context, step: model.ConnectStep, source: Address, record: Record) -> Observation:
    action = step.connect
    target, port = context.target(action.to, action.at, action.from_)
    protocol = context.endpoint(action.to).protocol
    # Nobody said from where: a host without that loopback address has no way there, which is an outcome.
    given = source if action.from_ is not None or action.host is not None else None
    with context.world.at(action.host):
        observation, session = context.connector.observe(
            target, port, protocol=protocol, source=given, record=record, keep=action.as_ is not None
        )
    if session is not None and action.as_ is not None:
        context.sessions[action.as_] = session
    return observation


def _again(
    context: Context,
    step: model.ConnectStep,
    source: Address,
    expected: list[str],
    observation: Observation,
) -> Observation:
    """Try until it holds, at most `EVENTUALLY` seconds."""
    if all(_judged(step, expected, observation)):
        return observation
    return again_until(
        lambda seen: all(_judged(step, expected, seen)),
        lambda: _once(context, step, source, context.transcript.record),
        EVENTUALLY,
    )


def talk(context: Context, step: model.TalkStep) -> None:
    """Say one line in a kept session, and judge the answer."""
    session = context.sessions.get(step.talk.session)
    for expectation in step.expect:
        expected = f"a reply that begins with {expectation.reply!r}"
        if session is None:
            context.judge(expectation, found(False, expected, "the session was never opened"))
            continue
        reply = session.talk(step.talk.say)
        actual = f"the reply {reply!r}" if reply else f"no reply ({session.ended or 'closed'})"
        context.judge(expectation, found(reply.startswith(expectation.reply), expected, actual))


def disconnect(context: Context, step: model.DisconnectStep) -> None:
    """End a kept session."""
    session = context.sessions.pop(step.disconnect.session, None)
    if session is None:
        context.transcript.action(f"the session {step.disconnect.session} was never opened")
        return
    {"quit": session.quit, "close": session.close, "reset": session.reset}[step.disconnect.how]()
