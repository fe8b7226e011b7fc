"""The step ``relayed``: what the smart hosts got of the messages that were sent."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email import policy
from email.parser import BytesParser

from conformance.adapters.base import Queue
from conformance.addresses import canonical, parse
from conformance.peers.recording import Delivery, Visit
from conformance.run.context import Context
from conformance.run.laboratory import Laboratory, Sent, copies, notifications
from conformance.run.steps.outgoing import described, laboratory, settle
from conformance.scenario import model
from conformance.verdict.judge import Finding, found

_LOOK = 2.0
"""Seconds between two looks into the queue."""
SHOWN = 4
"""Things that are wrong, of which a judgement tells."""
_FIELD = re.compile(rb"[!-9;-~]+:[^\r\n]*(\r\n[ \t][^\r\n]*)*\r\n")

_RECEIVED = re.compile(rb"^Received:", re.IGNORECASE | re.MULTILINE)


def relayed(context: Context, step: model.RelayedStep) -> None:
    """Wait until the smart hosts have what they must have, and judge it."""
    lab = laboratory(context)
    wanted = tuple(one for one in lab.sent if step.relayed.message in (None, one.name))
    if not wanted:
        for expectation in step.expect:
            words = "no message was taken by the server, or left to it, that could be relayed"
            context.judge(expectation, found(False, _expected(step.relayed, expectation), words))
        return
    limit = step.relayed.within
    deadline = time.monotonic() + limit

    def there(visits: Sequence[Visit]) -> bool:
        got = _got(visits, step.relayed, wanted)
        return all(_enough(one, wanted, got) for one in step.expect)

    if any(one.accounted for one in step.expect):
        settle(context, limit)
    else:
        _wait(context, lab, there, deadline)
    waiting = Queue()
    if _queue_is_asked(context, step):
        # What came too often, or to the wrong one, has come when nothing is on its way any more.
        waiting = settle(context, max(1.0, deadline - time.monotonic()))
    got = _got(lab.recording.visits, step.relayed, wanted)
    context.transcript.action(f"relayed: {_summary(got)}")
    for expectation in step.expect:
        context.judge(expectation, _finding(context, step.relayed, expectation, wanted, got, waiting))


def _wait(
    context: Context, lab: Laboratory, there: Callable[[Sequence[Visit]], bool], deadline: float
) -> None:
    """Wait for what must come; no longer than something is on its way, where the server says what it has."""
    knows = context.alive and "queue" in context.hello.capabilities
    often = context.configuration.delivery.minutes_between_tries == 0
    while not lab.recording.wait_for(there, max(0.0, min(_LOOK, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return
        if knows and not often and not any(one.due for one in context.adapter.queue().messages):
            # What was taken from the queue has arrived, and the rest waits for its next try.
            lab.recording.wait_for(there, _LOOK)
            return


def _queue_is_asked(context: Context, step: model.RelayedStep) -> bool:
    exact = any(
        one.times is not None or one.at_most is not None or one.accounted or one.connections is not None
        for one in step.expect
    )
    return exact and context.alive and "queue" in context.hello.capabilities


def _got(visits: Sequence[Visit], action: model.Relayed, wanted: Sequence[Sent]) -> dict[str, list[Delivery]]:
    if action.notification:
        return {one.identity: notifications(visits, action.by, one) for one in wanted}
    all_ = copies(visits, action.by)
    return {one.identity: all_.get(one.identity, []) for one in wanted}


def _summary(got: dict[str, list[Delivery]]) -> str:
    hosts = Counter(
        f"{one.visit.host} at {canonical(one.visit.target)} from {canonical(one.visit.source)}"
        for several in got.values()
        for one in several
    )
    return ", ".join(f"{count} by {way}" for way, count in hosts.items()) or "nothing came"


def _recipients(expectation: model.RelayedExpectation, sent: Sent) -> tuple[str, ...]:
    return sent.rcpt_to if expectation.rcpt_to is None else expectation.rcpt_to


def _enough(
    expectation: model.RelayedExpectation, wanted: Sequence[Sent], got: dict[str, list[Delivery]]
) -> bool:
    least = 1 if expectation.times is None else expectation.times
    for sent in wanted:
        several = got[sent.identity]
        if several and several[0].message.is_notification:
            if len(several) < least:
                return False
            continue
        count = Counter(to for one in several for to in one.message.rcpt_to)
        if any(count[to] < least for to in _recipients(expectation, sent)) or len(several) < min(least, 1):
            return False
    return True


def _finding(
    context: Context,
    action: model.Relayed,
    expectation: model.RelayedExpectation,
    wanted: Sequence[Sent],
    got: dict[str, list[Delivery]],
    waiting: Queue,
) -> Finding:
    wrong = list(_wrong(action, expectation, wanted, got))
    lab = laboratory(context)
    heard = {to for one in lab.recording.deliveries for to in (*one.message.rcpt_to, *one.message.refused)}
    wrong += [f"a smart host was asked to take mail for {to}" for to in expectation.never_to if to in heard]
    if expectation.accounted:
        returned = {one.identity for one in wanted if notifications(lab.recording.visits, (), one)}
        wrong += _unaccounted(wanted, got, returned, waiting, context.kills)
    words = "; ".join(wrong[:SHOWN])
    if len(wrong) > SHOWN:
        words += f"; and {len(wrong) - SHOWN} more"
    if wrong and waiting.messages:
        words += f" ({described(waiting)})"
    return found(not wrong, _expected(action, expectation), words or _summary(got))


def _expected(action: model.Relayed, expectation: model.RelayedExpectation) -> str:
    what = "a notification" if action.notification else "the message"
    by = f" by {' or '.join(action.by)}" if action.by else ""
    fields = expectation.model_dump(exclude_defaults=True, exclude={"judges", "control"}, by_alias=True)
    rest = ", ".join(f"{key} {_text(value)}" for key, value in fields.items())
    return f"{what} relayed{by}" + (f": {rest}" if rest else "")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _wrong(
    action: model.Relayed,
    expectation: model.RelayedExpectation,
    wanted: Sequence[Sent],
    got: dict[str, list[Delivery]],
) -> Iterator[str]:
    """Yield everything that is not as expected, in words."""
    for sent in wanted:
        several = got[sent.identity]
        if not expectation.accounted:
            yield from _numbers(action, expectation, sent, several)
        for one in several:
            yield from _attributes(expectation, sent, one)
    if expectation.transactions is not None:
        for sent in wanted:
            if len(got[sent.identity]) != expectation.transactions:
                yield f"{len(got[sent.identity])} transactions"
    if expectation.connections is not None:
        used = {one.visit.number for several in got.values() for one in several}
        if len(used) != expectation.connections:
            yield f"{len(used)} connections"


def _numbers(
    action: model.Relayed, expectation: model.RelayedExpectation, sent: Sent, several: Sequence[Delivery]
) -> Iterator[str]:
    least = 1 if expectation.times is None else expectation.times
    most = expectation.times if expectation.times is not None else expectation.at_most
    if action.notification:
        if len(several) < least or (most is not None and len(several) > most):
            yield f"{len(several)} notifications"
        return
    count = Counter(to for one in several for to in one.message.rcpt_to)
    expected = _recipients(expectation, sent)
    for to in expected:
        if count[to] < least or (most is not None and count[to] > most):
            yield f"{count[to]} times for {to}"
    if expectation.rcpt_to is not None:
        for to in sorted(count.keys() - set(expected)):
            yield f"it came for {to}, too"


def _attributes(expectation: model.RelayedExpectation, sent: Sent, one: Delivery) -> Iterator[str]:
    visit, message = one.visit, one.message
    if expectation.family not in (None, visit.family):
        yield f"it came over {visit.family}"
    if expectation.from_ is not None and parse(expectation.from_) != visit.source:
        yield f"it came from {canonical(visit.source)}"
    if expectation.at is not None and parse(expectation.at) != visit.target:
        yield f"it came to {canonical(visit.target)}"
    if expectation.mail_from is not None and expectation.mail_from != message.mail_from:
        yield f"its sender is {message.mail_from!r}"
    if expectation.ehlo is not None and re.fullmatch(expectation.ehlo, visit.ehlo) is None:
        yield f"the client called itself {visit.ehlo!r}"
    if expectation.tls not in (None, visit.tls != ""):
        yield f"it came {'over ' + visit.tls if visit.tls else 'without TLS'}"
    if expectation.user not in (None, visit.user):
        yield f"the client was logged in as {visit.user!r}" if visit.user else "the client was not logged in"
    for text in expectation.contains:
        if text.encode() not in message.content:
            yield f"it lacks {text!r}"
    if expectation.trace_fields is not None:
        fields = len(_RECEIVED.findall(message.content.partition(b"\r\n\r\n")[0]))
        if fields != expectation.trace_fields:
            yield f"it has {fields} fields 'Received'"
    if expectation.content is not None:
        converted = expectation.content == "equivalent" and says_the_same(sent.content, message.content)
        if not converted:
            yield from different(sent.content, message.content)


def says_the_same(sent: bytes, arrived: bytes) -> bool:
    """Say whether ``arrived`` is the text of ``sent`` in 7 bits (RFC 2045 §6)."""
    texts = [BytesParser(policy=policy.default).parsebytes(one).get_content() for one in (sent, arrived)]
    return arrived.isascii() and str(texts[0]).splitlines() == str(texts[1]).splitlines()


def different(sent: bytes, arrived: bytes) -> Iterator[str]:
    """Say how ``arrived`` is not ``sent`` with trace fields before it (RFC 5321 §4.4)."""
    if not arrived.endswith(sent):
        # Compared from the end: before the message there may be fields, behind it there is nothing.
        same = next(
            (n for n, (a, b) in enumerate(zip(reversed(sent), reversed(arrived), strict=False)) if a != b),
            min(len(sent), len(arrived)),
        )
        there = arrived[max(0, len(arrived) - same - 20) : len(arrived) - same + 5]
        yield f"its octets are others: {len(sent)} were sent, {len(arrived)} came, changed at {there!r}"
        return
    rest = arrived[: len(arrived) - len(sent)]
    while rest:
        field = _FIELD.match(rest)
        if field is None:
            yield f"before the message stands what is no header field: {rest[:60]!r}"
            return
        rest = rest[field.end() :]


def _unaccounted(
    wanted: Sequence[Sent],
    got: dict[str, list[Delivery]],
    returned: set[str],
    waiting: Queue,
    kills: int,
) -> list[str]:
    """Say what became of no message, or of one too often (RELAY-11)."""
    wrong: list[str] = []
    kept = Counter((one.mail_from, to) for one in waiting.messages for to in one.rcpt_to)
    for sent in wanted:
        several = got[sent.identity]
        count = Counter(to for one in several for to in one.message.rcpt_to)
        # The client cannot know of a copy that it was cut off from; nor of any, once it was killed.
        excused = sum(not one.message.told for one in several) + kills
        for to in sent.rcpt_to:
            if count[to] > 1 + excused:
                wrong.append(f"{count[to]} copies for {to}, {excused} of them excused")
            if not sent.whole and count[to]:
                wrong.append(f"half a message was relayed to {to}")
            if not sent.acknowledged or count[to] or sent.identity in returned:
                continue
            if kept[sent.mail_from, to]:
                kept[sent.mail_from, to] -= 1
            else:
                wrong.append(f"a message from {sent.mail_from!r} to {to} was acknowledged, and is lost")
    return wrong
