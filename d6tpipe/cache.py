"""What memory outputs hold, and the hand-over points that d6tflow users know.

`data` maps the path of a memory output (as text) to its value; clearing it makes those tasks incomplete.
`api`, `pipe_default_name` and `pipes` are set by ``d6tpipe.pipes``.
"""

from __future__ import annotations

from typing import Any

data: dict[str, Any] = {}

api: Any = None
pipe_default_name: str | None = None
pipes: dict[str, Any] = {}
