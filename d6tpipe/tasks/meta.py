"""The metaclass of our tasks: fast construction, and bodies that know where they belong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from inspect import isgeneratorfunction, unwrap
from types import FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

import luigi

from d6tpipe import labels, plugins
from d6tpipe.binding import BINDING, FRAME, Frame
from d6tpipe.constructor import BLUEPRINTS, blueprint, drop_blueprint
from d6tpipe.errors import ParameterError
from d6tpipe.parameter_names import check_name, own_parameters
from d6tpipe.task_values import live_values
from d6tpipe.tasks.unbound import has_classes, in_place_of, without_classes
from d6tpipe.typed import Declaration, declared_parameters

if TYPE_CHECKING:
    from luigi.task_register import Register
else:
    Register = type(luigi.Task)

__all__ = ["TaskMeta", "raw_requires"]

_Task = TypeVar("_Task")


class TaskMeta(Register):
    """Metaclass of `tasks.TaskData` and `tasks.TaskAggregator`."""

    def __new__(metacls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> Any:
        if "persists" in namespace and "persist" not in namespace:  # d6tflow's alias
            namespace["persist"] = namespace["persists"]
        for method, wrap in _WRAPPERS.items():
            if _is_method(namespace.get(method)):
                namespace[method] = wrap(namespace[method])
        declared_parameters(namespace, bases, name)
        own_parameters(namespace)
        cls = super().__new__(metacls, name, bases, namespace, **kwargs)
        for attribute, value in namespace.items():
            check_name(cls, attribute, value)
        for method, wrap in _WRAPPERS.items():  # of a mixin that is no task of ours
            found = getattr(cls, method, None)
            if _is_method(found) and found is not getattr(luigi.Task, method):
                wrapped = wrap(found)
                if wrapped is not found:
                    type.__setattr__(cls, method, wrapped)
        return cls

    def __call__(cls: type[_Task], /, *args: Any, **kwargs: Any) -> _Task:
        """Return the task with these values; the same object as long as one like it is alive."""
        plan = BLUEPRINTS.get(cls) or blueprint(cls)
        try:
            made = plan.make(*args, **kwargs)
            return labels.tagged(made, kwargs) if labels.tagging else made
        except TypeError as error:
            # Only the signature itself fails at this depth; an error from inside a constructor has more frames.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            repaired = plan.reject(args, kwargs, cls)
            if repaired is NotImplemented:
                raise
            return repaired

    def __setattr__(cls, name: str, value: Any) -> None:
        """Set a class attribute; a parameter set later learns its name, a method is wrapped as in the class body."""
        if value.__class__ is Declaration:
            value = value.parameter(cls, name)
        if isinstance(value, luigi.Parameter):
            check_name(cls, name, value)
            value = own_parameters({name: value})[name]
            value.__set_name__(cls, name)
        elif name in _WRAPPERS and _is_method(value):
            value = _WRAPPERS[name](value)
        elif name == "persists":
            super().__setattr__("persist", value)
        super().__setattr__(name, value)
        drop_blueprint(cls)

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        drop_blueprint(cls)


# ---- wrapped methods


def _is_method(value: Any) -> bool:
    """Return whether a class attribute is a method: a function, or what a decorator or compiler made of one."""
    if isinstance(value, FunctionType):
        return True
    return callable(value) and hasattr(type(value), "__get__") and not isinstance(value, (staticmethod, classmethod))


def _wrap_requires(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `method` with the task's binding in force, answering from the graph while the body runs."""
    if getattr(method, "_d6tpipe_wraps", None) is not None:
        return method

    @functools.wraps(method)
    def requires(self: Any) -> Any:
        return _required(method, self)

    requires._d6tpipe_wraps = method  # type: ignore[attr-defined]
    return requires


_USUAL = frozenset({list, tuple, dict})

# The wrappers are shipped with the class by cloudpickle, the context variables cannot be: all that speaks of those
# stands in functions of this module, which go by reference.


def _required(method: Callable[[Any], Any], task: Any) -> Any:
    frame = FRAME.get()
    if frame is not None and frame.task is task and frame.requires is not None:
        return frame.requires
    wanted = raw_requires(method, task)
    return without_classes(task, wanted) if has_classes(wanted) else wanted


def raw_requires(method: Callable[[Any], Any], task: Any) -> Any:
    """Return what ``requires`` of a task returns, with classes that it does not make a task of."""
    token = None
    if BINDING.get() is not task._binding:
        token = BINDING.set(task._binding)
    try:
        return _listed(method(task))
    except ParameterError as error:
        return in_place_of(task, error)
    finally:
        if token is not None:
            BINDING.reset(token)


def _listed(wanted: Any) -> Any:
    """Return a list for a generator, so that the tasks are made here and now, bound like the one that asks."""
    kind = wanted.__class__
    if kind.__class__ is TaskMeta:
        return wanted
    if kind in _USUAL:
        members = wanted.values() if kind is dict else wanted
        return _plain(wanted) if any([hasattr(member, "task_at") for member in members]) else wanted
    if hasattr(kind, "task_at"):
        return dict(wanted.items())
    return list(wanted) if hasattr(kind, "__next__") else wanted


def _plain(wanted: Any) -> Any:
    """Return a structure with dicts in the place of sweeps: luigi knows no other mapping."""
    if hasattr(wanted, "task_at"):
        return dict(wanted.items())
    if isinstance(wanted, dict):
        return {name: _plain(member) for name, member in wanted.items()}
    return [_plain(member) for member in wanted] if isinstance(wanted, (list, tuple)) else wanted


def _wrap_run(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return `method` so that it runs bound, finds its folder, and what it returns is saved."""
    if getattr(method, "_d6tpipe_wraps", None) is not None:
        return method

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _run(method, self, args, kwargs)

    run._d6tpipe_wraps = method  # type: ignore[attr-defined]
    return run


def _run(method: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    frame = FRAME.get()
    if frame is None or frame.task is not task:
        frame = Frame(task)
    elif frame.entered:  # super().run()
        return method(task, *args, **kwargs)
    frame.entered = True
    # Nobody's run has started it, so nobody else writes down what comes of it.
    note = None if frame.in_run else task._note_run(frame)
    tokens = FRAME.set(frame), BINDING.set(task._binding)
    try:
        if note is not None:
            note.enter()
        task._before_run(frame)
        plan = blueprint(type(task))
        plain = not plan.configs_in and not plan.shares_folders and "_init" not in task.__dict__
        if plain or isgeneratorfunction(unwrap(method)):  # of a generator `_drive` does the rest
            value = method(task, *args, **kwargs)
        else:
            with _in_folders(task), _prepared(task):
                value = method(task, *args, **kwargs)
        if value.__class__ is not GeneratorType:
            task._after_run(frame, value)
            if note is not None:
                note.finished()
    except Exception as error:
        if note is not None:
            note.failed(error)
        raise
    finally:
        BINDING.reset(tokens[1])
        FRAME.reset(tokens[0])
        if note is not None:
            note.leave()
    # Of a generator nothing has run yet, and perhaps nobody will step it.
    return _drive(task, value, frame, note) if value.__class__ is GeneratorType else value


def _prepared(task: Any) -> Any:
    """Return a ``with`` block for a body: it has copies of its configs, and what was to run before it has run."""
    names = blueprint(type(task)).configs_in
    if "_init" in task.__dict__:
        return _after_inits(task, (*names, "_init"))
    return live_values(task, names) if names else nullcontext()


def _in_folders(task: Any) -> Any:
    """Return a ``with`` block that keeps others out of the folders that a task shares."""
    return plugins.load("services", "used_alone")(task) if blueprint(type(task)).shares_folders else nullcontext()


@contextmanager
def _after_inits(task: Any, names: tuple[str, ...]) -> Iterator[None]:
    with live_values(task, names):
        for one in task.__dict__["_init"]:
            try:
                one.run()
            except Exception as error:
                if hasattr(error, "add_note"):  # Python 3.11
                    error.add_note(f"(in run() of {one!r}, which init= has put before the body)")
                raise
        yield


def _drive(task: Any, body: Generator[Any, Any, Any], frame: Frame, note: Any) -> Generator[Any, Any, Any]:
    """Step a body that asks for requirements while running, each step bound as `_wrap_run` does."""
    step: Callable[[Any], Any] = body.send
    argument: Any = None
    values = ExitStack()
    try:
        with _in_folders(task):
            values.enter_context(_prepared(task))
        if note is not None:
            note.enter()
        while True:
            tokens = FRAME.set(frame), BINDING.set(task._binding)
            try:
                with _in_folders(task):  # not while it waits for what it asks for: that may need them
                    wanted = _listed(step(argument))
                if note is not None:
                    frame.asked.append(wanted)
            except StopIteration as stop:
                task._after_run(frame, stop.value)
                if note is not None:
                    note.finished()
                return stop.value
            except Exception as error:
                if note is not None:
                    note.failed(error)
                raise
            finally:
                BINDING.reset(tokens[1])
                FRAME.reset(tokens[0])
            try:
                step, argument = body.send, (yield wanted)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  (handed on to the body, which may answer or raise it again)
                step, argument = body.throw, error
    finally:
        body.close()
        values.close()
        if note is not None:
            note.leave()


def ensure_folders(folders: set[str], known: set[str] | None) -> None:
    """Make the folders that a body may write into; `known` ones were seen in this run already.

    The first time that a run (or, by hand, this process) comes to a folder, what killed processes left is removed.
    """
    files = plugins.load("files", "local")
    for folder in folders:
        if known is None:
            files.ensure_folder(folder)
            if folder not in _swept_by_hand:
                files.sweep(folder)
                _swept_by_hand.add(folder)
        elif folder not in known:
            files.ensure_folder(folder)
            files.sweep(folder)
            known.add(folder)


_swept_by_hand: set[str] = set()

_WRAPPERS: dict[str, Callable[[Any], Any]] = {"run": _wrap_run, "requires": _wrap_requires}
