"""Threads of this process: for bodies that wait for disks, networks or libraries that let others run meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["ThreadExecutor", "build"]


class ThreadExecutor(ThreadPoolExecutor):
    """The standard library's; bodies share the memory of this process."""

    in_process = True


def build(n_workers: int, settings: Any = None) -> ThreadExecutor:
    """Return `n_workers` threads; they start when there is work for them."""
    return ThreadExecutor(n_workers, thread_name_prefix="d6tpipe")
