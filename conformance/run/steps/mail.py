"""The steps ``login``, ``send`` and ``fetch``: what ordinary mail clients do."""

from __future__ import annotations

from conformance.addresses import Address
from conformance.clients import mail, smtp
from conformance.clients.record import discard
from conformance.clients.result import FetchResult, SendResult
from conformance.oracle import expected_delivery, expected_login
from conformance.run.context import Context, ScenarioAtFault
from conformance.run.laboratory import Sent
from conformance.run.patience import again_until
from conformance.scenario import model
from conformance.verdict.judge import Finding, found

FETCH_LIMIT = 120.0
"""Seconds until a message that must come has not come."""
RECORDED = 3
"""Messages of a step with ``times`` that are written into the transcript."""


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
        context.effective(), action.to, source, action.user, action.password, context.now()
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
    result = SendResult(False, "connect")
    for number in range(action.times):
        identity = smtp.new_identity()
        message = _message(action, identity)
        result = smtp.send(
            context.connector,
            target,
            port,
            source=source,
            record=context.transcript.record if number < RECORDED else discard,
            mail_from=action.mail_from,
            rcpt_to=action.rcpt_to,
            message=message,
            log_in_as=(action.login.user, action.login.password) if action.login else None,
            helo=action.helo,
            until=action.until,
        )
        _remember(context, action, identity, message, result)
        if any(
            word in ("accepted", "rejected") and result.accepted != (word == "accepted") for word, _ in words
        ):
            break
    for expectation, (word, code) in zip(step.expect, words, strict=True):
        met = result.accepted == (word == "accepted")
        if word == "answered":
            met = result.stage == "data" and bool(result.code)
        if word == "left":
            # At DATA without any word of the server's: the message, or its half, is out.
            met = result.stage == "data" and not result.answer
        expected = f"message {word}"
        if word == "rejected":
            stage = expectation.at
            # A connection that does not come about rejects nothing, unless that is what is expected.
            in_place = result.stage == stage if stage else result.stage != "connect"
            met = met and in_place and result.answer.startswith(code)
            expected = _described(f"{expected} at {stage}" if stage else expected, code)
        context.judge(expectation, found(met, expected, str(result)))


def _message(action: model.Send, identity: str) -> bytes:
    body = action.body
    if action.long_line:
        body += ("0123456789" * (action.long_line // 10 + 1))[: action.long_line] + "\r\n"
    as_written = action.line_ends == "as_written"
    return smtp.compose(action.mail_from, action.rcpt_to, body, as_written=as_written, identity=identity)


def _remember(
    context: Context, action: model.Send, identity: str, message: bytes, result: SendResult
) -> None:
    """Keep what may come out at a smart host; a message that was refused may not."""
    laboratory = context.laboratory
    silent = result.stage == "data" and not result.code
    if laboratory is None or action.until == "rcpt" or not (result.accepted or silent):
        return
    laboratory.sent.append(
        Sent(
            action.as_ or "",
            identity,
            action.mail_from,
            action.rcpt_to,
            message if message.endswith(b"\r\n") else message + b"\r\n",
            result.accepted,
            whole=action.until != "content",
        )
    )


def _send_word(
    context: Context, step: model.SendStep, expectation: model.SendExpectation, source: Address
) -> tuple[str, str]:
    """Return outcome and reply code that are expected."""
    action = step.send
    if not _oracle_knows(context):
        if expectation.outcome == "oracle":
            raise ScenarioAtFault("'oracle' cannot say what must happen here; write the outcome")
        return expectation.outcome, expectation.code
    if expectation.outcome in ("answered", "left"):
        return expectation.outcome, ""
    computed = [
        expected_delivery(
            context.effective(),
            action.to,
            source,
            action.mail_from,
            recipient,
            action.login is not None,
            context.now(),
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

    def look() -> FetchResult:
        return mail.fetch(
            context.connector,
            target,
            port,
            protocol=context.endpoint(action.to).protocol,
            source=context.source(action.from_, target),
            record=context.transcript.record,
            user=action.user,
            password=action.password,
        )

    def holds(result: FetchResult) -> bool:
        return all(_fetched(one, result).met for one in step.expect)

    result = again_until(holds, look, FETCH_LIMIT if action.eventually else 0.0)
    for expectation in step.expect:
        context.judge(expectation, _fetched(expectation, result))


def _fetched(expectation: model.FetchExpectation, result: FetchResult) -> Finding:
    wanted = []
    if expectation.messages is not None:
        wanted.append(f"{expectation.messages} messages")
    wanted += [f"the newest contains {text!r}" for text in expectation.contains]
    expected = ", ".join(wanted) or "INBOX can be read"
    if not result.accepted:
        return found(False, expected, str(result))
    lacking = [text for text in expectation.contains if not result.contains(text)]
    met = not lacking and expectation.messages in (None, result.messages)
    actual = f"{result.messages} messages"
    if lacking:
        actual += f"; the newest lacks {', '.join(map(repr, lacking))}"
    return found(met, expected, actual)


def _oracle_knows(context: Context) -> bool:
    return context.oracle_knows and context.alive and not context.configuration.default


def _described(text: str, code: str) -> str:
    return f"{text} with {code}" if code else text
