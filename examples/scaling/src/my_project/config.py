"""Where things are."""

from __future__ import annotations

from pathlib import Path

import d6tpipe as dp

SRC = Path(__file__).resolve().parent
BLD = SRC.parents[1] / "bld"

dp.set_dir(BLD)
