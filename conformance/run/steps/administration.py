"""The steps ``admin`` (as an administrator types) and ``change`` (whatever way the adapter has)."""

from __future__ import annotations

from conformance.adapters.base import AdminAnswer, AdminKind, AdminRequest
from conformance.run.configuration import changed
from conformance.run.context import Context, ScenarioAtFault
from conformance.scenario import model
from conformance.verdict.judge import Finding, found


def admin(context: Context, step: model.AdminStep) -> None:
    """Enter, change, delete or read one record, and judge the answer."""
    action = step.admin
    request = _request(action)
    said = f"admin over {request.over}: {request.operation} {request.kind} {request.name} {request.values}"
    context.transcript.action(said)
    answer = context.adapter.admin(request)
    words = f"{answer.outcome} {answer.message}".strip()
    context.transcript.record("server", "received", f"{words} {answer.values or ''}".strip())
    if answer.outcome == "accepted" and request.operation != "read" and request.kind != "settings":
        context.oracle_knows = False
    for expectation in step.expect:
        context.judge(expectation, _finding(expectation, answer, words))


def _request(action: model.Admin) -> AdminRequest:
    kinds: dict[str, AdminKind | None] = {
        "add": action.add,
        "change": action.change,
        "delete": action.delete,
        "read": action.read,
    }
    asked = [(operation, kind) for operation, kind in kinds.items() if kind is not None]
    if len(asked) != 1:
        raise ScenarioAtFault("a step 'admin' has exactly one of add, change, delete and read")
    operation, kind = asked[0]
    return AdminRequest.model_validate(
        {
            "operation": operation,
            "kind": kind,
            "name": action.name,
            "values": action.values,
            "over": action.over,
            "password": action.password,
        }
    )


def _finding(expectation: model.AdminExpectation, answer: AdminAnswer, words: str) -> Finding:
    expected = expectation.outcome
    if answer.outcome != expected:
        return found(False, expected, words)
    if expectation.names:
        # "lower|upper": where two fields do not fit together, either may be named.
        fields = expectation.names.split("|")
        named = any(_plain(field) in _plain(answer.message) for field in fields)
        return found(named, f"{expected}, naming {' or '.join(fields)}", words)
    wrong = {
        key: answer.values.get(key)
        for key, value in expectation.values.items()
        if not _same(value, answer.values.get(key))
    }
    if expectation.values:
        wanted = {key: expectation.values[key] for key in (wrong or expectation.values)}
        actual = wrong or {key: answer.values[key] for key in expectation.values}
        return found(not wrong, f"{expected} with {wanted}", f"{words} with {actual}")
    return found(True, expected, words)


def _same(wanted: str | int | bool, read: str | int | bool | None) -> bool:
    """True is not 1 here, and "10" is not 10."""
    return type(wanted) is type(read) and wanted == read


def _plain(text: str) -> str:
    return text.lower().replace("_", " ")


def change(context: Context, step: model.ChangeStep) -> None:
    """Change the running server's configuration."""
    context.transcript.action(f"change: {step.change.model_dump(exclude_defaults=True)}")
    context.configuration = changed(context.configuration, step.change, context.numbers, context.around)
    context.server_runs(context.adapter.configure(context.configuration), reopened=False)
