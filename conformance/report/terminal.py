"""What a person reads at the end of a run: cases that did not pass, requirements, the last line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from rich.console import Console, RenderableType
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
    Verdict.XFAIL: "dim",
    Verdict.XPASS: "bold red",
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
SHOWN_LOG_LINES = 10
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


WIDTH_WITHOUT_TERMINAL = 120
"""Columns where nobody says how many there are: in a file, in the log of a CI job."""


def make_console() -> Console:
    """Return the console of a run: colours only on a terminal that wants them (NO_COLOR)."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)


def failure(record: CaseRecord) -> Text:
    """Return the block of a case that did not pass; its lines wrap as the terminal does."""
    style = VERDICT_STYLE.get(record.verdict, "")
    text = Text.assemble((f"{record.verdict}  ", style), (record.id, "bold"), f"\n  {record.title}\n")
    wrong = [one for one in record.judgements if one.verdict not in (Verdict.PASS, Verdict.INFO)]
    by_step: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for one in wrong:
        by_step[one.line, one.expected, one.actual].append(f"{one.requirement} {one.verdict}")
    for (line, expected, actual), requirements in by_step.items():
        text.append(f"  {record.file}:{line}  {', '.join(requirements)}\n")
        text.append("    expected  ", "dim").append(f"{expected}\n")
        text.append("    got       ", "dim").append(f"{actual}\n", style)
    if not wrong or record.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR):
        text.append(f"  {record.file}:{record.line}\n")
        text.append(_indented(record.reason, 4), style)
    if record.transcript:
        text.append("  transcript\n", "dim").append_text(_transcript(record.transcript))
    if record.log_tail:
        text.append("  the server's log, its end\n", "dim")
        text.append(_indented("\n".join(record.log_tail.splitlines()[-SHOWN_LOG_LINES:]), 4), "dim")
    if record.capture:
        text.append("  packets  ", "dim").append(f"{record.capture}, in the report's folder\n")
    if record.replay:
        text.append("  again  ", "dim").append(f"{record.replay}\n")
    return text


def _indented(text: str, columns: int) -> str:
    return "".join(f"{'':{columns}}{line}\n" for line in text.splitlines())


def _transcript(lines: Sequence[TranscriptLine]) -> Text:
    text = Text()
    left_out = len(lines) - SHOWN_LINES
    if left_out > 0:
        text.append(f"    … {left_out} lines before\n", "dim")
    for line in lines[-SHOWN_LINES:]:
        first, *rest = line.text.split("\n")
        text.append(f"  {line.at:8.3f} ", "dim")
        text.append(f"{_ARROWS[line.kind]} {line.who} {first}\n", "dim" if line.kind == "action" else "")
        text.append(_indented("\n".join(rest), 14))
    return text


def requirements(states: dict[str, RequirementState], catalogue: Catalogue) -> RenderableType:
    """Return the table of requirements, by topic."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name in ("requirement", "level", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("what it says", no_wrap=True, overflow="ellipsis", ratio=1)
    topic = ""
    for name, one in states.items():
        if one.requirement.topic != topic:
            topic = one.requirement.topic
            if table.row_count:
                table.add_row()
            table.add_row(Text(topic, style="bold"), "", "", "", Text(catalogue.topics[topic], style="bold"))
        level = one.requirement.level + ("*" if one.requirement.page_policy else "")
        state = Text(str(one.state).replace("_", " "), style=STATE_STYLE.get(one.state, "dim"))
        text = Text(one.requirement.text, style="" if one.state in STATE_STYLE else "dim")
        table.add_row(f"  {name}", level, state, str(one.cases or ""), text)
    return table


def explanations(states: dict[str, RequirementState], review: Review) -> list[tuple[str, RenderableType]]:
    """Return titled tables: requirements with a reason, accepted ones, those that are shown in part."""
    silent = (State.PASSED, State.RECORDED)
    by_state: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in states.values():
        if one.state not in silent and one.requirement.id not in review.accepted:
            key = (str(one.state).replace("_", " "), one.reason.partition("\n")[0])
            by_state[key].append(one.requirement.id)
    open_ones = [(" ".join(names), state, reason) for (state, reason), names in by_state.items()]
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, entry in review.accepted.items():
        if name in states:
            by_reason[f"until {entry.expires}: {entry.reason}"].append(name)
    found: list[tuple[str, Sequence[tuple[str, ...]]]] = [
        ("requirements that are not passed", open_ones),
        ("accepted by the baseline", [(" ".join(names), reason) for reason, names in by_reason.items()]),
        ("passed in part", [(name, note) for name, note in review.notes.items() if name in states]),
    ]
    return [(title, _columns(rows)) for title, rows in found if rows]


def _columns(rows: Sequence[tuple[str, ...]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    for index in range(len(rows[0])):
        table.add_column(overflow="fold", max_width=46 if index == 0 else None)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
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
        table.add_row(str(number), Text(str(verdict), style="dim"), Text(reason))
    return table


def show(
    console: Console,
    records: Sequence[CaseRecord],
    states: dict[str, RequirementState],
    catalogue: Catalogue,
    review: Review,
    *,
    notes: Sequence[str],
    complete: bool,
) -> None:
    """Print everything that stands at the end of a run, the last line excepted."""
    loud = [record for record in records if record.verdict not in _QUIET]
    if loud:
        _title(console, "cases that did not pass")
    for record in loud:
        console.print(failure(record), soft_wrap=True)
    if not complete:
        # A selection says nothing about the others: they would only hide what was asked for.
        states = {name: one for name, one in states.items() if one.cases}
    if states:
        _title(console, "requirements")
        console.print(requirements(states, catalogue))
    for title, table in explanations(states, review):
        _title(console, title)
        console.print(table)
    unjudged = not_judged(records)
    if unjudged is not None:
        _title(console, "cases that were not judged")
        console.print(unjudged)
    if review.stale:
        _title(console, "entries of the baseline to mend")
        for sentence in review.stale:
            console.print(Text(sentence, style="bold red"))
    _title(console, "")
    counts = Counter(record.verdict for record in records)
    line = Text(f"{len(records)} cases{': ' if records else ''}")
    line.append_text(
        Text(", ").join(
            Text(f"{counts[verdict]} {verdict}", style=VERDICT_STYLE.get(verdict, ""))
            for verdict in Verdict
            if counts[verdict]
        )
    )
    console.print(line)
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(Rule(title, style="dim", align="left"))


def last_line(states: dict[str, RequirementState], *, follows_page: bool = True) -> str:
    """Return "N of M MUST verified"."""
    verified, all_of_them = must_verified(states, follows_page=follows_page)
    return f"{verified} of {all_of_them} MUST verified"
