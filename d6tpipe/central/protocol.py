"""What luigi's scheduler is told of a task, and under which names."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from typing import Any

import xxhash

from d6tpipe.identity import shown_id
from d6tpipe.machine import host_name, user_name

__all__ = [
    "DISABLED",
    "DONE",
    "FAILED",
    "PENDING",
    "RUNNING",
    "announcement",
    "central_id",
    "worker_info",
    "worker_name",
]

PENDING, RUNNING, DONE, FAILED, DISABLED = "PENDING", "RUNNING", "DONE", "FAILED", "DISABLED"


def central_id(task: Any) -> str:
    """Return the id of a task for the scheduler: its own, with a suffix if it is bound to a folder.

    Two workflows with the same tasks in two folders are two graphs.
    """
    binding = getattr(task, "_binding", None)
    task_id: str = task.task_id
    if binding is None or binding.path is None:
        return task_id
    return f"{task_id}_{xxhash.xxh32_hexdigest(str(binding.path).encode())}"


def worker_name(own: bool) -> str:
    """Return the name of this run as a worker.

    Parameters
    ----------
    own : bool
        A name that no other run has, for a run that claims tasks. Otherwise all runs of a user on this machine have
        the same: the server remembers who has run a task last, and does not believe anybody else who says that it runs.
    """
    known = f"d6tpipe(host={host_name()}, username={user_name()}"
    return f"{known}, pid={os.getpid()}, run={uuid.uuid4().hex[:8]})" if own else known + ")"


def worker_info(n_workers: int, first_task: Any) -> list[tuple[str, Any]]:
    """Return what the page shows of a worker."""
    return [
        ("workers", n_workers),
        ("host", host_name()),
        ("username", user_name()),
        ("pid", os.getpid()),
        ("first_task", central_id(first_task)),
    ]


def announcement(
    task: Any,
    worker: str,
    status: str,
    needs: Iterable[Any] | None = None,
    runnable: bool = False,
    explanation: str | None = None,
    tracking_url: str | None = None,
    accepts_messages: bool = False,
) -> dict[str, Any]:
    """Return the arguments of ``add_task``: always all of them, since the server forgets what a call leaves out.

    Resources and retries are the run's own affair; told to the server, they would make it search all tasks for each
    claim, and lock out tasks that failed often enough.
    """
    fields: dict[str, Any] = {
        "worker": worker,
        "task_id": central_id(task),
        "status": status,
        "runnable": runnable,
        "family": task.task_family,
        "module": task.task_module,
        "params": _shown_params(task),
        "priority": task.priority,
        "tracking_url": tracking_url,
        "accepts_messages": accepts_messages,
        "deps": None if needs is None else [central_id(need) for need in needs],
    }
    if explanation is not None:
        fields["expl"] = json.dumps(explanation)
    return fields


def _shown_params(task: Any) -> dict[str, str]:
    """Return what the pages show beside the class: the id that a sweep gave the task, and its parameters."""
    texts: dict[str, str] = task.to_str_params(only_public=True)
    name = shown_id(task)
    return {"id": name, **texts} if name is not None and "id" not in texts else texts
