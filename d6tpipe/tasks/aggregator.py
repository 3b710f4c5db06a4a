"""TaskAggregator: a task that stands for other tasks."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import luigi
from luigi.task import flatten

from d6tpipe import plugins
from d6tpipe.errors import DeclarationError, GraphError, is_ours
from d6tpipe.tasks.base import Task
from d6tpipe.tasks.external import is_external

__all__ = ["TaskAggregator"]


class TaskAggregator(Task):
    """A task that runs several tasks; write a ``run`` that does nothing but ``yield`` them.

    Yield tasks, lists or dicts of tasks. They are found when the graph is built, without anything being run, so
    they show in previews and do not wait for each other. The aggregator is complete when all of them are.
    ``requires`` (as ``@requires(A, B)`` sets it) only lends parameters. With ``tolerance = 2``, or ``0.1`` for a tenth
    of them, so many may fail, and what needs the aggregator is built from the others.

    Examples
    --------
    >>> import d6tpipe
    >>> class Train(d6tpipe.tasks.TaskCache):
    ...     model = d6tpipe.Parameter()
    ...     def run(self):
    ...         self.save(f"a {self.model} model")
    >>> class TrainAll(d6tpipe.tasks.TaskAggregator):
    ...     def run(self):
    ...         yield Train(model="ols")
    ...         yield Train(model="gbm")
    >>> result = d6tpipe.run(TrainAll(), execution_summary=False)
    >>> TrainAll().outputLoad()
    ['a ols model', 'a gbm model']
    """

    def _children(self) -> list[Any]:
        """Return the tasks that ``run`` yields, in order; structures are flattened.

        Raises
        ------
        GraphError
            If ``run`` raises or yields something that is not a task; names the line.
        """
        return [task for _, task in self._yielded()]

    def _keyed(self) -> dict[str, Any]:
        """Return the tasks by id, or the key of a dict that it yields, else by their position."""
        found: dict[str, Any] = {}
        for place, (name, task) in enumerate(self._yielded()):
            ids = task.__dict__.get("_ids")
            word = name or (ids[-1] if ids else str(place))
            found[word if word not in found else f"{word}/{place}"] = task
        return found

    def _allowed(self, count: int) -> int:
        """Return how many of `count` tasks may fail, as the class option ``tolerance`` says."""
        return plugins.load("services", "tolerance_of")(self, count)

    def _there(self, outputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return the outputs of those tasks that may be loaded, each with its task: all, or some may be missing."""
        pairs = list(zip(outputs, self._children(), strict=True))
        if not self._allowed(len(pairs)):
            return pairs
        return [(output, task) for output, task in pairs if _is_there(output, task)]

    def _finished(self, children: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the tasks without those that have failed, where that is tolerated."""
        if not self._allowed(len(children)) or not self.complete():
            return children
        return {name: task for name, task in children.items() if task.complete()}

    def _yielded(self) -> list[tuple[str, Any]]:
        body = self.run()
        if body is None:
            return []
        if not inspect.isgenerator(body):
            raise GraphError(
                "An aggregator's run() must yield tasks",
                task=self,
                facts={"returned": repr(body)},
                hint="Write: yield Task(...), once per task.",
            )
        found: list[tuple[str, Any]] = []
        try:
            for item in body:
                found += _tasks_in(self, item)
        except GraphError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if not is_ours(frame.filename)]
            last = own[-1] if own else frames[-1]
            raise GraphError(
                "An aggregator's run() raised an error while its tasks were collected",
                task=self,
                facts={
                    "line": f"{last.filename}:{last.lineno}: {last.line}",
                    "error": f"{type(error).__name__}: {error}",
                },
                hint="run() of an aggregator is called before anything is built: let it only yield tasks, "
                "and move other work into a task.",
            ) from error
        return found

    def complete(self, cascade: bool = True) -> bool:
        """Return whether all tasks it stands for are complete."""
        return bool(plugins.load("services", "requirements_complete")(self))

    def output(self) -> list[Any]:
        """Return the outputs of the tasks it stands for, in order."""
        return [task.output() for task in self._children()]

    def outputPath(self) -> list[Any]:
        """Return the paths of the outputs of the tasks it stands for, in order; nothing is built."""
        return [_able(task, "outputPath", self).outputPath() for task in self._children()]

    def outputLoadMeta(self) -> list[Any]:
        """Return the metadata of the tasks it stands for, in order; see `TaskData.outputLoadMeta`."""
        children = {name: _able(task, "outputLoadMeta", self) for name, task in self._keyed().items()}
        return [task.outputLoadMeta() for task in self._finished(children).values()]

    def outputLoad(self, keys: Any = None, as_dict: bool = False, cached: bool = False, run: bool = False) -> Any:
        """Return what the tasks it stands for have saved, in order; see `TaskData.outputLoad`.

        With `as_dict`, a dict: by id for tasks of a sweep, by key for tasks of a dict, else by position.

        Raises
        ------
        NotBuiltError
            If one of them is not complete, and not one of those that may fail and have.
        DeclarationError
            If one of them is a plain luigi task, which cannot load what it wrote.
        """
        children = {name: _able(task, "outputLoad", self) for name, task in self._keyed().items()}
        if run and not self.complete():
            plugins.load("services", "run")(self)
        found = {name: task.outputLoad(keys, as_dict, cached) for name, task in self._finished(children).items()}
        return found if as_dict else list(found.values())

    def reset(self, confirm: bool = True) -> Any:
        """Delete the outputs of the tasks it stands for; see `invalidate`."""
        return self.invalidate(confirm=confirm)

    def invalidate(self, confirm: bool = True) -> None:
        """Delete the outputs of the tasks it stands for.

        External tasks and plain luigi tasks keep theirs: the first could not be made again here, the second have
        no way to say what belongs to them.

        Parameters
        ----------
        confirm : bool
            Ask on the terminal first, once for each task.
        """
        for task in self._children():
            if hasattr(task, "invalidate") and not is_external(task):
                task.invalidate(confirm)


def _is_there(output: Any, task: Any) -> bool:
    """Return whether what a task stands for can be loaded."""
    if isinstance(task, TaskAggregator):
        children = task._children()
        there = sum([_is_there(target, one) for target, one in zip(output, children, strict=True)])
        return len(children) - there <= task._allowed(len(children))
    return all([target.exists() for target in flatten(output)])


def _able(task: Any, method: str, aggregator: Any) -> Any:
    """Return `task` if it has a method of that name."""
    if not hasattr(task, method):
        raise DeclarationError(
            f"{method}() met a task that does not have it",
            task=task,
            facts={"aggregator": repr(aggregator)},
            hint="It is a plain luigi task: go through its output(), for example output().open() or output().path.",
        )
    return task


def _tasks_in(aggregator: Any, item: Any) -> list[tuple[str, Any]]:
    """Return the tasks in what an aggregator yielded, each with its key in a dict; inner keys are joined by ``/``."""
    pending, found = [("", item)], []
    while pending:
        name, item = pending.pop()
        if isinstance(item, luigi.Task):
            found.append((name, item))
        elif isinstance(item, luigi.DynamicRequirements):
            pending.append((name, item.requirements))
        elif isinstance(item, Mapping):
            inner = [(f"{name}/{key}" if name else str(key), value) for key, value in item.items()]
            pending.extend(reversed(inner))
        elif isinstance(item, Iterable) and not isinstance(item, (str, bytes, type)):
            pending.extend(reversed([(name and f"{name}/{place}", value) for place, value in enumerate(item)]))
        else:
            hint = "Yield an instance: add the parentheses." if isinstance(item, type) else "Yield tasks."
            raise GraphError(
                "An aggregator yielded something that is not a task",
                task=aggregator,
                facts={"yielded": repr(item)},
                hint=hint,
            )
    return found
