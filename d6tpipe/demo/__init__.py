"""The flow that ``d6tpipe demo`` runs: `flow` is written as a user would write it, this module reads its results."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from d6tpipe import Workflow, taskflow_upstream
from d6tpipe.demo.flow import CompareModels, Train
from d6tpipe.errors import PluginError

__all__ = ["need_library", "scores", "workflow"]


def need_library() -> None:
    """Raise a `PluginError` if scikit-learn, which has the data and the models, is not installed."""
    # Only looked for, not imported: when everything is built already, that second would be wasted.
    if importlib.util.find_spec("sklearn") is None:
        raise PluginError(
            "The demo needs scikit-learn for its data and models, and it is not installed",
            hint="pip install scikit-learn",
        )


def workflow(folder: str | os.PathLike[str]) -> Workflow:
    """Return the comparison with its outputs in `folder`."""
    return Workflow(CompareModels, path=os.fspath(folder))


def scores(flow: Workflow) -> list[dict[str, Any]]:
    """Return one row per model that was trained, the best first.

    Returns
    -------
    list of dict
        ``model``, ``do_preprocess``, and the scores over five held-out fifths of the patients: ``r2`` (1 is perfect,
        0 is as good as always answering the mean), its standard deviation ``r2_spread``, and ``mean_error``
        in the units of the target (25 to 346).
    """
    rows = [
        {"model": task.model, "do_preprocess": task.do_preprocess, **task.outputLoadMeta()}
        for task in taskflow_upstream(flow.get_task())
        if isinstance(task, Train)
    ]
    return sorted(rows, key=lambda row: -row["r2"])
