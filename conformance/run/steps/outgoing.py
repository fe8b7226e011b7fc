"""The steps ``smart_host``, ``dns``, ``clock`` and ``queue``: the world of outgoing mail, and what waits."""

from __future__ import annotations

from datetime import timedelta

from conformance.adapters.base import Advance, Queue, QueueChange
from conformance.run.context import Context, ScenarioAtFault
from conformance.run.laboratory import Laboratory
from conformance.run.patience import again_until
from conformance.scenario import model
from conformance.verdict.judge import Finding, found


def laboratory(context: Context) -> Laboratory:
    """Return the laboratory of the case. Raises ScenarioAtFault without one."""
    if context.laboratory is None:
        raise ScenarioAtFault("this scenario has neither 'smart_hosts' nor 'dns'")
    return context.laboratory


def smart_host(context: Context, step: model.SmartHostStep) -> None:
    """Let it behave otherwise from now on."""
    change = step.smart_host
    laboratory(context).change(change.name, change.behaviour)


def dns(context: Context, step: model.DnsStep) -> None:
    """Let names be other ones, or fail; judge what was looked up."""
    lab = laboratory(context)
    if step.dns != model.DnsChange():
        context.transcript.action(f"dns: {step.dns.model_dump(exclude_defaults=True)}")
        lab.change_names(step.dns)
    for expectation in step.expect:
        context.judge(expectation, _asked(expectation, lab.asked))


def _asked(expectation: model.DnsExpectation, asked: tuple[str, ...]) -> Finding:
    words = [f"a question for {text}" for text in expectation.asked]
    words += [f"none for {text}" for text in expectation.never_asked]
    names = {one.partition(" ")[2] for one in asked} | set(asked)
    lacking = [text for text in expectation.asked if text not in names]
    wrong = [text for text in expectation.never_asked if text in names]
    told = ", ".join(dict.fromkeys(asked)) or "nothing"
    return found(not lacking and not wrong, ", ".join(words) or "anything", f"asked for: {told}")


def clock(context: Context, step: model.ClockStep) -> None:
    """Move the server's clock forward."""
    seconds = step.clock.advance
    context.transcript.action(f"clock: {seconds:.0f} s forward")
    context.adapter.advance(Advance(seconds=seconds))
    context.clock_ahead += timedelta(seconds=seconds)


def queue(context: Context, step: model.QueueStep) -> None:
    """Retry or delete what waits; judge what waits now."""
    if step.queue.retry:
        context.transcript.action("queue: everything is tried now")
        context.adapter.change_queue(QueueChange(action="retry"))
    if step.queue.delete:
        context.transcript.action("queue: everything is deleted")
        context.adapter.change_queue(QueueChange(action="delete"))
    if not step.expect:
        return
    limit = max(one.within for one in step.expect)
    waiting = again_until(
        lambda seen: all(_waits(one, seen).met for one in step.expect), context.adapter.queue, limit
    )
    for expectation in step.expect:
        context.judge(expectation, _waits(expectation, waiting))


def _waits(expectation: model.QueueExpectation, waiting: Queue) -> Finding:
    words, met = [], True
    messages = waiting.messages
    if expectation.messages is not None:
        words.append(f"{expectation.messages} messages wait")
        met = len(messages) == expectation.messages
    if expectation.mail_from is not None:
        words.append(f"from {expectation.mail_from!r}")
        met = met and all(one.mail_from == expectation.mail_from for one in messages)
    if expectation.rcpt_to is not None:
        words.append(f"for {', '.join(expectation.rcpt_to)}")
        met = met and sorted(to for one in messages for to in one.rcpt_to) == sorted(expectation.rcpt_to)
    if expectation.settled:
        words.append("all were tried")
        met = met and not any(one.due for one in messages)
    return found(met, ", ".join(words) or "the queue can be read", described(waiting))


def described(waiting: Queue) -> str:
    """Return what waits, for people."""
    some = [
        f"{one.mail_from or 'the null sender'} to {', '.join(one.rcpt_to)}{' (due)' if one.due else ''}"
        for one in waiting.messages[:5]
    ]
    more = f" and {len(waiting.messages) - 5} more" if len(waiting.messages) > 5 else ""
    return f"{len(waiting.messages)} messages wait" + (f": {'; '.join(some)}{more}" if some else "")


def settle(context: Context, limit: float) -> Queue:
    """Wait until everything that the server has was tried; return what waits then, or after ``limit``."""
    return again_until(lambda seen: not any(one.due for one in seen.messages), context.adapter.queue, limit)
