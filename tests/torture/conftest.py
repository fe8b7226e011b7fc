"""The torture is not in the wheel: it is found in the checkout, after what is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
