"""Processes of the library loky: a pool that others in the same program may share (joblib, scikit-learn)."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from d6tpipe import plugins

__all__ = ["build"]


def build(n_workers: int, settings: Any = None) -> Executor:
    """Return loky's reusable executor with `n_workers` processes.

    Raises
    ------
    PluginError
        loky is not installed.
    """
    loky = plugins.need("loky", "The executor loky")
    executor: Any = loky.get_reusable_executor(max_workers=n_workers, timeout=300)
    executor.restart = lambda: loky.get_reusable_executor(max_workers=n_workers, kill_workers=True)
    executor.breaks = True  # the death of one process ends all that is under way
    executor.local = True
    return executor
