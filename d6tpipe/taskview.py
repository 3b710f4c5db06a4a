"""Tasks as the engine sees them: keys, needs, and whether outputs are there."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

import luigi
from luigi.task import BulkCompleteNotImplementedError, flatten

from d6tpipe import cache, plugins, settings
from d6tpipe.binding import bound
from d6tpipe.constructor import blueprint
from d6tpipe.declared import class_option
from d6tpipe.engine.graph import Graph
from d6tpipe.engine.transients import is_open
from d6tpipe.errors import BuildError, DeclarationError, GraphError, PipeError, warn
from d6tpipe.examiner import OBSERVED, Examiner, Known, digest_together, filed_as, joins, row_of, stats_of, store_of
from d6tpipe.former_names import any_known, former_names
from d6tpipe.hooks import may_have_hooks, submission_of
from d6tpipe.interfaces import Evidence, Finding
from d6tpipe.labels import marks_of
from d6tpipe.policy import Policy
from d6tpipe.stores import Store
from d6tpipe.targets import CacheTarget, DataTarget
from d6tpipe.task_values import tasks_of_values
from d6tpipe.tasks import TaskAggregator, TaskData
from d6tpipe.tasks.base import Task
from d6tpipe.tasks.external import declared_external, is_external, plain_option
from d6tpipe.tasks.meta import TaskMeta
from d6tpipe.tasks.older_places import has_former_name, has_older_name, standing
from d6tpipe.tasks.outputs import layout, locate

__all__ = ["TaskView", "requirements_complete"]

_FILES, _OUTPUTS, _ASK, _NOTHING = range(4)
_ONE_BY_ONE = 4
"""Up to so many tasks are asked for by themselves: a body that asks for one more must not cost a look at its family."""
_KEEP_ROWS = 20_000  # up to so many nodes the rows that were read for the digests are kept for the seals
_LIST_FROM = 8  # so many wanted names in one folder make one listing cheaper than a look at each

_NO_BULK = vars(luigi.Task)["bulk_complete"].__func__

_ASKING: ContextVar[TaskView | None] = ContextVar("d6tpipe_asking", default=None)


class _Kind:
    """What the view knows of one class."""

    __slots__ = (
        "aggregator", "demands", "external", "family", "hooked", "known", "leaf", "luigi", "may_vary", "mode",
        "objects_in", "own_rule", "plain_needs", "skipped", "tracked", "transient", "wrapper",
    )  # fmt: skip

    def __init__(self, cls: type, known: Known) -> None:
        self.known = known
        self.tracked = known.mode != "ignore"
        self.family: str = cls.get_task_family()  # type: ignore[attr-defined]
        self.aggregator = issubclass(cls, TaskAggregator)
        self.skipped = "skip" in class_option(cls, "marks", ())
        data = issubclass(cls, TaskData)
        self.luigi = not data and not self.aggregator
        self.wrapper = cls.complete is luigi.WrapperTask.complete  # type: ignore[attr-defined]
        self.external = declared_external(cls)
        self.transient = known.definition.transient
        if self.transient:
            self.transient = self._checked_transience(cls, data)
        self.may_vary = isinstance(getattr(cls, "external", None), (luigi.Parameter, property))
        self.plain_needs = (
            cls.deps in (luigi.Task.deps, Task.deps) and cls._requires is luigi.Task._requires  # type: ignore[attr-defined]
        )
        # a class that never says what it requires need not be asked
        self.hooked = not self.luigi and may_have_hooks(cls)
        self.objects_in = () if self.luigi else blueprint(cls).objects_in
        self.leaf = (
            data and self.plain_needs and not self.objects_in
            and cls.requires is luigi.Task.requires  # type: ignore[attr-defined]
        )  # fmt: skip
        self.demands = (
            cls.process_resources is not luigi.Task.process_resources  # type: ignore[attr-defined]
            or cls.resources is not luigi.Task.resources  # type: ignore[attr-defined]
        )
        self.own_rule = cls.complete not in (luigi.Task.complete, TaskData.complete)  # type: ignore[attr-defined]
        if self.wrapper or (self.aggregator and cls.complete is TaskAggregator.complete):  # type: ignore[attr-defined]
            self.mode = _NOTHING
        elif not data or cls.complete is not TaskData.complete:  # type: ignore[attr-defined]
            self.mode = _ASK
        elif cls.output is not TaskData.output or not _ordinary_targets(cls):  # type: ignore[attr-defined]
            self.mode = _OUTPUTS
        else:
            self.mode = _FILES

    def _checked_transience(self, cls: type, data: bool) -> bool | str:
        """Return what a class says of its outputs, which need not be there."""
        if not data and not self.aggregator:  # of a plain luigi class it is a word of its own
            return False
        if self.external or self.aggregator:
            raise DeclarationError(
                "A transient task is one whose outputs can be built again when they are needed",
                task=cls,
                facts={
                    "transient": repr(self.transient),
                    "but": "it only stands for other tasks" if self.aggregator else "it is external, made elsewhere",
                },
                hint="Take transient out of the class, or write transient = False if a base class says it.",
            )
        return self.transient

    def is_external(self, task: Any) -> bool:
        """Return whether the outputs of `task`, one of this class, are made elsewhere."""
        if self.external or self.may_vary or "external" in task.__dict__:
            return is_external(task)
        return task.__dict__.get("run", task) is None


def _ordinary_targets(cls: type) -> bool:
    """Return whether "the file exists" is all there is to the targets of `cls`."""
    target = plain_option(cls, "target_class")
    exists = getattr(target, "exists", None)
    persist = plain_option(cls, "persist")
    if isinstance(persist, Mapping) and not all(isinstance(kind, str) for kind in persist.values()):
        return False
    return exists in (CacheTarget.exists, DataTarget.exists)


class _Group:
    """Nodes of one class whose outputs lie in one folder, or are told by the tasks themselves."""

    __slots__ = ("folder", "kind", "known", "names", "nodes", "rows", "store", "tracked")

    def __init__(self, kind: _Kind, store: Store | None, folder: str | None = None, known: Known | None = None) -> None:
        self.kind, self.store, self.folder = kind, store, folder
        self.known, self.tracked = known or kind.known, kind.tracked
        self.nodes: list[Any] = []
        self.names: list[tuple[str, ...]] = []
        self.rows: dict[str, Any] | None = None

    def load(self, run_id: str, keep: bool) -> dict[str, Any]:
        """Return the hot rows of the family; the first time the nodes get the digests in them, too."""
        rows = self.rows
        if rows is None:
            assert self.store is not None
            records, family = self.store.records, self.kind.family
            if len(self.nodes) <= _ONE_BY_ONE:
                asked = [(node.task.task_id, run_id or None) for node in self.nodes]
                known = {key: records.load_one(family, key, run) for key, run in asked}
                rows = {key: row for key, row in known.items() if row is not None}
            else:
                rows = records.load_hot([family], run_id or None)
            if any_known() and isinstance(self.kind.known.definition.cls, TaskMeta):
                rows = self._with_former(rows, run_id)
            if rows:
                for node in self.nodes:
                    if node.digest is None:
                        row = rows.get(node.task.task_id)
                        if row is not None:
                            node.digest = row[1] or None
            self.rows = rows if keep else None
        return rows

    def _with_former(self, rows: dict[str, Any], run_id: str) -> dict[str, Any]:
        """Return hot rows in which tasks without one have that of what they were under a former name."""
        assert self.store is not None
        records, families = self.store.records, {self.kind.family: rows}
        run = run_id or None
        few = len(self.nodes) <= _ONE_BY_ONE
        found: dict[str, Any] = {}

        def row(family: str, task_id: str) -> Any:
            if few:
                return records.load_one(family, task_id, run)
            if family not in families:
                families[family] = records.load_hot([family], run)
            return families[family].get(task_id)

        for node in self.nodes:
            task = node.task
            if task.task_id not in rows and has_former_name(task):
                former = row(*filed_as(task, lambda *ids: row(*ids) is not None))
                if former is not None:
                    found[task.task_id] = former
        return {**rows, **found} if found else rows


def _names_digest(structure: Any) -> bytes:
    """Return what stands for the names in what ``requires`` returned."""
    return blake2b(repr(_outline(structure)).encode(errors="surrogatepass"), digest_size=16).digest()


def _outline(structure: Any) -> Any:
    if isinstance(structure, luigi.Task):
        return None
    if isinstance(structure, Mapping):
        return {str(key): _outline(member) for key, member in structure.items()}
    if isinstance(structure, Iterable) and not isinstance(structure, (str, bytes)):
        return [_outline(member) for member in structure]
    return type(structure).__name__


class TaskView:
    """How the engine looks at tasks; see `interfaces.TaskView`.

    Parameters
    ----------
    prune : bool
        Do as luigi does and look no further below an external task, or a plain luigi task that is complete (unless
        stale ones are to be built again). False walks the whole graph, for previews.
    examiner : Examiner, optional
        Looks at records; by default one for a question under the settings.
    """

    def __init__(self, prune: bool = True, examiner: Examiner | None = None) -> None:
        self.prune = prune
        self.examiner = examiner or Examiner(Policy())
        self.recalls = self.spares = self.removes = False
        self.tolerant = False  # whether a task of a plan may do without some of what it needs
        self.graph = Graph(self)
        self._names: dict[tuple[Any, ...], bytes] = {}
        self._kinds: dict[type, _Kind] = {}
        self._families: dict[str, type] = {}
        self._formers: dict[str, type] = {}  # by former names
        self._complete: dict[int, bool] = {}  # answers of bulk_complete, by id of the task
        self._claims: dict[str, tuple[dict[str, Any], list[Any]]] = {}  # folder -> names taken, nodes not yet in them

    # ---- what the graph asks

    def identify(self, task: Any) -> tuple[Any, Hashable]:
        cls = task.__class__
        if cls not in self._kinds:
            task = self._admit(task)
            cls = task.__class__
        if isinstance(cls, TaskMeta):
            return task, task._key
        return task, (self._kinds[cls].family, task.task_id)

    def needs(self, node: Any) -> Sequence[Any]:
        task = node.task
        kind = self._kinds[task.__class__]
        prepared = "_init" in task.__dict__
        if kind.leaf and not prepared:
            return ()
        if kind.luigi and not kind.wrapper:
            if node.present is None:
                node.present = self._ask(task)
            if self.prune and node.present and self._ends_here(node, kind):
                self.examiner.pruned.add(node)
                return ()
        if kind.aggregator:
            tasks: Sequence[Any] = self._aggregated(task)
            node.requires = tasks
        else:
            if self.prune and kind.is_external(task):
                return ()
            try:
                tasks = self._tasks_in(node, task.requires()) if kind.plain_needs else task.deps()
            except Exception as error:
                raise GraphError(
                    "requires() of a task raised an error",
                    task=task,
                    facts={"error": f"{type(error).__name__}: {error}"},
                    hint="Mend requires(); nothing was run.",
                ) from error
        if kind.objects_in or prepared:
            tasks = list(dict.fromkeys([*tasks_of_values(task, kind.objects_in), *tasks]))
        kinds, bulk = self._kinds, False
        for need in tasks:
            known = kinds.get(need.__class__)
            if known is not None:
                bulk = bulk or known.luigi
                continue
            if not isinstance(need, luigi.Task):
                raise _no_task(task, need)
            if _newest(need.__class__) is not need.__class__:  # the body must load from the new ones, too
                node.requires = _renewed(node.requires)
                values = _renewed(tasks_of_values(task, kind.objects_in))
                tasks = list(dict.fromkeys([*values, *flatten(node.requires)]))
                break
            bulk = bulk or need.__class__.__class__ is not TaskMeta
        if bulk and len(tasks) > 1:
            self.ask_in_bulk(tasks)
        return tasks

    def _ends_here(self, node: Any, kind: _Kind) -> bool:
        """Return whether nothing has to be known of what a complete plain luigi task needs."""
        mode = self.examiner.mode(node.task)
        if mode != "warn":
            return mode == "ignore"
        row = row_of(node.task, self.examiner.run_id or None)
        return row is None or row[0] == "finished"

    def _tasks_in(self, node: Any, structure: Any) -> Sequence[Any]:
        """Return the tasks in what ``requires`` returned: a task, or nested lists, tuples and dicts of tasks."""
        node.requires = structure
        kind, kinds = structure.__class__, self._kinds
        if kind is list or kind is tuple:
            tasks = structure
        elif kind is dict:
            tasks = list(structure.values())
            keys = tuple(structure)
            names = self._names.get(keys)
            if names is None:
                names = self._names[keys] = _names_digest(structure)
            node.names = names
        elif kind in kinds or isinstance(structure, luigi.Task):
            return (structure,)
        else:
            if isinstance(structure, Iterator):  # a generator answers once: the body gets a list
                structure = node.requires = list(structure)
            return flatten(structure)
        for task in tasks:
            if task.__class__ not in kinds and not isinstance(task, luigi.Task):
                node.names = _names_digest(structure)
                return flatten(structure)
        return tasks

    def together(self, node: Any) -> bytes | None:
        return digest_together(node)

    def demand(self, node: Any) -> tuple[tuple[str, float], ...]:
        task = node.task
        kind = self._kinds[task.__class__]
        try:
            made = submission_of(task, self.examiner.run_id) if kind.hooked else None
        except BuildError:  # told when the task is to start, which fails
            return ()
        if made is None and not kind.demands and "resources" not in task.__dict__:
            return ()
        wanted = task.process_resources() if made is None else made.resources
        if not isinstance(wanted, Mapping):  # a parameter of that name
            return ()
        return tuple(sorted([(str(name), amount) for name, amount in wanted.items() if amount]))

    def recall(self, node: Any) -> Sequence[Any]:
        kind = self._kinds[node.task.__class__]
        if not (kind.tracked and kind.known.definition.dynamic):
            return ()
        return self.examiner.recall(node)

    def look(self, nodes: Sequence[Any]) -> Iterator[Evidence]:
        groups, together = self._groups(nodes)
        for group in groups:
            if group.tracked:
                if self.examiner.run_id and group.store not in self.examiner.quiet:
                    assert group.store is not None
                    self.examiner.quiet[group.store] = group.store.records.foreign(self.examiner.run_id)
                group.load(self.examiner.run_id, keep=len(nodes) <= _KEEP_ROWS)
        for node in together:
            node.present = True
            node.digest = digest_together(node)
        for group in groups:
            members = self._found(group)
            if group.tracked:
                yield Evidence(group.known.compared, OBSERVED, members, bool(group.kind.transient))
            group.rows = None

    def _groups(self, nodes: Sequence[Any]) -> tuple[list[_Group], list[Any]]:
        """Return the nodes that have outputs by folder and class, and those that only stand for others."""
        groups: dict[Any, _Group] = {}
        together: list[Any] = []
        kinds = self._kinds
        for node in nodes:
            task = node.task
            kind = kinds[task.__class__]
            known = kind.known
            if kind.tracked and (known.holds or "_init" in task.__dict__):
                known = self.examiner.known_of(task)
            if kind.mode == _FILES:
                try:
                    folder, names = locate(task)
                except Exception as error:
                    raise _no_outputs(task, error) from error
                group = groups.get(folder)
                if group is None:
                    group = groups[folder] = _Group(kind, store_of(task) if kind.tracked else None, folder, known)
                elif group.known is not known:  # two classes in one folder, or one with other configs
                    group = groups.get((folder, known))
                    if group is None:
                        store = store_of(task) if kind.tracked else None
                        group = groups[folder, known] = _Group(kind, store, folder, known)
                group.nodes.append(node)
                group.names.append(names)
            elif kind.mode == _NOTHING:
                together.append(node)
            else:
                if kind.mode == _OUTPUTS and node.present is None:
                    try:
                        node.present = task._outputs_exist()
                    except Exception as error:
                        raise _no_outputs(task, error) from error
                if kind.tracked:
                    store = store_of(task)
                    key = (store.root, known)
                    group = groups.get(key)
                    if group is None:
                        group = groups[key] = _Group(kind, store, None, known)
                    group.nodes.append(node)
        return list(groups.values()), together

    def _found(self, group: _Group) -> list[tuple[Any, Any, Any]]:
        """Set ``present`` of the nodes of a group, and return what the engine compares."""
        if group.folder is None:
            rows = group.load(self.examiner.run_id, keep=True)
            return [(node, rows.get(node.task.task_id), self._stats(node)) for node in group.nodes]
        folder, nodes, wanted = group.folder, group.nodes, group.names
        self._check_claims(os.path.abspath(folder), nodes, wanted)
        if not group.tracked:
            self._look(folder, nodes, wanted)
            return []
        rows = group.load(self.examiner.run_id, keep=True)
        files = plugins.load("files", "local")
        listed = None
        if len(nodes) >= _LIST_FROM:
            listed = files.stats(folder, {name for names in wanted for name in names})
        found = []
        for node, names in zip(nodes, wanted, strict=True):
            task = node.task
            stats: Any = None
            if listed is not None and len(names) == 1 and "_moved" not in task.__dict__:
                one = listed.get(names[0])
                if one is not None and one[0] >= 0:
                    stats = (one,)
            if stats is None:
                stats = self._stats_here(task, folder, names, listed)
            node.present = stats is not None
            found.append((node, rows.get(task.task_id), stats))
        return found

    def _stats_here(self, task: Any, folder: str, names: tuple[str, ...], listed: Any) -> Any:
        """Return size and time of each output in a folder; None if one is missing."""
        shape = layout(task)
        if not names:
            return None
        if shape.in_memory or shape.mixed or has_older_name(task):
            return stats_of(task)
        if listed is not None:
            found = [listed.get(name) for name in names]
            if None in found:
                return None
            if all([one[0] >= 0 for one in found]):
                return tuple(found)
        stat = plugins.load("files", "local").stat
        found = [stat(folder + os.sep + name) for name in names]
        return None if None in found else tuple(found)

    def _stats(self, node: Any) -> Any:
        """Return size and time of each output of a task that says itself where they are, or whether it is complete."""
        if node.present is False:
            return None
        try:
            return stats_of(node.task)
        except Exception as error:
            raise _no_outputs(node.task, error) from error

    def examine(self, node: Any, row: Any, stats: Any) -> Finding:
        return self.examiner.examine(node, row, stats)

    def transient(self, node: Any) -> bool | str:
        kind = self._kinds[node.task.__class__]
        found: bool | str = kind.transient
        return found and not kind.is_external(node.task) and found

    def joins(self, node: Any) -> bool:
        return self._kinds[node.task.__class__].mode == _NOTHING

    def excused(self, node: Any) -> bool:
        task = node.task
        return self._kinds[task.__class__].skipped or "skip" in marks_of(task)

    def tolerance(self, node: Any) -> int:
        if not self._kinds[node.task.__class__].aggregator:
            return 0
        allowed: int = node.task._allowed(len(node.needs))
        self.tolerant = self.tolerant or allowed > 0
        return allowed

    def mode(self, node: Any) -> str:
        kind = self._kinds[node.task.__class__]
        if kind.is_external(node.task):
            return "ignore"
        mode = self.examiner.mode(node.task)
        # Its own complete() has the last word: what the record says is told, and nothing follows from it.
        return "warn" if mode == "rerun" and kind.own_rule else mode

    def is_there(self, node: Any) -> bool:
        """Return whether a task that says itself what it has says so now; True for those whose files speak for them."""
        mode = self._kinds[node.task.__class__].mode
        if mode == _ASK:
            self._complete.pop(id(node.task), None)
            return self._ask(node.task)
        return mode != _OUTPUTS or bool(node.task._outputs_exist())

    def ask(self, node: Any) -> bool:
        return self._ask(node.task)

    def cascades(self, node: Any) -> bool:
        kind = self._kinds[node.task.__class__]
        if kind.mode == _ASK and (kind.own_rule or self.mode(node) != "rerun"):
            return False  # its own complete() has said all there is to say
        if kind.mode == _NOTHING:
            return True
        if kind.is_external(node.task):
            return False
        return bool(settings.check_dependencies) or (kind.tracked and self.mode(node) == "rerun")

    def runnable(self, node: Any) -> bool:
        return not is_external(node.task)

    def enabled(self, node: Any) -> bool:
        return not (node.task.disabled or self.excused(node))

    def priority(self, node: Any) -> float:
        try:
            return +node.task.priority
        except Exception as error:
            raise GraphError(
                "priority of a task raised an error",
                task=node.task,
                facts={"error": f"{type(error).__name__}: {error}"},
                hint="Mend priority; it may not depend on what is not built yet.",
            ) from error

    # ---- classes

    def _admit(self, task: Any) -> Any:
        """Return `task`, of the newest definition of its class, after checking that its family is one class."""
        cls = type(task)
        newest = _newest(cls)
        if newest is not cls:
            task, cls = _remake(task, newest), newest
        kind = _Kind(cls, self.examiner.known(cls))
        self.recalls = self.recalls or (kind.tracked and kind.known.definition.dynamic)
        self.spares = self.spares or bool(kind.transient)
        self.removes = self.removes or kind.transient == "remove"
        known = self._families.setdefault(kind.family, cls)
        if known is not cls and not _one_definition(known, cls):
            if _newest(known) is cls:
                raise GraphError(
                    f"The class '{kind.family}' was defined again while a session was open that has run the one before",
                    facts={"defined in": _where(cls)},
                    hint="Close the session, and submit to a new one: what is built stays.",
                )
            raise GraphError(
                f"Two different classes are called '{kind.family}' in one graph",
                facts={"one": _where(known), "other": _where(cls)},
                hint="Rename one of them, or set task_namespace on it: outputs are filed under this name.",
            )
        if any_known():
            self._check_former(cls)
        self._kinds[cls] = kind
        return task

    def _check_former(self, cls: type) -> None:
        """Refuse a class that was called as another class of the graph is now: both would have the same outputs."""
        self._formers.update({former.family: cls for former in former_names(cls)})
        family: str = cls.get_task_family()  # type: ignore[attr-defined]
        for name in (family, *[former.family for former in former_names(cls)]):
            other, now = self._families.get(name), self._formers.get(name)
            if other is not None and now is not None and other is not now and not _one_definition(other, now):
                raise GraphError(
                    f"'{name}' is a class of this graph, and a former name of another one",
                    facts={"class": _where(other), "was called so": _where(now)},
                    hint=f"Let nothing require the old {name} any more, or rename one of the two.",
                )

    def _aggregated(self, task: Any) -> list[Any]:
        children: list[Any] = task._children()
        if not children:
            warn(f"{task!r} stands for no task at all: its run() yields nothing")
        return children

    # ---- completeness

    def _ask(self, task: Any) -> bool:
        known = self._complete.get(id(task))
        if known is not None:
            return known
        token = _ASKING.set(self)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Task .* without outputs has no custom complete")
                return bool(task.complete())
        except PipeError:
            raise
        except Exception as error:
            raise GraphError(
                "complete() of a task raised an error",
                task=task,
                facts={"error": f"{type(error).__name__}: {error}"},
                hint="Mend complete() or output(); nothing was run.",
            ) from error
        finally:
            _ASKING.reset(token)

    def ask_in_bulk(self, tasks: Iterable[Any]) -> None:
        """Ask classes that have a ``bulk_complete`` of their own about several tasks at once."""
        groups: dict[type, list[Any]] = {}
        for task in tasks:
            cls = task.__class__
            if cls.__class__ is TaskMeta:
                continue
            if getattr(cls.bulk_complete, "__func__", None) is not _NO_BULK:
                groups.setdefault(cls, []).append(task)
        for cls, members in groups.items():
            if len(members) > 1:
                self._bulk(cls, members)

    def _bulk(self, cls: Any, members: list[Any]) -> None:
        names = [name for name, parameter in cls.get_params() if parameter.positional]
        single = len(names) == 1
        asked = [getattr(t, names[0]) if single else tuple(getattr(t, n) for n in names) for t in members]
        try:
            answer = list(cls.bulk_complete(asked))
            complete = set(answer)
        except (BulkCompleteNotImplementedError, NotImplementedError):
            return
        except Exception as error:  # noqa: BLE001  (reported)
            warn(f"{cls.__name__}.bulk_complete failed ({type(error).__name__}: {error}); asking task by task")
            return
        if complete <= set(asked):  # else it speaks of values in another form: ask one by one
            for task, values in zip(members, asked, strict=True):
                self._complete[id(task)] = values in complete

    def _look(self, folder: str, nodes: list[Any], wanted: list[tuple[str, ...]]) -> None:
        """Set ``present`` of nodes with outputs in one folder: one listing, or a look at each of a few."""
        files = plugins.load("files", "local")
        prefix = folder + os.sep
        listed: Any = None
        if len(nodes) >= _LIST_FROM:
            listed = files.listing(folder)
        for node, names in zip(nodes, wanted, strict=True):
            if listed is not None and len(names) == 1 and names[0] in listed:
                node.present = True
                continue
            shape = layout(node.task)
            if shape.mixed:
                node.present = node.task._outputs_exist()
                continue
            if shape.in_memory:
                found = all([prefix + name in cache.data for name in names])
            elif listed is not None and len(names) == 1:
                found = names[0] in listed
            elif listed is not None:
                found = listed.issuperset(names)
            else:
                found = all([files.exists(prefix + name) for name in names])
            node.present = bool(names) and (found or standing(node.task) is not None)

    def _check_claims(self, folder: str, nodes: list[Any], wanted: list[tuple[str, ...]]) -> None:
        """Refuse two tasks that would write one file."""
        claims = self._claims.get(folder)
        if claims is None:
            claims = self._claims[folder] = ({}, nodes)
            if len(set().union(*wanted)) == sum(map(len, wanted)):
                return  # the usual case; only a body that asks for more makes a second look necessary
            nodes = []
        claimed, earlier = claims
        self._claims[folder] = (claimed, [])
        for node in [*earlier, *nodes]:
            if is_external(node.task):
                continue
            for name in locate(node.task)[1]:
                other = claimed.setdefault(name, node)
                if other is not node:
                    raise GraphError(
                        "Two tasks would write the same output",
                        facts={"one": other.task, "other": node.task, "path": os.path.join(folder, name)},
                        hint="Let their names differ: significant parameters, save_attrib, target_dir or path.",
                    )


def requirements_complete(task: Any) -> bool:
    """Return whether all that `task` requires is complete; linear, asks each task upstream once."""
    asking = _ASKING.get()
    if asking is not None:
        node = asking.graph.find(task)
        if node is not None and node.walked and all(need.complete is not None for need in node.needs):
            return _all_complete(node)
    from d6tpipe.engine.freshness import judge, tolerates

    for stale in ("ignore", "warn"):  # records only count where some tasks may have failed: they say which
        view = TaskView(examiner=Examiner(Policy(stale)))
        (node,) = view.graph.add([task])
        judge(view.graph.order[:-1], view)
        if _all_complete(node):
            return True
        if not any([view.tolerance(one) for one in view.graph.order]):
            return False
    return node is not None and tolerates(node, view)


def _all_complete(node: Any) -> bool:
    """Return whether all that a node needs is complete; for one that only stands for others, and is there, too."""
    if joins(node.task):
        return not any(map(is_open, node.needs))
    return all([need.complete for need in node.needs])


# ---- definitions of a class


def _find(cls: type, module: Any) -> Any:
    found = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _newest(cls: type) -> type:
    """Return what the module of `cls` now holds under its name: a notebook cell may have been run again."""
    found = _find(cls, sys.modules.get(cls.__module__)) if "<locals>" not in cls.__qualname__ else None
    if found is None or found is cls or (found.__module__, found.__qualname__) != (cls.__module__, cls.__qualname__):
        return cls
    if issubclass(cls, found) or issubclass(found, cls):  # wrapped by a decorator, or a copy (luigi's externalize)
        return cls
    return found


def _one_definition(known: type, cls: type) -> bool:
    """Return whether two classes are one definition: a decorated copy, or a script also imported as a module."""
    if known.__qualname__ == cls.__qualname__:
        if known.__module__ == cls.__module__:
            return issubclass(cls, known) or issubclass(known, cls)
        if "__main__" in (known.__module__, cls.__module__):
            files = [getattr(sys.modules.get(c.__module__), "__file__", None) for c in (known, cls)]
            return None not in files and os.path.realpath(str(files[0])) == os.path.realpath(str(files[1]))
    return False


def _remake(task: Any, cls: Any) -> Any:
    names = [name for name, _ in cls.get_params()]
    values = {name: value for name, value in task.param_kwargs.items() if name in names}
    if not isinstance(cls, TaskMeta):
        return cls(**values)
    path = getattr(task, "_own_path", None)
    with bound(getattr(task, "_binding", None)):
        return cls(**values) if path is None else cls(**values, path=path)


def _renewed(structure: Any) -> Any:
    """Return what ``requires`` returned with each task of the newest definition of its class."""
    if isinstance(structure, luigi.Task):
        newest = _newest(type(structure))
        return structure if newest is type(structure) else _remake(structure, newest)
    if isinstance(structure, Mapping):
        return {name: _renewed(member) for name, member in structure.items()}
    if isinstance(structure, Iterable):
        return [_renewed(member) for member in structure]
    return structure


def _where(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _no_outputs(task: Any, error: Exception) -> PipeError:
    if isinstance(error, PipeError):
        return error
    return GraphError(
        "The outputs of a task cannot be told",
        task=task,
        facts={"error": f"{type(error).__name__}: {error}"},
        hint="Mend output(), or what the outputs are made of (persist, path, target_dir ...); nothing was run.",
    )


def _no_task(task: Any, need: Any) -> GraphError:
    if isinstance(need, type) and issubclass(need, luigi.Task):
        hint = (
            f"requires() returned the class {need.__name__}: write {need.__name__}(...) or self.clone({need.__name__})."
        )
    else:
        hint = "requires() must return a task, or a list or dict of tasks."
    return GraphError("A task requires something that is not a task", task=task, facts={"got": repr(need)}, hint=hint)
