"""What a person reads at the end of a run: cases that did not pass, requirements, the last line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from conformance.requirements import Catalogue
from conformance.verdict.baseline import Review
from conformance.verdict.model import CaseRecord, State, TranscriptLine, Verdict
from conformance.verdict.requirements import RequirementState, must_verified

VERDICT_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.WARN: "yellow",
    Verdict.INFO: "cyan",
    Verdict.UNSUPPORTED: "dim",
    Verdict.SKIPPED: "dim",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold magenta",
}
STATE_STYLE = {
    State.PASSED: "green",
    State.FAILED: "bold red",
    State.WARNED: "yellow",
    State.RECORDED: "cyan",
    State.ERROR: "bold magenta",
    State.INCONCLUSIVE: "magenta",
}
SHOWN_LINES = 40
"""Of a transcript, on the terminal; the report has all of it."""
_ARROWS = {
    "connect": "──",
    "sent": "─▶",
    "received": "◀─",
    "closed": "◀╴",
    "reset": "◀✗",
    "error": " !",
    "action": " ·",
    "note": " ·",
}
_QUIET = (Verdict.PASS, Verdict.INFO, Verdict.UNSUPPORTED, Verdict.SKIPPED)


def failure(record: CaseRecord) -> RenderableType:
    """Return the block of a case that did not pass."""
    style = VERDICT_STYLE.get(record.verdict, "")
    rows: list[RenderableType] = [
        Text.assemble((f"{record.verdict}  ", style), (record.id, "bold")),
        Padding(Text(record.title), (0, 0, 0, 2)),
    ]
    wrong = [one for one in record.judgements if one.verdict not in (Verdict.PASS, Verdict.INFO)]
    by_step: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for one in wrong:
        by_step[one.line, one.expected, one.actual].append(f"{one.requirement} {one.verdict}")
    for (line, expected, actual), requirements in by_step.items():
        rows.append(Padding(Text(f"{record.file}:{line}  {', '.join(requirements)}"), (0, 0, 0, 2)))
        rows.append(Padding(Text.assemble(("expected  ", "dim"), expected), (0, 0, 0, 4)))
        rows.append(Padding(Text.assemble(("got       ", "dim"), (actual, style)), (0, 0, 0, 4)))
    if not wrong:
        rows.append(Padding(Text(f"{record.file}:{record.line}"), (0, 0, 0, 2)))
        rows.append(Padding(Text(record.reason, style=style), (0, 0, 0, 4)))
    if record.transcript:
        rows.append(Padding(Text("transcript", style="dim"), (0, 0, 0, 2)))
        rows.append(Padding(_transcript(record.transcript), (0, 0, 0, 4)))
    if record.log_tail:
        rows.append(Padding(Text("the server's log, its end", style="dim"), (0, 0, 0, 2)))
        rows.append(Padding(Text("\n".join(record.log_tail.splitlines()[-10:]), style="dim"), (0, 0, 0, 4)))
    if record.replay:
        rows.append(Padding(Text.assemble(("again: ", "dim"), record.replay), (0, 0, 0, 2)))
    return Group(*rows, Text())


def _transcript(lines: Sequence[TranscriptLine]) -> Text:
    text = Text()
    left_out = len(lines) - SHOWN_LINES
    if left_out > 0:
        text.append(f"… {left_out} lines before\n", style="dim")
    for number, line in enumerate(lines[-SHOWN_LINES:]):
        text.append("\n" if number else "")
        text.append(f"{line.at:8.3f} ", style="dim")
        first, *rest = line.text.split("\n")
        text.append(f"{_ARROWS[line.kind]} {line.who} {first}", style="dim" if line.kind == "action" else "")
        for more in rest:
            text.append(f"\n{'':9}   {more}")
    return text


def requirements(states: dict[str, RequirementState], catalogue: Catalogue, review: Review) -> RenderableType:
    """Return the table of requirements, by topic."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    table.add_column("requirement", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("cases", justify="right")
    table.add_column("note", overflow="fold")
    topic = ""
    for name, one in states.items():
        if one.requirement.topic != topic:
            topic = one.requirement.topic
            if table.row_count:
                table.add_row()
            table.add_row(Text(catalogue.topics[topic], style="bold"))
        level = one.requirement.level + ("*" if one.requirement.page_policy else "")
        accepted = review.accepted.get(name)
        state = str(one.state).replace("_", " ")
        if accepted is not None:
            note = Text(f"accepted: {accepted.reason}", style="dim")
        elif name in review.notes:
            note = Text(review.notes[name], style="dim")
        elif one.state is State.PASSED:
            note = Text()
        else:
            note = Text(one.reason.splitlines()[0] if one.reason else "")
        style = "dim" if accepted else STATE_STYLE.get(one.state, "")
        table.add_row(f"  {name}", level, Text(state, style=style), str(one.cases or ""), note)
    return table


def not_judged(records: Sequence[CaseRecord]) -> RenderableType | None:
    """Return the reasons of unsupported and skipped cases, with their numbers; None when there are none."""
    counts = Counter(
        (record.verdict, record.reason)
        for record in records
        if record.verdict in (Verdict.UNSUPPORTED, Verdict.SKIPPED)
    )
    if not counts:
        return None
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for (verdict, reason), number in counts.most_common():
        table.add_row(str(number), Text(str(verdict), style="dim"), reason)
    return table


def show(
    console: Console,
    records: Sequence[CaseRecord],
    states: dict[str, RequirementState],
    catalogue: Catalogue,
    review: Review,
    *,
    notes: Sequence[str],
) -> None:
    """Print everything that stands at the end of a run, the last line excepted."""
    for record in records:
        if record.verdict not in _QUIET:
            if record is next(one for one in records if one.verdict not in _QUIET):
                console.print(Rule("cases that did not pass", style="dim"))
            console.print(failure(record), soft_wrap=True)
    console.print(Rule("requirements", style="dim"))
    console.print(requirements(states, catalogue, review))
    unjudged = not_judged(records)
    if unjudged is not None:
        console.print(Rule("cases that were not judged", style="dim"))
        console.print(unjudged)
    if review.stale:
        console.print(Rule("baseline", style="dim"))
        for sentence in review.stale:
            console.print(Text(sentence, style="bold red"))
    console.print(Rule(style="dim"))
    counts = Counter(record.verdict for record in records)
    line = Text(f"{len(records)} cases: ")
    line.append_text(
        Text(", ").join(
            Text(f"{counts[verdict]} {verdict}", style=VERDICT_STYLE.get(verdict, ""))
            for verdict in Verdict
            if counts[verdict]
        )
    )
    console.print(line)
    for note in notes:
        console.print(Text(note, style="dim"))


def last_line(states: dict[str, RequirementState]) -> str:
    """Return "N of M MUST verified"."""
    verified, all_of_them = must_verified(states)
    return f"{verified} of {all_of_them} MUST verified"
