"""The steps ``login``, ``send`` and ``fetch``: what ordinary mail clients do."""

from __future__ import annotations

from datetime import UTC, datetime

from conformance.addresses import Address
from conformance.clients import mail, smtp
from conformance.oracle import expected_delivery, expected_login
from conformance.run.context import Context, ScenarioAtFault
from conformance.scenario import model
from conformance.verdict.judge import found


def login(context: Context, step: model.LoginStep) -> None:
    """Log in, and judge whether the server took it."""
    action = step.login
    target, port = context.target(action.to, None, action.from_)
    source = context.source(action.from_, target)
    words = [_login_word(context, step, one, source) for one in step.expect]
    result = mail.login(
        context.connector,
        target,
        port,
        protocol=context.endpoint(action.to).protocol,
        source=source,
        record=context.transcript.record,
        user=action.user,
        password=action.password,
    )
    for expectation, word in zip(step.expect, words, strict=True):
        met = result.accepted == (word == "accepted")
        if word == "refused":
            # A server that is not there refuses nothing.
            met = met and result.stage == "auth" and result.answer.startswith(expectation.code)
        context.judge(expectation, found(met, _described(f"login {word}", expectation.code), str(result)))


def _login_word(
    context: Context, step: model.LoginStep, expectation: model.LoginExpectation, source: Address
) -> str:
    action = step.login
    if not _oracle_knows(context):
        if expectation.outcome == "oracle":
            raise ScenarioAtFault("'oracle' cannot say what must happen here; write the outcome")
        return expectation.outcome
    computed = expected_login(
        context.effective(), action.to, source, action.user, action.password, datetime.now(UTC)
    )
    if expectation.outcome == "oracle":
        if computed.outcome == "undefined":
            raise ScenarioAtFault(f"'oracle' cannot say what must happen: {computed.reason}")
        return computed.outcome
    if computed.outcome not in ("undefined", expectation.outcome):
        raise ScenarioAtFault(
            f"the outcome {expectation.outcome!r} contradicts the configuration, which says "
            f"{computed.outcome!r}: {computed.reason}"
        )
    return expectation.outcome


def send(context: Context, step: model.SendStep) -> None:
    """Send a message, or only ask about its recipients, and judge what became of it."""
    action = step.send
    target, port = context.target(action.to, None, action.from_)
    source = context.source(action.from_, target)
    words = [_send_word(context, step, one, source) for one in step.expect]
    result = smtp.send(
        context.connector,
        target,
        port,
        source=source,
        record=context.transcript.record,
        mail_from=action.mail_from,
        rcpt_to=action.rcpt_to,
        body=action.body,
        log_in_as=(action.login.user, action.login.password) if action.login else None,
        helo=action.helo,
        until=action.until,
    )
    for expectation, (word, code) in zip(step.expect, words, strict=True):
        met = result.accepted == (word == "accepted")
        expected = f"message {word}"
        if word == "rejected":
            stage = expectation.at
            # A connection that does not come about rejects nothing, unless that is what is expected.
            in_place = result.stage == stage if stage else result.stage != "connect"
            met = met and in_place and result.answer.startswith(code)
            expected = _described(f"{expected} at {stage}" if stage else expected, code)
        context.judge(expectation, found(met, expected, str(result)))


def _send_word(
    context: Context, step: model.SendStep, expectation: model.SendExpectation, source: Address
) -> tuple[str, str]:
    """Return outcome and reply code that are expected."""
    action = step.send
    if not _oracle_knows(context):
        if expectation.outcome == "oracle":
            raise ScenarioAtFault("'oracle' cannot say what must happen here; write the outcome")
        return expectation.outcome, expectation.code
    computed = [
        expected_delivery(
            context.effective(),
            action.to,
            source,
            action.mail_from,
            recipient,
            action.login is not None,
            datetime.now(UTC),
        )
        for recipient in action.rcpt_to
    ]
    first_rejected = next((one for one in computed if one.outcome == "rejected"), None)
    if expectation.outcome == "oracle":
        if any(one.outcome == "undefined" for one in computed):
            raise ScenarioAtFault("'oracle' cannot say what must happen: ranges of equal priority disagree")
        return ("accepted", "") if first_rejected is None else ("rejected", first_rejected.code)
    # Rejections before or after RCPT have reasons of their own, which no range decides.
    if expectation.outcome == "rejected" and expectation.at not in (None, "rcpt", "connect"):
        return expectation.outcome, expectation.code
    if (expectation.outcome == "rejected") != (first_rejected is not None) and not any(
        one.outcome == "undefined" for one in computed
    ):
        said = first_rejected or computed[0]
        raise ScenarioAtFault(
            f"the outcome {expectation.outcome!r} contradicts the configuration, which says "
            f"{said.outcome!r} ({said.code}): {said.reason}"
        )
    return expectation.outcome, expectation.code


def fetch(context: Context, step: model.FetchStep) -> None:
    """Look into the INBOX, and judge what is there."""
    action = step.fetch
    target, port = context.target(action.to, None, action.from_)
    result = mail.fetch(
        context.connector,
        target,
        port,
        protocol=context.endpoint(action.to).protocol,
        source=context.source(action.from_, target),
        record=context.transcript.record,
        user=action.user,
        password=action.password,
    )
    for expectation in step.expect:
        wanted = []
        if expectation.messages is not None:
            wanted.append(f"{expectation.messages} messages")
        wanted += [f"the newest contains {text!r}" for text in expectation.contains]
        expected = ", ".join(wanted) or "INBOX can be read"
        if not result.accepted:
            context.judge(expectation, found(False, expected, str(result)))
            continue
        lacking = [text for text in expectation.contains if not result.contains(text)]
        met = not lacking and expectation.messages in (None, result.messages)
        actual = f"{result.messages} messages"
        if lacking:
            actual += f"; the newest lacks {', '.join(map(repr, lacking))}"
        context.judge(expectation, found(met, expected, actual))


def _oracle_knows(context: Context) -> bool:
    return context.oracle_knows and context.alive and not context.configuration.default


def _described(text: str, code: str) -> str:
    return f"{text} with {code}" if code else text
