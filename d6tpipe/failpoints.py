"""Places where a test can kill the process, to see what the next one makes of the remains.

``fail_point("records.begin")`` does nothing unless the environment says ``_D6TPIPE_FAIL_POINT=records.begin`` (the
first time it is passed) or ``records.begin*3`` (the third time): then the process ends there as by ``kill -9``.
The variable is read once, when this module is imported; it has an underscore because ``D6TPIPE_...`` are settings.
"""

from __future__ import annotations

import os
import signal

__all__ = ["VARIABLE", "fail_point"]

VARIABLE = "_D6TPIPE_FAIL_POINT"

_wanted, _, _count = os.environ.get(VARIABLE, "").partition("*")
_left = int(_count or 1)


def _kill_here(name: str) -> None:
    """End the process, without any clean-up, if `name` is the wanted point and its turn has come."""
    global _left
    if name == _wanted:
        _left -= 1
        if _left == 0:
            if hasattr(signal, "SIGKILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(137)


def _pass(name: str) -> None:
    """Do nothing."""


fail_point = _kill_here if _wanted else _pass
"""``fail_point(name)``; a call costs 30 ns when no point is wanted."""
