"""d6tpipe: data pipelines as classes.

Declare tasks with parameters, requirements and typed outputs; `run` builds what is missing. ``import d6tflow`` gives
the same objects.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "2.0.0.dev0"

from d6tpipe import cache, errors, parameters, settings, targets, tasks
from d6tpipe.cache import data
from d6tpipe.declared import env, mark
from d6tpipe.decorators import clone_parent, dict_inherits, dict_requires, inherits, requires
from d6tpipe.export import FlowExport, FlowImport
from d6tpipe.flow import (
    enable_cloud_storage,
    enable_gcs,
    invalidate_all,
    invalidate_downstream,
    invalidate_orphans,
    invalidate_upstream,
    preview,
    run,
    set_dir,
    show,
    taskflow_downstream,
    taskflow_upstream,
)
from d6tpipe.parameters import *  # noqa: F403  (its __all__ is the list)
from d6tpipe.typed import param
from d6tpipe.workflows import Workflow, WorkflowMulti

if TYPE_CHECKING:
    from d6tpipe.acceptance import accept, forget
    from d6tpipe.caches import cache_path, cached
    from d6tpipe.callbacks import on
    from d6tpipe.catalogs import catalog, clean
    from d6tpipe.configs import Config, Init, insignificant
    from d6tpipe.explanations import explain
    from d6tpipe.external_files import ExternalFile, glob
    from d6tpipe.former_names import migrates_from, renamed_from
    from d6tpipe.graphs import tags
    from d6tpipe.grids import grid
    from d6tpipe.hooks import SubmitHook
    from d6tpipe.jobs import from_dir
    from d6tpipe.labels import tag
    from d6tpipe.plans import plan
    from d6tpipe.points import product, zipped
    from d6tpipe.searches import search
    from d6tpipe.sessions import Session
    from d6tpipe.shared_dirs import SharedDir
    from d6tpipe.sweeps import sweep
    from d6tpipe.tasklogs import log
    from d6tpipe.tokens import Token
    from d6tpipe.watchers import watch

__all__ = [
    *parameters.__all__,
    "Config",
    "ExternalFile",
    "FlowExport",
    "FlowImport",
    "Init",
    "Session",
    "SharedDir",
    "SubmitHook",
    "Token",
    "Workflow",
    "WorkflowMulti",
    "accept",
    "cache",
    "cache_path",
    "cached",
    "catalog",
    "clean",
    "clone_parent",
    "data",
    "dict_inherits",
    "dict_requires",
    "enable_cloud_storage",
    "enable_gcs",
    "env",
    "errors",
    "executors",  # noqa: F405
    "explain",
    "forget",
    "from_dir",
    "functional",  # noqa: F405
    "glob",
    "grid",
    "inherits",
    "insignificant",
    "invalidate_all",
    "invalidate_downstream",
    "invalidate_orphans",
    "invalidate_upstream",
    "log",
    "mark",
    "migrates_from",
    "on",
    "param",
    "parameters",
    "pipes",  # noqa: F405
    "plan",
    "preview",
    "product",
    "renamed_from",
    "requires",
    "run",
    "search",
    "set_dir",
    "settings",
    "show",
    "sweep",
    "tag",
    "tags",
    "targets",
    "taskflow_downstream",
    "taskflow_upstream",
    "tasks",
    "utils",  # noqa: F405
    "watch",
    "zipped",
]

# Not every program needs them, and each would pay for the import.
_LATER = ("executors", "functional", "pipes", "testing", "utils")
_FUNCTIONS = {
    "accept": "acceptance",
    "cache_path": "caches",
    "cached": "caches",
    "catalog": "catalogs",
    "clean": "catalogs",
    "Config": "configs",
    "Init": "configs",
    "insignificant": "configs",
    "explain": "explanations",
    "forget": "acceptance",
    "from_dir": "jobs",
    "grid": "grids",
    "log": "tasklogs",
    "on": "callbacks",
    "plan": "plans",
    "product": "points",
    "search": "searches",
    "Session": "sessions",
    "SharedDir": "shared_dirs",
    "SubmitHook": "hooks",
    "sweep": "sweeps",
    "tag": "labels",
    "tags": "graphs",
    "ExternalFile": "external_files",
    "glob": "external_files",
    "migrates_from": "former_names",
    "renamed_from": "former_names",
    "zipped": "points",
    "Token": "tokens",
    "watch": "watchers",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"d6tpipe.{name}")
    if name in _FUNCTIONS:
        found = globals()[name] = getattr(importlib.import_module(f"d6tpipe.{_FUNCTIONS[name]}"), name)
        return found
    # With name and obj Python's own message suggests the nearest name.
    raise AttributeError(f"module 'd6tpipe' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
