"""What a class says that the results of all its tasks depend on: code, version, ``depends_on``.

`definition` answers for the present: a notebook cell that was run again, a helper that was edited, a file that has
changed since the last question are seen.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from itertools import islice, product
from pathlib import PurePath
from types import FunctionType
from typing import Any

import luigi

from d6tpipe import watched
from d6tpipe.constructor import blueprint
from d6tpipe.declared import MARKS, Options, class_options, items
from d6tpipe.errors import DeclarationError, ParameterError, is_ours, told, warn
from d6tpipe.fingerprint import Fingerprint, fingerprint, is_project
from d6tpipe.fingerprint.source import file_of
from d6tpipe.former_names import FORMER, former_names
from d6tpipe.hooks import HOOKS
from d6tpipe.records import Record
from d6tpipe.task_values import configs_of
from d6tpipe.tasks import TaskAggregator
from d6tpipe.tasks.meta import TaskMeta
from d6tpipe.tasks.unbound import binds
from d6tpipe.values import text

__all__ = ["Definition", "definition", "held_classes", "may_hold", "same_module"]

# Says when, where and after what a task runs: not what comes out. Not here: `input`, `inputLoad`, `save` and their kin,
# which a body calls.
_HOOKS = frozenset({
    "accepts_messages", "batch_param_names", "batchable", "bulk_complete", "clone_parent", "clone_parents",
    "clone_parents_dict", "complete", "deps", "disable_hard_timeout", "disable_window", "disable_window_seconds",
    "disabled", "event_handler", "get_task_family", "get_task_namespace", "initialized", "max_batch_size",
    "no_unpicklable_properties", "on_failure", "on_success", "output", "owner_email", "priority", "process_resources",
    "remove_event_handler", "requires", "resources", "retry_count", "task_family", "task_module", "task_namespace",
    "trigger_event", "use_cmdline_section", "worker_timeout", "_namespace_at_class_time", "_owner_list", "_requires",
    "_unconsumed_params", "_visible_in_registry", FORMER, HOOKS, MARKS,
})  # fmt: skip

# Of our classes: where outputs lie, and whether they are made here. `persist` and `target_class` do count: they say
# what is written and how. The order in `persist` is the order in which tasks downstream load, and a target class may
# be the user's own code; a new output or format is missing under its name anyway, so that counting costs no run.
_PLACES = frozenset({
    "external", "metadata", "path", "persists", "pipename", "save_attrib", "target_dir", "target_ext", "task_group",
})  # fmt: skip

_NO_CODE = "no code"
_MOST = 64  # combinations of former names that are tried
_MAIN = ("__main__", "__mp_main__")
_CALLED = "abc"
"""What Python takes for the module of a class that was made by a call, ``type(Base)(name, bases, attributes)``."""


def definition(cls: type, held: tuple[type, ...] = ()) -> Definition:
    """Return what a class says that its results depend on, as things are now.

    Parameters
    ----------
    cls : type
        A subclass of ``luigi.Task``, one of ours or plain.
    held : tuple of type
        Classes of configs whose code counts, too; see `held_classes`.

    Returns
    -------
    Definition
        The same object as last time if nothing has changed.

    Raises
    ------
    DeclarationError
        A class option has a value that does not fit, or ``depends_on`` names what cannot be found. Of a plain luigi
        class such an attribute is taken for one of its own.

    Effects
    -------
    Reads what ``depends_on`` names. If the code cannot be fingerprinted, warns, once per class.

    Notes
    -----
    First sight of a class with 18 members: about 0.2 ms; again: some 10 us.
    """
    key = (cls, held) if held else cls
    known = _known.get(key)
    if known is None or known.code is None or _fingerprint(cls, known.skip) is not known.code:
        known = _known[key] = _Known(cls, held)
    return known.definition()


def may_hold(cls: type) -> bool:
    """Return whether tasks of a class have parameters that hold configs."""
    return isinstance(cls, TaskMeta) and bool(blueprint(cls).configs_in)


def held_classes(task: Any) -> tuple[type, ...]:
    """Return the classes of what a task holds, configs and what runs before its body, that its class does not name."""
    found = {type(one) for one in configs_of(task, blueprint(type(task)).configs_in)}
    more = found.difference(_config_classes(type(task)))
    return tuple(sorted(more, key=lambda one: (one.__module__, one.__qualname__)))


class Definition:
    """What the results of all tasks of a class depend on, besides parameters and data.

    Attributes
    ----------
    cls : type
    family : str
    module : str
        Dotted name. Of a script ``"__main__/<name of the file without .py>"``, of ``python -m`` the name of the module,
        in a notebook ``"__main__"``; see `same_module`.
    code : bytes
        16 bytes over everything that is compared: the code (or nothing, with ``ignore_code``), `version`, `extras` and
        `defaults`.
    code_fast : str
        Fingerprint of the code for one minor version of Python. Empty if it could not be found out: then the class is
        treated as one with ``ignore_code``.
    version : str
        Empty if the class declares none.
    defaults : dict of str to str
        Parameters with ``ignore_default`` that count for the identity, and their defaults as text.
    ignore_code : bool
    freeze : bool
    expires : datetime.timedelta or None
    stale : {"ignore", "warn", "rerun"} or None
    transient : False, True or "remove"
    marks : frozenset of str
    dynamic : bool
        ``run`` is a generator function, so it may ask for more tasks; False for aggregators, which only list them.
    python : str
        Version of Python.
    """

    def __init__(self, known: _Known, facts: list[watched.Fact], defaults: dict[str, str]) -> None:
        options = known.options
        self.cls, self.family, self.module, self.dynamic = known.cls, known.family, known.module, known.dynamic
        self.version, self.stale, self.expires = options.version, options.stale, options.expires
        self.freeze, self.marks = options.freeze, options.marks
        self.transient = options.transient if known.ours else False
        self.ignore_code = options.ignore_code or known.code is None
        self.defaults = defaults
        self.python = sys.version.partition(" ")[0]
        self._fingerprint, self._facts = known.code, facts
        self.code_fast = "" if known.code is None else known.code.fast
        compared = [
            _NO_CODE if self.ignore_code else self.code_fast,
            self.version,
            sorted((fact.key, fact.quick) for fact in facts),
            sorted(defaults.items()),
        ]
        self.code = blake2b(json.dumps(compared).encode(), digest_size=16).digest()

    def __repr__(self) -> str:
        return f"<Definition of {self.family}, {self.code.hex()[:12]}>"

    @cached_property
    def code_stable(self) -> str:
        """Fingerprint of the code that holds for all versions of Python; empty where a source is missing."""
        return (self._fingerprint.stable if self._fingerprint else None) or ""

    @property
    def members(self) -> Mapping[str, str]:
        """Name of each function, class or value that the code consists of to a short hash of it."""
        return self._fingerprint.members if self._fingerprint else {}

    def called(self, record: Record) -> list[Fingerprint]:
        """Return what the fingerprint of the same code was when classes had former names, as a record may have it.

        Those that the code names are told by each of these in turn, the class itself by the name in the record. Empty
        if nothing has been called otherwise.
        """
        if self._fingerprint is None:
            return []
        choices = {}
        for cls in self._fingerprint.stopped:
            names = list(dict.fromkeys(former.name for former in former_names(cls)))
            if names:
                choices[cls.__qualname__] = [cls.__qualname__, *names]
        own = former_names(self.cls)
        if not choices and not own:
            return []
        root, home = (next(iter(record.members), ""), record.module.rpartition("/")[2]) if own else ("", None)
        found = []
        for combination in islice(product(*choices.values()), _MOST):
            names_then = {now: then for now, then in zip(choices, combination, strict=True) if now != then}
            found.append(self._fingerprint.called(names_then, root, home))
        return found

    @property
    def names(self) -> list[str]:
        """The name of each member, in the same order as those of `called`."""
        return self._fingerprint.names if self._fingerprint else []

    @property
    def asked(self) -> list[type]:
        """The task classes that the code names: what a body may ask for while it runs."""
        return self._fingerprint.stopped if self._fingerprint else []

    def sources(self) -> dict[str, str]:
        """Return the source of each member, in one way of formatting."""
        return self._fingerprint.member_sources() if self._fingerprint else {}

    @cached_property
    def extras(self) -> dict[str, Any]:
        """What ``depends_on`` stands for, as JSON can hold it: ``"file:<path>"``, ``"env:<name>"`` ... to a value."""
        return {fact.key: fact.value for fact in self._facts}

    @cached_property
    def packages(self) -> dict[str, str]:
        """The installed distributions that the code names, with their versions; recorded, not compared."""
        return watched.distributions(self._fingerprint) if self._fingerprint else {}


class _Known:
    """What was found out about a class; holds as long as its code is the same object."""

    def __init__(self, cls: type, held: tuple[type, ...] = ()) -> None:
        task_class: Any = cls
        self.held = held
        self.cls, self.family = cls, task_class.get_task_family()
        self.module = _module_of(cls)
        self.options = class_options(cls)
        self.ours = isinstance(cls, TaskMeta)
        if not self.ours and self.options.depends_on:
            try:
                self.facts()
            except DeclarationError:  # a word of theirs, not ours
                self.options = _without_depends_on(self.options)
        self.skip = _skipping(self.ours, self.options.names)
        self.code = _fingerprint(cls, self.skip)
        self.dynamic = _is_dynamic(cls)
        self._last: Definition | None = None

    def facts(self) -> list[watched.Fact]:
        # What a config does is code of the task that holds it, though no name in the body leads there.
        wanted: list[Any] = [*_config_classes(self.cls), *self.held] if self.ours else []
        owner = self.options.owner
        if "depends_on" in self.options.names:
            named = vars(owner)["depends_on"]  # not as it was read: it may be a list that grows
            wanted += () if named is None else items(named)
        return watched.facts(self.cls, wanted, _folder_of(owner), _look) if wanted else []

    def definition(self) -> Definition:
        facts, defaults = self.facts(), _defaults(self.cls) if self.ours else {}
        last = self._last
        if last is None or last.defaults != defaults or last._facts != facts:
            last = self._last = Definition(self, facts, defaults)
        return last


_known: dict[Any, _Known] = {}
_warned: set[tuple[str, str]] = set()


def _fingerprint(cls: type, skip: Callable[[str, Any], bool]) -> Fingerprint | None:
    try:
        called = any([kin.__module__ == _CALLED and kin is not abc.ABC for kin in cls.__mro__])
        project = _is_project_or_called if called else is_project
        return fingerprint(cls, stop=_is_task, skip=skip, project=project)
    except Exception as error:  # noqa: BLE001  (reported: a class that cannot be read must not stop a run)
        name = str(cls.__module__), cls.__qualname__
        if name not in _warned:
            _warned.add(name)
            warn(
                f"The code of {cls.__qualname__} cannot be looked through, so changes of it will not be noticed "
                f"({told(error)}). Please report this; version = '1' in the class lets you tell changes yourself."
            )
        return None


def _is_project_or_called(module: str, file: str | None) -> bool:
    return module == _CALLED or is_project(module, file)


def _is_task(cls: type) -> bool:
    # luigi's Config classes are tasks by descent only: nothing of what they hold arrives as data.
    return luigi.Task in cls.__mro__ and luigi.Config not in cls.__mro__


def _look(item: Any) -> Fingerprint:
    """Return the fingerprint of what a class names in ``depends_on``."""
    return fingerprint(item, stop=_is_task, skip=_skipping(isinstance(item, TaskMeta), frozenset()))


@functools.lru_cache(maxsize=1000)  # the same function for the same question: fingerprint() tells by it
def _skipping(ours: bool, options: frozenset[str]) -> Callable[[str, Any], bool]:
    left_out = _HOOKS | options | (_PLACES if ours else frozenset())

    def skip(name: str, value: Any) -> bool:
        return name in left_out or isinstance(value, luigi.Parameter)

    return skip


def _without_depends_on(options: Options) -> Options:
    return dataclasses.replace(options, depends_on=(), names=options.names - {"depends_on"})


def _config_classes(cls: type) -> dict[type, None]:
    """Return the classes of the configs that a class declares, and of those that these declare."""
    found: dict[type, None] = {}
    pending: list[Any] = [cls]
    while pending:
        plan = blueprint(pending.pop())
        for name in plan.configs_in:
            kind = getattr(plan.by_name[name], "config_class", None)
            if kind is not None and kind not in found:
                found[kind] = None
                pending.append(kind)
    return found


def _defaults(cls: type) -> dict[str, str]:
    plan = blueprint(cls)
    found = {}
    if plan.ignores_defaults:
        for name in plan.identity_names:
            parameter = plan.by_name[name]
            if getattr(parameter, "ignore_default", False):
                try:
                    found[name] = text(parameter, plan.default(name)[0])
                except ParameterError:  # it has no default
                    continue
    return found


def _is_dynamic(cls: type) -> bool:
    if issubclass(cls, TaskAggregator):
        return False
    run = getattr(cls, "run", None)
    return any([inspect.isgeneratorfunction(function) for function in _wrapped(run)]) or (
        isinstance(cls, TaskMeta) and binds(cls)
    )


def _wrapped(function: Any) -> Iterator[Any]:
    """Yield a function, what it wraps, and so on."""
    seen = 0
    while function is not None and seen < 100:
        yield function
        seen += 1
        function = getattr(function, "__wrapped__", None)


# ---- where a class comes from


def _space_of(cls: type) -> Mapping[str, Any]:
    """Return the globals of the module that a class was written in.

    For ``__main__`` it is not enough to ask the module: of a class that was pickled by value it is another program.
    """
    name = cls.__module__
    for value in vars(cls).values():
        for function in _wrapped(value if isinstance(value, FunctionType) else None):
            space = getattr(function, "__globals__", {})
            called = name == _CALLED and isinstance(function, FunctionType) and not is_ours(file_of(function))
            if space.get("__name__") == name or called:
                return space
    return vars(sys.modules[name]) if name in sys.modules and name != _CALLED else {}


def _module_of(cls: type) -> str:
    name = str(cls.__module__)
    if name not in (*_MAIN, _CALLED):
        return name
    space = _space_of(cls)
    if name == _CALLED and space.get("__name__") not in _MAIN:
        return str(space.get("__name__", name))
    spec = getattr(space.get("__spec__"), "name", None)
    if spec and spec not in _MAIN:
        return str(spec)
    file = space.get("__file__")
    return f"__main__/{PurePath(file).stem}" if file else "__main__"


def _folder_of(cls: type) -> str | None:
    """Return the folder of the file that defines a class; None for a notebook."""
    file = _space_of(cls).get("__file__")
    return os.path.dirname(os.path.abspath(file)) if file else None


def same_module(a: str, b: str) -> bool:
    """Return whether two modules, as `Definition.module` names them, can be the same.

    A notebook can be anything; a script is the same as the module of that name, in whatever package. So is what was
    recorded without a module.
    """
    if a == b or not a or not b or "__main__" in (a, b):
        return True
    script, module = (a, b) if a.startswith("__main__/") else (b, a)
    if not script.startswith("__main__/") or module.startswith("__main__/"):
        return False
    return module.rpartition(".")[2] == script.partition("/")[2]
