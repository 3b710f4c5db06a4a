"""Files that are made elsewhere, as tasks: one by its path, many by a pattern."""

from __future__ import annotations

import glob as _glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d6tpipe import plugins
from d6tpipe.errors import GraphError, ParameterError
from d6tpipe.identity import nearest
from d6tpipe.parameters import Parameter
from d6tpipe.targets import DataTarget, FormatTarget
from d6tpipe.tasks import TaskData

__all__ = ["ExternalFile", "glob"]

_FORMATS = {
    "csv": "csv", "csv.gz": "csv.gz", "json": "json", "parquet": "parquet", "pkl": "pickle", "pickle": "pickle",
    "pq": "parquet", "txt": "text", "xls": "excel", "xlsx": "excel",
}  # fmt: skip
_KEYS: dict[str, Callable[[Path], str]] = {
    "stem": lambda path: path.name.partition(".")[0] or path.name,
    "name": lambda path: path.name,
    "path": str,
}


class ExternalFile(TaskData):
    """A file that is made elsewhere: complete when it exists, never built here.

    Its content counts as data: what requires it is stale when it changes. ``outputLoad()`` reads it by its suffix (csv,
    csv.gz, json, parquet, pickle, txt, xlsx); of any other file, ``output().path`` says where it is.

    Parameters
    ----------
    file : str or path
        Part of the identity as it is written.
    """

    external = True
    file: Any = Parameter()

    def output(self) -> Any:
        """Return the target of the file."""
        path = os.fspath(self.file)
        name = os.path.basename(path).lower()
        for suffix, form in _FORMATS.items():
            if name.endswith(f".{suffix}"):
                return FormatTarget(path, form)
        return DataTarget(path)


def glob(
    pattern: str | os.PathLike[str], key: str | Callable[[Path], str] = "stem", min: int = 0
) -> dict[str, ExternalFile]:
    """Return the files that fit a pattern, as tasks, for ``requires()``.

    Parameters
    ----------
    pattern : str or path
        As for the function of this name in the standard library; ``**`` stands for folders.
    key : {"stem", "name", "path"} or callable
        What the files go by: the name without its suffixes, the name, the path, or what a function of the
        ``pathlib.Path`` returns.
    min : int
        There must be so many.

    Returns
    -------
    dict of str to ExternalFile
        Sorted by path. A new file makes stale what requires all of them, and nothing else.

    Raises
    ------
    GraphError
        There are fewer than `min`, or two files have one key.

    Examples
    --------
    ::

        class Clean(d6tpipe.tasks.TaskPqPandas):
            def requires(self):
                return d6tpipe.glob("raw/*.csv", min=1)

            def run(self):
                self.save(self.inputLoad(concat="file"))
    """
    if isinstance(key, str) and key not in _KEYS:
        near = nearest(key, _KEYS)
        raise ParameterError(
            f"glob() knows no key {key!r}",
            facts={"keys": ", ".join(_KEYS)},
            hint=f"Did you mean {near!r}?" if near else "Use one of these, or a function of a path.",
        )
    name_of = _KEYS[key] if isinstance(key, str) else key
    files = plugins.load("files", "local")
    paths = sorted(path for path in _glob.glob(os.fspath(pattern), recursive=True) if files.stat(path) is not None)
    paths = [path for path in paths if not os.path.isdir(path)]
    if len(paths) < min:
        folder = os.path.dirname(os.fspath(pattern)) or "."
        raise GraphError(
            f"The pattern fits {len(paths)} files, and there must be {min}",
            facts={
                "pattern": os.fspath(pattern),
                "working folder": os.getcwd(),
                "folder exists": os.path.isdir(folder),
            },
            hint="Correct the pattern, or put the files there.",
        )
    found: dict[str, ExternalFile] = {}
    for path in paths:
        name = str(name_of(Path(path)))
        if name in found:
            raise GraphError(
                f"Two files of the pattern go by the key {name!r}",
                facts={"one": found[name].file, "other": path, "pattern": os.fspath(pattern)},
                hint='Use key="name", key="path" or a function that tells them apart.',
            )
        found[name] = _file(path)
    return found


def _file(path: str) -> ExternalFile:
    cls: Any = ExternalFile
    made: ExternalFile = cls(file=path)
    return made
