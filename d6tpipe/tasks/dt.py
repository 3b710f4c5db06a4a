"""Tasks with H2O datatable outputs."""

from __future__ import annotations

from d6tpipe.targets.dt import DatatableTarget
from d6tpipe.tasks import TaskData

__all__ = ["TaskDatatable"]


class TaskDatatable(TaskData):
    """Task whose output is a datatable frame (needs datatable)."""

    target_class = DatatableTarget
    target_ext = "nff"
