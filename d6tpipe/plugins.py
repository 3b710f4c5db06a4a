"""Names to objects: formats, files and whatever else can be added from outside.

Built-ins stand in a table of text, so nothing is imported before it is asked for. A name that is not in the
table is looked up among the entry points ``d6tpipe.<group>`` of the installed packages::

    [options.entry_points]
    d6tpipe.formats =
        feather = mypackage.formats:Feather
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from d6tpipe.errors import PluginError
from d6tpipe.identity import nearest

__all__ = ["BUILTIN", "EXTRAS", "known", "load", "need"]

BUILTIN: dict[str, dict[str, str]] = {
    "formats": {
        "bytes": "d6tpipe.formats.basic:Bytes",
        "csv": "d6tpipe.formats.frames:CSV",
        "csv.gz": "d6tpipe.formats.frames:CSVGZ",
        "datatable": "d6tpipe.formats.models:Datatable",
        "excel": "d6tpipe.formats.frames:Excel",
        "hdf": "d6tpipe.formats.frames:HDF",
        "json": "d6tpipe.formats.basic:Json",
        "keras": "d6tpipe.formats.models:Keras",
        "parquet": "d6tpipe.formats.frames:Parquet",
        "pickle": "d6tpipe.formats.basic:Pickle",
        "text": "d6tpipe.formats.basic:Text",
        "torch": "d6tpipe.formats.models:Torch",
    },
    "files": {
        "local": "d6tpipe.storage.files:LOCAL",
    },
    # What tells one value in memory from another.
    "digests": {
        "content": "d6tpipe.formats.content:content_digest",
    },
    "executors": {
        "dask": "d6tpipe.executors.dask:build",
        "loky": "d6tpipe.executors.loky:build",
        "processes": "d6tpipe.executors.processes:build",
        "ray": "d6tpipe.executors.ray:build",
        "serial": "d6tpipe.executors.serial:build",
        "threads": "d6tpipe.executors.threads:build",
    },
    "locks": {
        "files": "d6tpipe.storage.locks:locks_for",
    },
    "records": {
        "memory": "d6tpipe.storage.memory_records:MemoryRecords",
        "sqlite": "d6tpipe.storage.sqlite_records:SqliteRecords",
    },
    # Front doors of tasks to the flow above them: task.complete(), task.outputLoad(run=True) ...
    "services": {
        "best": "d6tpipe.tables:best",
        "bind": "d6tpipe.flow:bind",
        "encoder": "d6tpipe.payloads:Encoder",
        "get_pipe": "d6tpipe.pipes:get_pipe",
        "interrupted": "d6tpipe.integrity:interrupted",
        "job": "d6tpipe.jobs:Job",
        "note_lost": "d6tpipe.jobs:note_lost",
        "receipt": "d6tpipe.jobs:receipt_of",
        "adopt_emissions": "d6tpipe.emissions:adopt",
        "lost_among": "d6tpipe.graphs:lost_among",
        "tolerance_of": "d6tpipe.declared:tolerance_of",
        "verify": "d6tpipe.integrity:verify",
        "hand_run": "d6tpipe.hand_runs:HandRun",
        "requirements_complete": "d6tpipe.taskview:requirements_complete",
        "pivot": "d6tpipe.tables:pivot",
        "plot": "d6tpipe.plots:plot",
        "predecessors": "d6tpipe.predecessors:predecessors",
        "run": "d6tpipe.flow:run",
        "select_in": "d6tpipe.selection:select_in",
        "shipper": "d6tpipe.shipping:Shipper",
        "table": "d6tpipe.tables:table",
        "used_alone": "d6tpipe.shared_dirs:used_alone",
        "taskflow_upstream": "d6tpipe.flow:taskflow_upstream",
    },
}
"""Group to name to ``"module:object"``. A plugin cannot take over one of these names."""

EXTRAS = {
    "dask": "dask",
    "distributed": "dask",
    "gcsfs": "gcs",
    "loky": "loky",
    "matplotlib": "plots",
    "openpyxl": "excel",
    "optuna": "search",
    "polars": "polars",
    "ray": "ray",
    "s3fs": "s3",
    "sklearn": "demo",
    "tables": "hdf",
    "torch": "torch",
    "yaml": "yaml",
}
"""Optional module to the extra of d6tpipe that installs it."""

# A protocol of methods is met by an instance; whoever writes a plugin naturally names the class.
_INSTANTIATED = frozenset({"formats", "files"})

_loaded: dict[tuple[str, str], Any] = {}


def load(group: str, name: str, also: Iterable[str] = ()) -> Any:
    """Return the object that `name` stands for, importing it on first use.

    Parameters
    ----------
    group : str
        ``"formats"``, ``"files"`` ...; the entry point group is ``d6tpipe.<group>``.
    name : str
        A built-in name or one that an installed package declares.
    also : iterable of str
        More names that the caller knows, for the message about an unknown one.

    Returns
    -------
    object
        The same one at every call. A class among formats or files is instantiated, without arguments.

    Raises
    ------
    PluginError
        The name is unknown (the message lists the known ones), claimed by two packages (both are named), or
        cannot be imported (the cause is chained; for an optional library the message names what to install).
    """
    try:
        return _loaded[group, name]
    except KeyError:
        pass
    reference = BUILTIN.get(group, {}).get(name)
    found = _import(group, name, reference) if reference else _from_entry_point(group, name, also)
    if group in _INSTANTIATED and isinstance(found, type):
        found = found()
    # Two threads may get here together; both must hand out the same object.
    return _loaded.setdefault((group, name), found)


def known(group: str) -> list[str]:
    """Return every name that `load` accepts for `group`, sorted; reads the entry points."""
    return sorted({*BUILTIN.get(group, ()), *(point.name for point in _entry_points(group))})


def need(module: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Parameters
    ----------
    module : str
        Name of the module, dotted if need be.
    purpose : str
        What it is for, as the start of a sentence: ``"The excel format"``.

    Raises
    ------
    PluginError
        It is not installed; the message tells what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _not_installed(purpose, error) from error


def _not_installed(purpose: str, error: ModuleNotFoundError) -> PluginError:
    missing = (error.name or str(error)).partition(".")[0]
    extra = EXTRAS.get(missing)
    return PluginError(
        f"{purpose} needs the package {missing}, which is not installed",
        hint=f"pip install {f'd6tpipe[{extra}]' if extra else missing}",
    )


def _import(group: str, name: str, reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise
        raise _not_installed(f"{_singular(group)} {name!r}", error) from error


def _from_entry_point(group: str, name: str, also: Iterable[str]) -> Any:
    claims = [point for point in _entry_points(group) if point.name == name]
    if not claims:
        raise _unknown(group, name, also)
    if len(claims) > 1:
        raise PluginError(
            f"{_singular(group)} {name!r} is claimed by {len(claims)} packages",
            facts={_package(point): point.value for point in claims},
            hint="Uninstall all but one of them, or ask their authors to choose different names.",
        )
    point = claims[0]
    facts = {"package": _package(point), "object": point.value}
    try:
        return point.load()
    except Exception as error:  # a plugin's import can fail in any way
        raise PluginError(
            f"{_singular(group)} {name!r} cannot be loaded",
            facts={**facts, "import said": f"{type(error).__name__}: {error}"},
            hint=f"Upgrade, repair or uninstall the package {facts['package']}.",
        ) from error


def _entry_points(group: str) -> Iterable[EntryPoint]:
    # One package can be seen twice: an editable install beside its egg-info, a folder twice on sys.path.
    points = importlib.metadata.entry_points(group=f"d6tpipe.{group}")
    return {(_package(point), point.name, point.value): point for point in points}.values()


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "(unknown package)"


def _unknown(group: str, name: str, also: Iterable[str] = ()) -> PluginError:
    names = sorted({*known(group), *also})
    near = nearest(name, names)
    return PluginError(
        f"Unknown {_singular(group).lower()} {name!r}",
        facts={"known": ", ".join(names) or "(none)"},
        hint=f"Did you mean {near!r}?" if near else f"A package can add one with an entry point d6tpipe.{group}.",
    )


def _singular(group: str) -> str:
    return group.capitalize() if group == "files" else group.removesuffix("s").capitalize()
