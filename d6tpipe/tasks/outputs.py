"""Where the outputs of a task lie and in which format: worked out once per class, then a name per task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import luigi

from d6tpipe import plugins, settings
from d6tpipe.constructor import Blueprint, blueprint
from d6tpipe.errors import DeclarationError, PluginError
from d6tpipe.identity import FILE_NAME_BYTES, file_name
from d6tpipe.targets import CacheTarget, FormatTarget

__all__ = [
    "Layout",
    "absolute",
    "folder",
    "in_mirror",
    "job_folder",
    "job_folder_name",
    "layout",
    "localized",
    "locate",
    "mirrored",
    "names_of",
    "original",
    "out_of_mirror",
    "root_of",
    "stand_in",
    "target_at",
    "targets",
]

_OPTIONS = ("path", "persist", "pipename", "save_attrib", "target_class", "target_dir", "target_ext", "task_group")


class Layout:
    """The outputs that a class declares.

    Attributes
    ----------
    keys : tuple of str
        Names of the outputs, in the order of ``persist``.
    single : bool
        One output called "data": ``output()`` and ``outputLoad()`` give it bare.
    kinds : tuple of (target maker, file extension)
        One per key.
    in_memory : bool
        All outputs are kept in memory, none on disk.
    mixed : bool
        Some outputs are kept in memory, others on disk.
    tails : tuple of str
        What follows the task id in the file name of each output.
    named : bool
        File names begin with the task id (``save_attrib``).
    """

    __slots__ = ("folders", "generation", "in_memory", "keys", "kinds", "longest", "mixed", "named", "single", "tails")

    def __init__(self, cls: type, persist: Any, target_class: Any, extension: str, named: bool) -> None:
        self.keys, formats = _read_persist(cls, persist)
        self.single = self.keys == ("data",)
        kinds: list[tuple[Any, str]] = []
        for key in self.keys:
            wanted = formats.get(key)
            kinds.append((target_class, extension) if wanted is None else _kind(cls, key, wanted))
        self.kinds = tuple(kinds)
        self.tails = tuple([f"-{key}.{kind[1]}" for key, kind in zip(self.keys, kinds, strict=True)])
        self.longest = max([len(tail.encode()) for tail in self.tails], default=0)
        self.named = named
        memory = [isinstance(kind, type) and issubclass(kind, CacheTarget) for kind, _ in kinds]
        self.in_memory = bool(kinds) and all(memory)
        self.mixed = any(memory) and not self.in_memory
        self.folders: dict[str | None, str] = {}
        self.generation = -1


def _read_persist(cls: type, persist: Any) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    if isinstance(persist, Mapping):
        keys, formats = tuple(persist), persist
    elif isinstance(persist, str) or not isinstance(persist, Sequence):
        raise DeclarationError(
            "persist must name the outputs",
            task=cls,
            facts={"persist": repr(persist)},
            hint="Write persist = ['x', 'y'] or persist = {'x': 'parquet', 'y': 'pickle'}.",
        )
    else:
        keys, formats = tuple(persist), {}
    wrong = [key for key in keys if not isinstance(key, str) or not key or "/" in key or "\0" in key]
    if wrong or len(set(keys)) != len(keys):
        raise DeclarationError(
            "persist holds names that cannot be file names" if wrong else "persist names an output twice",
            task=cls,
            facts={"persist": list(keys)},
            hint="Use distinct, plain text names without '/'.",
        )
    return keys, formats


def _kind(cls: type, key: str, wanted: Any) -> tuple[Any, str]:
    """Return how to make the target of one output, and its file extension."""
    if isinstance(wanted, str):
        if wanted == "cache":
            return CacheTarget, "cache"
        try:
            suffix = plugins.load("formats", wanted).suffix
        except PluginError as error:
            error.task = f"{cls.__qualname__}, output '{key}'"
            raise
        return _OfFormat(wanted), suffix
    if isinstance(wanted, type) and hasattr(wanted, "target_class"):
        return wanted.target_class, wanted.target_ext  # type: ignore[attr-defined]
    if isinstance(wanted, type) and issubclass(wanted, luigi.Target):
        return wanted, getattr(wanted, "extension", key)
    raise DeclarationError(
        f"persist gives output '{key}' a format that is none",
        task=cls,
        facts={"format": repr(wanted)},
        hint="Use the name of a format ('parquet', 'pickle', 'json' ...), a target class or a task class.",
    )


class _OfFormat:
    """Makes targets of one format."""

    __slots__ = ("format",)

    def __init__(self, name: str) -> None:
        self.format = name

    def __call__(self, path: str) -> FormatTarget:
        return FormatTarget(path, self.format)


def layout(task: Any) -> Layout:
    """Return the layout of a task's outputs."""
    plan = blueprint(task.__class__)
    found: Layout | None = plan.outputs
    if found is not None and "_moved" not in task.__dict__:
        return found
    named = bool(option(task, plan, "save_attrib", True))
    found = Layout(plan.cls, task.persist, task.target_class, task.target_ext, named)
    varying = any(isinstance(getattr(plan.cls, name, None), (property, luigi.Parameter)) for name in _OPTIONS)
    if not varying and "_moved" not in task.__dict__:  # no options were set on the instance
        plan.outputs = found
    return found


def option(task: Any, plan: Blueprint, name: str, default: Any = None) -> Any:
    """Return a class option of a task or class, unless a parameter has taken its name."""
    return default if name in plan.by_name else getattr(task, name, default)


def folder(task: Any) -> str:
    """Return the folder of a task's outputs, without making it."""
    return locate(task)[0]


def job_folder(task: Any) -> str:
    """Return where the extra files of a task lie, beside its outputs; nothing is made."""
    return os.path.join(folder(task), job_folder_name(task.task_id))


def job_folder_name(task_id: str) -> str:
    """Return what the folder for the extra files of a task is called."""
    return file_name(task_id, "job", "files")


def stated_path(task: Any) -> str | None:
    """Return the data folder that the workflow or the class of a task says, None if neither does."""
    path = task._bound_path() or option(task, blueprint(type(task)), "path")
    return None if path is None else os.fspath(path)


def root_of(task: Any) -> str:
    """Return the data folder that the outputs of a task lie in: the one of its workflow, its class or the settings."""
    return _root(task, blueprint(type(task)), task._bound_path())


def _root(task: Any, plan: Blueprint, where: str | None) -> str:
    root: Any = where
    if root is None:
        # the class attribute, or an attribute set on this instance
        root = None if "path" in plan.by_name else getattr(task, "path", None)
    found = os.fspath(settings.dirpath if root is None else root)
    return found if _base is None else localized(absolute(found))


_base: str | None = None
"""On a worker: the working folder of the process that coordinates, which relative paths of data folders start from."""
_mirror: str | None = None
"""On a worker that does not see the data folders: the folder that stands for the whole disk."""


def stand_in(base: str | None, mirror: str | None = None) -> None:
    """Have all tasks of this process find their outputs where they are for a process that works in `base`.

    Parameters
    ----------
    base : str or None
        None: this process stands for itself.
    mirror : str, optional
        Folder below which they are looked for instead (see `in_mirror`).
    """
    global _base, _mirror
    if (base, mirror) != (_base, _mirror):
        _base, _mirror = base, mirror
        settings.changed()


def mirrored() -> bool:
    """Return whether the data of tasks are looked for in a mirror."""
    return _mirror is not None


def absolute(path: str) -> str:
    """Return the absolute form that a path has for the process that coordinates."""
    return path if "://" in path else os.path.abspath(path if _base is None else os.path.join(_base, path))


def localized(path: str) -> str:
    """Return where in this process an absolute path of the coordinator is: the same, unless there is a mirror."""
    return path if _mirror is None else in_mirror(path, _mirror)


def original(path: str) -> str:
    """Return the coordinator's absolute path for a path of this process."""
    return absolute(path) if _mirror is None else out_of_mirror(path, _mirror)


def in_mirror(path: str, mirror: str) -> str:
    """Return where in a mirror an absolute path of another machine is."""
    if "://" in path:
        return path
    drive, rest = os.path.splitdrive(os.path.normpath(path))
    return os.path.join(mirror, "root", drive.replace(":", "") + rest.lstrip(os.sep))


def out_of_mirror(path: str, mirror: str) -> str:
    """Return the path of which `path` is the place in a mirror."""
    start = os.path.join(mirror, "root") + os.sep
    return os.sep + path[len(start) :] if path.startswith(start) else path


def folder_of(task: Any, plan: Blueprint, where: str | None, family: str | None = None) -> str:
    """Return the folder of the outputs of a task, or of its class; `where` is the data folder its workflow says.

    With `family`, as if the class were called so.
    """
    group = option(task, plan, "task_group")
    pieces = [_root(task, plan, where)]
    if group is not None:
        pieces.append(f"group={group}")
    pieces.append(str(option(task, plan, "target_dir", (family or plan.family).split("_")[0])))
    return os.path.normpath(os.path.join(*pieces))


def locate(task: Any) -> tuple[str, tuple[str, ...]]:
    """Return the folder and the file names of a task's outputs, in the order of its keys; touches nothing."""
    plan = blueprint(task.__class__)
    shape: Layout | None = plan.outputs
    if shape is None or "_moved" in task.__dict__:
        shape = layout(task)
        place = folder_of(task, plan, task._key[1])
    else:
        if shape.generation != settings.generation:
            shape.folders.clear()
            shape.generation = settings.generation
        where = task._key[1]
        known = shape.folders.get(where)
        place = known if known is not None else shape.folders.setdefault(where, folder_of(task, plan, where))
    return place, names_of(shape, task.task_id)


def names_of(shape: Layout, task_id: str) -> tuple[str, ...]:
    """Return the file names of the outputs of a task with this id, in the order of the keys."""
    if not (shape.named and settings.save_with_param):
        return tuple([tail[1:] for tail in shape.tails])
    if len(task_id) + shape.longest <= FILE_NAME_BYTES and task_id.isascii():
        if len(shape.tails) == 1:
            return (task_id + shape.tails[0],)
        return tuple([task_id + tail for tail in shape.tails])
    return tuple([file_name(task_id, key, kind[1]) for key, kind in zip(shape.keys, shape.kinds, strict=True)])


def target_at(kind: Any, path: str) -> Any:
    """Return the target of one output; the user's own target classes get a `pathlib.Path`, as in d6tflow."""
    if kind.__class__ is _OfFormat or (isinstance(kind, type) and kind.__module__.startswith("d6tpipe.targets")):
        return kind(path)
    return kind(Path(path))


def targets(task: Any, at: tuple[str, tuple[str, ...]] | None = None) -> dict[str, Any]:
    """Return the targets of a task by key; with a folder and file names, those of the outputs that lie there."""
    shape = layout(task)
    place, names = at or locate(task)
    return {
        key: target_at(kind[0], f"{place}{os.sep}{name}")
        for key, kind, name in zip(shape.keys, shape.kinds, names, strict=True)
    }
