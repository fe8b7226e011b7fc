"""Verdicts: what a finding means, what a run says of each requirement, what a baseline accepts.

Pure but for `baseline.read`. `run`, `report` and `plugin` may import it.
"""
