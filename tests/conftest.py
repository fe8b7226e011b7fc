"""In CI nothing is skipped in silence: a test that lacks a tool or a namespace fails there."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With SIXPOST_REQUIRE_TOOLS set, a skip of a test marked ``needs_…`` is a failure."""
    report = yield
    needs = [mark.name for mark in item.iter_markers() if mark.name.startswith("needs_")]
    # Where tests run as root, whether another user can run them as well is the installation's matter.
    missing = needs and "ordinary user" not in str(report.longrepr)
    if report.skipped and missing and os.environ.get("SIXPOST_REQUIRE_TOOLS"):
        report.outcome = "failed"
        report.longrepr = f"{', '.join(needs)} is required here, and the test was skipped: {report.longrepr}"
    return report
