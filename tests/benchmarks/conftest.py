"""The benchmarks are not in the wheel: they are found in the checkout, after what is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
