"""What a run is asked to do: the options that `conformance run` and the pytest plugin share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.errors import UsageError
from conformance.scenario.case import Case

PROFILES = ("core", "full", "slow")


@dataclass(frozen=True)
class RunOptions:
    """Frozen; checked by `check`."""

    server: str
    settings: Mapping[str, str] = field(default_factory=dict)
    profile: str = "full"
    cases: Sequence[str] = ()
    """Ids of scenarios or cases; empty: all."""
    report_dir: Path | None = None
    network: str = "auto"
    require_network: str | None = None
    baseline: str | None = None
    """A file; ``none``; None is the one that ships with a built-in adapter."""
    fail_on_warn: bool = False
    seed: int | None = None
    """Runs the cases in an order shuffled by it; None: in the order of the files."""
    scenarios: Sequence[Path] = ()
    """Folders of the user's, for the command that repeats a case."""
    builtin: bool = True
    keep_captures: bool = False
    """Keep the packets of cases that passed, too."""

    def check(self) -> None:
        """Raise UsageError for a value that cannot be used."""
        if self.profile not in PROFILES:
            raise UsageError(f"--profile {self.profile}: unknown; choose {', '.join(PROFILES)}")
        if self.keep_captures and self.report_dir is None:
            raise UsageError("--keep-captures: captures are kept in the report; add --report-dir DIR")

    def replay(self, case: Case) -> str:
        """Return the shell command that runs one case again."""
        words = ["conformance", "run", "--server", self.server]
        for key, value in self.settings.items():
            words += ["--set", f"{key}={value}"]
        for path in self.scenarios:
            words += ["--scenarios", str(path)]
        if not self.builtin:
            words.append("--no-builtin")
        if self.network != "auto":
            words += ["--network", self.network]
        return shlex.join([*words, "--case", case.id])

    def chosen(self, case: Case) -> bool:
        """Say whether ``case`` is one of those that were asked for."""
        return not self.cases or case.id in self.cases or case.scenario.id in self.cases


def settings(texts: Sequence[str]) -> dict[str, str]:
    """Return ``KEY=VALUE`` texts as a mapping. Raises UsageError."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text}: KEY=VALUE is expected")
        pairs[key] = value
    return pairs
