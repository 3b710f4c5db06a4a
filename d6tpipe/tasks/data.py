"""TaskData: a task whose outputs are data, saved and loaded by name."""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import luigi
from luigi.task import flatten

from d6tpipe import cache, plugins, settings
from d6tpipe.binding import FRAME
from d6tpipe.errors import DeclarationError, NotBuiltError, OutputKeyError, StorageError
from d6tpipe.identity import FILE_NAME_BYTES, file_name, nearest
from d6tpipe.interfaces import Writer, Written
from d6tpipe.targets import CacheTarget, DataTarget, FormatTarget
from d6tpipe.task_paths import producer_of, task_path
from d6tpipe.task_values import Composite
from d6tpipe.tasks.aggregator import TaskAggregator
from d6tpipe.tasks.base import Task
from d6tpipe.tasks.external import is_external
from d6tpipe.tasks.meta import ensure_folders, raw_requires
from d6tpipe.tasks.older_places import has_older_name, older_places, standing
from d6tpipe.tasks.outputs import folder, job_folder, layout, targets
from d6tpipe.tasks.unbound import class_meant, outside_a_body

__all__ = ["TaskData"]


METADATA = ""
"""What metadata are called among the outputs that a body has written; no output can have this name."""


class TaskData(Task):
    """A task that saves data as its output and loads data as its input.

    Write a subclass of one of the format classes (`TaskPqPandas`, `TaskPickle` ...), declare parameters, say in
    ``requires`` what it needs, and save the result in ``run``.

    Class attributes
    ----------------
    persist : list of str, or dict of str to format
        Names of the outputs; with a dict each output has a format of its own. ``persists`` is the same.
    target_class, target_ext
        Target and file extension of outputs without a format of their own.
    external : bool
        The outputs are made elsewhere; ``run`` is never called and requirements do not matter.
    path, target_dir, task_group : str
        Data folder, folder of the class within it, and ``group=<task_group>`` between the two.
    save_attrib : bool
        False leaves the task id out of the file names.
    """

    target_class: Any = DataTarget
    target_ext: str = "ext"
    persist: Any = ["data"]  # a list, since d6tflow's users compare with one
    metadata: Any = None

    # ---- outputs

    def output(self) -> Any:
        """Return the target of the output, or the targets by name if there are several; touches only names."""
        older = standing(self)
        found = targets(self, None if older is None else (older.folder, older.names))
        return found["data"] if layout(self).single else found

    def _usual_output(self) -> Any:
        """Return what ``output()`` says of a task that is being built: never where it lay before."""
        if type(self).output is not TaskData.output:
            return self.output()
        found = targets(self)
        return found["data"] if layout(self).single else found

    def outputPath(self, key: str | None = None) -> Any:
        """Return the path of the output, or of output `key`, or the paths by name; nothing is built or made.

        Such a path knows this task: as a value of a `PathParameter` of another task it makes that one require this one.
        """
        if key is not None:
            self._check_keys([key])
        found = self.output()
        targets_by_name = {"data": found} if layout(self).single else found
        paths = {
            name: task_path(target.path, self, name) if isinstance(target.path, Path) else target.path
            for name, target in targets_by_name.items()
        }
        return paths["data"] if layout(self).single else paths[key] if key is not None else paths

    def _as_output(self) -> Any:
        """Return what others are to hold of this task: what ``outputs_for(self, dep)`` returns, or the task itself.

        ``outputs_for`` is yours to write. ``dep(x)`` marks a config, a path, or what is in a list or dict, as output of
        this task: whoever holds it requires the task. What is not marked makes no one require it.
        """
        describe = getattr(self, "outputs_for", None)
        return self if describe is None else describe(self._output)

    def _output(self, value: Any) -> Any:
        """Return a value as an output of this task."""
        if value is None or isinstance(value, luigi.Task):
            return value
        if isinstance(value, Composite):
            return value._output_of([self])
        if isinstance(value, PurePath):
            return value if producer_of(value) is not None else task_path(value, self, str(value))
        if isinstance(value, Mapping):
            return {name: self._output(member) for name, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._output(member) for member in value]
        raise DeclarationError(
            "dep() marks configs, paths, and lists and dicts of those",
            task=self,
            facts={"got": f"{value!r:.200}"},
            hint="Wrap it: class Result(d6tpipe.Config) with what it needs as parameters, and dep(Result(...)).",
        )

    def complete(self, cascade: bool = True) -> bool:
        """Return whether all outputs exist and, with `cascade`, all requirements are complete.

        Changes nothing. Requirements count unless the task is ``external`` or ``settings.check_dependencies`` is
        off. Cost: one look per output; with `cascade` linear in the number of tasks upstream.
        """
        if not self._outputs_exist():
            return False
        if not cascade or not settings.check_dependencies or is_external(self):
            return True
        frame = FRAME.get()
        if frame is not None and frame.task is self and frame.in_run:  # its body runs: all it requires is complete
            return True
        return bool(plugins.load("services", "requirements_complete")(self))

    def _outputs_exist(self) -> bool:
        outputs = flatten(self.output())
        return bool(outputs) and all([target.exists() for target in outputs])

    def reset(self, confirm: bool = True) -> bool:
        """Delete the outputs, so that the next run builds them again.

        Parameters
        ----------
        confirm : bool
            Ask on the terminal first.

        Returns
        -------
        bool
            Always True, also when the answer was no (as in d6tflow).
        """
        return self.invalidate(confirm)

    def invalidate(self, confirm: bool = True) -> bool:
        """Delete the outputs; see `reset`."""
        if confirm:
            answer = input(f"Delete the outputs of {self!r} (y/n)? (confirm=False does not ask) ")
            if answer.strip().lower() not in ("y", "yes"):
                return True
        found = list(flatten(self.output()))
        places = list(older_places(self)) if has_older_name(self) else []
        for place in places:
            found += targets(self, (place.folder, place.names)).values()
        for target in found:
            if hasattr(target, "invalidate"):
                target.invalidate()
            elif target.exists():
                target.remove()
        extra = [job_folder(self)]
        extra += [os.path.join(place.folder, file_name(place.task_id, "job", "files")) for place in places]
        for path in extra:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                shutil.rmtree(path)
        return True

    # ---- saving

    def save(self, data: Any, **kwargs: Any) -> None:
        """Store `data` as the output.

        Parameters
        ----------
        data : object, or dict of output name to object
            The value; with several outputs, one value per name in ``persist``.
        **kwargs
            Options of the writer (``to_parquet``, ``to_csv``, ``pickle.dump`` ...).

        Raises
        ------
        OutputKeyError
            If the names are not exactly those of ``persist``; nothing is written.
        StorageError
            If the disk says no; the outputs are as they were before.

        Effects
        -------
        Each file is written under a temporary name beside its final place and renamed when it is whole. With several
        outputs all are written before the first is renamed; only if several of them have target classes of your own
        is each whole by itself.
        """
        shape = layout(self)
        frame = FRAME.get()
        if not shape.single and (not isinstance(data, Mapping) or set(data) != set(shape.keys)):
            raise self._wrong_keys(data)
        if type(self).output is TaskData.output:
            made = targets(self)
        else:  # the author says where
            made = {"data": self.output()} if shape.single else self.output()
        values = {"data": data} if shape.single else data
        written = _save_together({key: (made[key], values[key]) for key in shape.keys}, kwargs)
        if frame is not None and frame.task is self:
            frame.saved.update(shape.keys)
            frame.written.update(written)

    def _wrong_keys(self, data: Any) -> OutputKeyError:
        keys = list(layout(self).keys)
        if not isinstance(data, Mapping):
            return OutputKeyError(
                "save() needs a dict with one value per output",
                task=self,
                facts={"outputs": keys, "got": type(data).__name__},
                hint=f"Write self.save({{{', '.join(f'{key!r}: ...' for key in keys)}}}).",
            )
        missing = [key for key in keys if key not in data]
        unknown = [key for key in data if key not in keys]
        near = nearest(str(unknown[0]), keys) if unknown else None
        return OutputKeyError(
            "save() got other names than persist declares",
            task=self,
            facts={"persist": keys, "missing": missing or "none", "unknown": unknown or "none"},
            hint=f"Did you mean '{near}'?" if near else "Save every output, once, in one call.",
        )

    def _note_run(self, frame: Any) -> Any:
        return plugins.load("services", "hand_run")(self, frame)

    def _before_run(self, frame: Any) -> None:
        # d6tflow's users write to output().path themselves
        if type(self).output is not TaskData.output:
            paths = [str(target.path) for target in flatten(self.output()) if hasattr(target, "path")]
            ensure_folders({os.path.dirname(path) or "." for path in paths if "://" not in path}, frame.folders)
        elif not layout(self).in_memory:
            ensure_folders({folder(self)}, frame.folders)

    def _after_run(self, frame: Any, value: Any) -> None:
        if value is not None and not frame.saved:
            if inspect.iscoroutine(value) or inspect.isasyncgen(value):
                if inspect.iscoroutine(value):
                    value.close()  # else Python warns that nobody awaited it
                raise DeclarationError(
                    "run() is asynchronous, so calling it has run nothing",
                    task=self,
                    hint="Write def run(self), and asyncio.run(...) for what has to be awaited in it.",
                )
            self.save(value)

    # ---- loading

    def outputLoad(self, keys: Any = None, as_dict: bool = False, cached: bool = False, run: bool = False) -> Any:
        """Return what the task has saved.

        Parameters
        ----------
        keys : str or list of str, optional
            Which outputs; all by default. A single name gives its value bare.
        as_dict : bool
            Several outputs as a dict by name instead of a list in the order of ``persist``.
        cached : bool
            Keep the value in memory until the file changes.
        run : bool
            Build the task first if it is not complete.

        Raises
        ------
        NotBuiltError
            If the task is not complete.
        StorageError
            If a file cannot be read; the message names it and says how to rebuild.
        """
        mixed = self._may_be_mixed()
        if mixed or not self.complete():
            if not run:
                raise NotBuiltError(
                    "The last attempt to build the task did not come to its end, its outputs may not belong together"
                    if mixed
                    else "The task is not complete, there is nothing to load",
                    task=self,
                    facts=self._why_incomplete(),
                    hint="Run it first: d6tpipe.run(task), or task.outputLoad(run=True).",
                )
            plugins.load("services", "run")(self)
        found = self.output()
        if layout(self).single:
            if keys is not None:
                self._check_keys([keys] if isinstance(keys, str) else keys)
            return _load(found, cached, self)
        return _pick(found, keys, as_dict, cached, self)

    def _may_be_mixed(self) -> bool:
        """Return whether some outputs may be of one attempt and some of another."""
        if len(layout(self).keys) < 2 or FRAME.get() is not None:  # in a run all that a body may read is finished
            return False
        return bool(plugins.load("services", "interrupted")(self))

    def _why_incomplete(self) -> dict[str, Any]:
        for target in flatten(self.output()):
            if not target.exists():
                return {"missing": getattr(target, "path", target)}
        waiting = [task for task in flatten(self.requires()) if not task.complete()]
        return {"incomplete requirement": waiting[0]} if waiting else {}

    def _check_keys(self, keys: Any) -> None:
        known = layout(self).keys
        for key in keys:
            if key not in known:
                near = nearest(str(key), known)
                raise OutputKeyError(
                    f"There is no output '{key}'",
                    task=self,
                    facts={"outputs": ", ".join(known)},
                    hint=f"Did you mean '{near}'?" if near else "Use one of its outputs.",
                )

    def inputLoad(
        self,
        keys: Any = None,
        task: Any = None,
        cached: bool = False,
        as_dict: bool = False,
        *,
        flat: bool = False,
        concat: str | None = None,
    ) -> Any:
        """Return the data of what the task requires.

        Parameters
        ----------
        keys : str or list of str, optional
            With one requirement of several outputs: which outputs. With a dict of requirements: which of them.
        task : str or int, optional
            Only this requirement, by its name (dict) or position (list).
        cached : bool
            Keep the values in memory until the files change.
        as_dict : bool
            Several outputs of one requirement as a dict by name instead of a list.
        flat : bool
            All values in one list, whatever shape the requirements have.
        concat : str, optional
            All values, which must be DataFrames, below each other as one; a column of this name says which requirement
            a row is of, by its name or id.

        Returns
        -------
        object, list or dict
            One requirement: its value. A list or dict of requirements: their values, in the same shape.

        Raises
        ------
        OutputKeyError
            If `keys` or `task` names something that is not there; the message has the nearest name.
        StorageError
            If a file cannot be read; the message names it and says how to rebuild.
        """
        if flat or concat is not None:
            pairs = list(self._iterInput(keys, task, cached))
            return [value for _, value in pairs] if concat is None else _below_each_other(self, pairs, concat)
        source = self.input()
        required = self.requires()
        if task is not None:
            source, required = _member(self, source, task), _member(self, required, task)
        if isinstance(required, Mapping):
            names = list(source) if keys is None else [keys] if isinstance(keys, str) else list(keys)
            for name in names:
                _member(self, source, name)
            data = {name: _load_all(source[name], as_dict, cached, required[name]) for name in source if name in names}
            return data[keys] if isinstance(keys, str) else data
        if keys is not None and isinstance(source, (list, tuple)):
            raise OutputKeyError(
                "keys= chooses outputs of one requirement, or requirements that have names",
                task=self,
                facts={"keys": keys, "requirements": f"{len(source)}, without names"},
                hint="Choose one first, inputLoad(task=0, keys=...), or let requires() return a dict.",
            )
        if not isinstance(required, luigi.Task):
            tasks = list(required)
            return [_load_all(member, as_dict, cached, task) for member, task in zip(source, tasks, strict=True)]
        if isinstance(source, Mapping):
            return _pick(source, keys, as_dict, cached, required)
        if keys is not None and isinstance(required, TaskData):
            required._check_keys([keys] if isinstance(keys, str) else keys)
        return _load_all(source, as_dict, cached, required)

    def input(self, which: Any = None, /, **over: Any) -> Any:
        """Return the targets of what ``requires`` returns; with values, bind one that it names by its class.

        Parameters
        ----------
        which : str, int or task class, optional
            Which of several classes.
        **over
            Parameters of the task that is meant; the others are those that both tasks share, as in ``clone``.

        Returns
        -------
        target, or dict of targets by name
            Of the task that was bound, which has been built if it was not complete. The body goes on where it is.

        Raises
        ------
        BuildError
            The task, or something that it needs, failed.

        Notes
        -----
        What a body binds is recorded as a requirement: it counts for what is stale, and is shown by `explain`.
        """
        if which is None and not over:
            return super().input()
        return self._bind([self._meant(which, over)])[0]

    def _iterInput(self, keys: Any = None, task: Any = None, cached: bool = False) -> Iterator[tuple[str, Any]]:
        """Yield name and value of one requirement after the other, loading each when it is its turn.

        Called ``iterInput`` while the body runs. Names inside others are joined by ``/``; requirements without names go
        by their ids, else by their position.
        """
        source, required = self.input(), self.requires()
        if task is not None:
            source, required = _member(self, source, task), _member(self, required, task)
        for name, target, one in _leaves("", source, required):
            value = _load_all(target, False, cached, one)
            if keys is not None and isinstance(target, Mapping):
                value = _pick(target, keys, False, cached, one)
            yield name, value

    def _inputs(self, wishes: Any, which: Any = None) -> list[Any]:
        """Return the targets of several tasks of one class, each given by a dict of its parameters; see `input`."""
        return self._bind([self._meant(which, over) for over in wishes])

    def _meant(self, which: Any, over: Mapping[str, Any]) -> Any:
        method = getattr(type(self).requires, "_d6tpipe_wraps", type(self).requires)
        return self.clone(class_meant(self, which, lambda: raw_requires(method, self)), **over)

    def _bind(self, tasks: list[Any]) -> list[Any]:
        frame = FRAME.get()
        while frame is not None and frame.task is not self:
            frame = frame.outer
        if frame is None:
            raise outside_a_body(self)
        plugins.load("services", "bind")(frame, tasks)
        return [task.output() for task in tasks]

    # ---- metadata

    def saveMeta(self, data: Any) -> None:
        """Store metadata (scores, settings ...) beside the outputs, as a pickle.

        Call it before `save`: once the outputs exist, the task counts as complete.

        Raises
        ------
        DeclarationError
            If `data` cannot be pickled.
        StorageError
            If the disk says no; the metadata are as they were before.
        """
        self.metadata = data
        writer = plugins.load("formats", "pickle")
        files = plugins.load("files", "local")
        written = files.write_stream(self._meta_path(), lambda stream: writer.dump(data, stream))
        frame = FRAME.get()
        if frame is not None and frame.task is self:
            frame.written[METADATA] = written

    def metaSave(self, data: Any) -> None:
        """Store metadata; the older name of `saveMeta`."""
        self.saveMeta(data)

    def metaLoad(self) -> Any:
        """Return the metadata of what the task requires, in the shape of ``requires``."""
        required = self.requires()
        if isinstance(required, Mapping):
            return {name: _load_meta(task) for name, task in required.items()}
        if isinstance(required, (list, tuple)):
            return [_load_meta(task) for task in required]
        return _load_meta(required)

    def outputLoadMeta(self) -> Any:
        """Return the metadata that this task has saved."""
        if not self.complete(cascade=False):
            raise NotBuiltError(
                "The task is not complete, it has no metadata to load",
                task=self,
                facts=self._why_incomplete(),
                hint="Run it first: d6tpipe.run(task).",
            )
        try:
            return _load_meta(self)
        except FileNotFoundError as error:
            raise NotBuiltError(
                "The task has saved no metadata",
                task=self,
                facts={"missing": self._meta_path()},
                hint="Call self.saveMeta(...) in run(), then reset the task and run it again.",
            ) from error

    def outputLoadAllMeta(self) -> dict[str, Any]:
        """Return the metadata of this task and of all complete tasks upstream that saved some, by task family."""
        if not self.complete(cascade=False):
            raise NotBuiltError(
                "The task is not complete, there is no metadata to load",
                task=self,
                facts=self._why_incomplete(),
                hint="Run it first: d6tpipe.run(task).",
            )
        found: dict[str, Any] = {}
        for task in plugins.load("services", "taskflow_upstream")(self, only_complete=True):
            if hasattr(task, "_meta_path"):
                with contextlib.suppress(FileNotFoundError):  # it saved none
                    found[task.task_family] = _load_meta(task)
        return found

    def _meta_path(self) -> str:
        return os.path.join(folder(self), self._meta_name(self.task_id))

    def _meta_name(self, task_id: str) -> str:
        # d6tflow: the name that an output "meta" would have, its last suffix replaced
        name = f"{task_id}-meta" if settings.save_with_param and getattr(self, "save_attrib", True) else "meta"
        name = PurePath(f"{name}.{self.target_ext}").with_suffix(".pickle").name
        return name if len(os.fsencode(name)) <= FILE_NAME_BYTES else file_name(task_id, "meta", "pickle")

    def _meta_there(self) -> str:
        """Return where the metadata are that belong to the outputs: beside them."""
        place = standing(self)
        if place is not None:
            path = os.path.join(place.folder, self._meta_name(place.file_id))
            if place.task_id != self.task_id or os.path.exists(path):
                return path
        return self._meta_path()

    # ---- d6tflow's file sharing; see `d6tpipe.pipes`

    def get_pipename(self) -> Any:
        """Return the name of the pipe that the task belongs to."""
        return getattr(self, "pipename", cache.pipe_default_name)

    def get_pipe(self) -> Any:
        """Return the pipe that the task belongs to."""
        return plugins.load("services", "get_pipe")(self.get_pipename())

    def pull(self, **kwargs: Any) -> Any:
        """Fetch the outputs from the task's pipe."""
        return self.get_pipe().pull(**kwargs)

    def pull_preview(self, **kwargs: Any) -> Any:
        """Tell what `pull` would fetch."""
        return self.get_pipe().pull_preview(**kwargs)

    def push(self, **kwargs: Any) -> Any:
        """Send the outputs to the task's pipe."""
        return self.get_pipe().push(**kwargs)

    def push_preview(self, **kwargs: Any) -> Any:
        """Tell what `push` would send."""
        return self.get_pipe().push_preview(**kwargs)


def _when(target: Any) -> int:
    """Return the rank of an output in `_save_together`: what can still be given up comes first."""
    kind = type(target)
    return 0 if getattr(kind, "save", None) is FormatTarget.save else 2 if issubclass(kind, CacheTarget) else 1


def _save_together(outputs: dict[str, tuple[Any, Any]], options: dict[str, Any]) -> dict[str, Written]:
    """Save values so that no file gets its final name before all are written.

    Returns
    -------
    dict of str to Written
        Without those whose target has a ``save`` of its own: what it did is not known here.
    """
    files = plugins.load("files", "local")
    if len(outputs) == 1:
        ((key, (target, value)),) = outputs.items()
        written = _save_one(target, value, options, files)
        return {} if written is None else {key: written}
    found = {}
    with files.together() as group:
        for key, (target, value) in sorted(outputs.items(), key=lambda item: _when(item[1][0])):
            written = _save_one(target, value, options, group)
            if written is not None:
                found[key] = written
    return found


def _save_one(target: Any, value: Any, options: dict[str, Any], files: Writer) -> Written | None:
    save = getattr(type(target), "save", None)
    if save is FormatTarget.save:
        written: Written = target.store_value(value, options, files)
        return written
    if not hasattr(target, "save"):
        raise DeclarationError(
            "save() needs targets that can save",
            facts={"target": repr(target)},
            hint="Let output() return d6tpipe.targets, or write the file in run() and do not call save().",
        )
    if type(target) is DataTarget:
        raise DeclarationError(
            "save() cannot know how: the class has no format for this output",
            facts={"path": target},
            hint="Derive it from TaskPickle, TaskPqPandas ..., or name a format: persist = {'model': 'pickle'}.",
        )
    target.save(value, **options)
    stamp = cache.stamp(target.path) if isinstance(target, CacheTarget) else None
    return None if stamp is None else Written(-1, *stamp)


def _load(target: Any, cached: bool, task: Any) -> Any:
    if type(target) is DataTarget:
        raise DeclarationError(
            "The output cannot be loaded: the class has no format for it",
            task=task,
            facts={"path": target},
            hint="Read the file yourself, it is at task.output().path.",
        )
    if isinstance(target, FormatTarget) and isinstance(task, TaskData) and target.runs_code:
        plugins.load("services", "verify")(task, target._text)
    try:
        return target.load() if isinstance(target, CacheTarget) or not cached else target.load(cached=True)
    except StorageError as error:  # a target knows its file, not the task to reset
        if error.task is None and isinstance(task, luigi.Task):
            error.task = repr(task)
        raise


def _load_all(source: Any, as_dict: bool, cached: bool, task: Any) -> Any:
    """Load one requirement: a target, targets by name, or requirements (an aggregator's, or nested ones)."""
    if isinstance(task, Mapping):
        return {name: _load_all(target, as_dict, cached, task[name]) for name, target in source.items()}
    if isinstance(task, (list, tuple)):
        return [_load_all(target, as_dict, cached, one) for target, one in zip(source, task, strict=True)]
    if isinstance(task, TaskAggregator):
        return [_load_all(target, as_dict, cached, one) for target, one in task._there(source)]
    if isinstance(source, Mapping):
        found = {name: _load_all(target, as_dict, cached, task) for name, target in source.items()}
        return found if as_dict else list(found.values())
    if isinstance(source, (list, tuple)):
        return [_load_all(member, as_dict, cached, None) for member in source]
    if not hasattr(source, "load"):
        raise DeclarationError(
            "inputLoad() met an output that has no load()",
            facts={"output": repr(source), "path": getattr(source, "path", "unknown")},
            hint="Read it through self.input(), for example with self.input().open().",
        )
    return _load(source, cached, task)


def _pick(source: Mapping[str, Any], keys: Any, as_dict: bool, cached: bool, task: Any) -> Any:
    names = list(source) if keys is None else [keys] if isinstance(keys, str) else list(keys)
    if isinstance(task, TaskData):
        task._check_keys(names)
    found = {name: _load(target, cached, task) for name, target in source.items() if name in names}
    if isinstance(keys, str):
        return found[keys]
    return found if as_dict else list(found.values())


def _leaves(name: str, source: Any, required: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, targets and task of each requirement in a structure."""
    if isinstance(required, TaskAggregator):
        words = {id(one): word for word, one in required._keyed().items()}
        for target, one in required._there(source):
            word = words[id(one)]
            yield from _leaves(f"{name}/{word}" if name else word, target, one)
    elif isinstance(required, luigi.Task):
        ids = required.__dict__.get("_ids")
        yield name or (ids[-1] if ids else required.task_family), source, required
    elif isinstance(required, Mapping):
        for key, one in required.items():
            yield from _leaves(f"{name}/{key}" if name else str(key), source[key], one)
    else:
        for number, (one, target) in enumerate(zip(required, source, strict=True)):
            ids = one.__dict__.get("_ids") if isinstance(one, luigi.Task) else None
            word = ids[-1] if ids else str(number)
            yield from _leaves(f"{name}/{word}" if name else word, target, one)


def _below_each_other(task: Any, pairs: list[tuple[str, Any]], column: str) -> Any:
    import pandas as pd

    wrong = [(name, value) for name, value in pairs if not isinstance(value, pd.DataFrame)]
    if wrong:
        raise OutputKeyError(
            f"inputLoad(concat={column!r}) needs DataFrames",
            task=task,
            facts={"requirement": wrong[0][0], "holds": type(wrong[0][1]).__qualname__},
            hint="Choose those that hold some: inputLoad(task=..., concat=...), or keys= of several outputs.",
        )
    if any(column in value.columns for _, value in pairs):
        raise OutputKeyError(
            f"inputLoad(concat={column!r}) met a DataFrame that has such a column",
            task=task,
            facts={"columns": ", ".join(map(str, pairs[0][1].columns))},
            hint="Choose another name for the column.",
        )
    if not pairs:
        return pd.DataFrame()
    return pd.concat([value.assign(**{column: name}) for name, value in pairs], ignore_index=True)


def _member(task: Any, structure: Any, name: Any) -> Any:
    try:
        return structure[name]
    except (KeyError, IndexError, TypeError, AttributeError):
        if isinstance(structure, Mapping):
            known = [str(key) for key in structure]
            near = nearest(str(name), known)
        else:
            known = [str(n) for n in range(len(structure))] if isinstance(structure, (list, tuple)) else []
            near = None
        raise OutputKeyError(
            f"There is no requirement '{name}'",
            task=task,
            facts={"requirements": ", ".join(known) or "one, without a name"},
            hint=f"Did you mean '{near}'?" if near else "Use one of the names that requires() returns.",
        ) from None


def _load_meta(task: Any) -> Any:
    if not isinstance(task, luigi.Task) or not hasattr(task, "_meta_path"):
        raise DeclarationError(
            "metaLoad() needs a requirement that can hold metadata",
            facts={"requirement": repr(task)},
            hint="Only d6tpipe's own tasks (TaskData) hold metadata.",
        )
    path = task._meta_there()  # type: ignore[attr-defined]
    try:
        with open(path, "rb") as stream:
            return pickle.load(stream)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise StorageError(
            "Metadata cannot be read",
            task=task,
            facts={"file": path, "reader said": f"{type(error).__name__}: {error}"},
            hint="Reset the task and run it again: task.reset(confirm=False).",
        ) from error
