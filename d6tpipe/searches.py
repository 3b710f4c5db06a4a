"""Adaptive search: Optuna says which point comes next, each point is an ordinary task that is built once.

Optuna is asked for points and told their values; what runs and what is kept is d6tpipe's. The study, which is what
Optuna remembers, is a journal below the data folder. A search is locked as a whole, so a trial that is under way when
one begins was left by a process that was killed: it is gone on with, under its own number. The chance of each trial
depends on the seed and its number only, never on what came before in the process. So a search that was killed ends as
one that was not.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from numbers import Integral, Real
from typing import Any

import luigi

from d6tpipe import plugins, settings
from d6tpipe.binding import BINDING, LOADING
from d6tpipe.dispatch import choose
from d6tpipe.errors import DeclarationError, GraphError, NotBuiltError, ParameterError, StorageError, shown, told
from d6tpipe.failpoints import fail_point
from d6tpipe.flow import run
from d6tpipe.identity import nearest
from d6tpipe.interfaces import State
from d6tpipe.points import Axis, Product
from d6tpipe.stores import store_at
from d6tpipe.sweeps import Sweep, sweep
from d6tpipe.tables import MetricError
from d6tpipe.tasks import TaskData

__all__ = ["Search", "search"]

logger = logging.getLogger("d6tpipe")

_DIRECTIONS = ("maximize", "minimize")
_OURS = ("abort", "confirm", "dry_run", "marks", "select", "tasks")
_PLAIN = (str, bool, int, float, type(None))  # what Optuna keeps as a choice
_UNSAFE = re.compile(r"[^\w.-]")
_LONGEST_NAME = 200
_DEEPEST = 10  # metadata may hold themselves

# What is written into the study. Optuna lets nobody change a trial that is finished.
_ABOUT = "d6tpipe"  # of the study: what is searched
_FIRST = "d6tpipe_first"  # of the study: the number of the first trial that counts
_LOST = "d6tpipe_lost"  # of a trial: the process was killed before all of its values were known
_ERROR = "d6tpipe_error"  # of a trial: why it has failed


class Search:
    """What a search has come to; made by `search`.

    Attributes
    ----------
    name : str
    metric : str
    study : optuna.Study
        For Optuna's own plots and measures of importance.
    """

    def __init__(
        self, cls: type, metric: str, name: str, study: Any, space: Mapping[str, _Dimension], common: Mapping[str, Any]
    ) -> None:
        self.metric, self.name, self.study = metric, name, study
        self._cls, self._space, self._common = cls, space, common
        self._trials = [(number, trial) for number, trial in enumerate(_asked(study)) if trial.state.is_finished()]
        self._tasks: Sweep | None = None

    def __repr__(self) -> str:
        failed = sum([trial.value is None for _, trial in self._trials])
        some = f", {failed} failed" if failed else ""
        best = "" if failed == len(self._trials) else f", best {self.metric} {self.best_value:.6g}"
        return f"<Search {self.name}: {len(self._trials)} trials{some}{best}>"

    @property
    def tasks(self) -> Sweep:
        """The tasks of all trials that are finished, failed ones among them, under ``trial_0``, ``trial_1`` ..."""
        if self._tasks is None:
            self._tasks = _tasks_of(self._cls, self._space, self._common, self._trials)
        return self._tasks

    @property
    def best(self) -> Any:
        """The task with the best value; of equal ones the first.

        Raises
        ------
        MetricError
            No trial has a value.
        """
        number, trial = self._best()
        return next(iter(_tasks_of(self._cls, self._space, self._common, [(number, trial)]).values()))

    @property
    def best_value(self) -> float:
        """The best value; raises as `best` does."""
        value: float = self._best()[1].value
        return value

    def _best(self) -> tuple[int, Any]:
        valued = [(number, trial) for number, trial in self._trials if trial.value is not None]
        if not valued:
            errors = [trial.user_attrs[_ERROR] for _, trial in self._trials if _ERROR in trial.user_attrs]
            raise MetricError(
                "No trial of the search has a value",
                facts={"search": self.name, "trials": len(self._trials), "the first": errors[0] if errors else "none"},
                hint="Mend what failed and search again: a search in which all has failed begins anew.",
            )
        largest = self.study.direction.name == "MAXIMIZE"
        return max(valued, key=lambda one: one[1].value if largest else -one[1].value)

    def table(self) -> Any:
        """Return a DataFrame with a row per finished trial, in their order.

        Returns
        -------
        pandas.DataFrame
            ``trial`` (its id), the parameters of the space in its order, ``value`` (NaN if it has failed) and ``state``
            ("complete" or "failed"). A parameter that is called like another column is ``parameter_<name>``. More
            about the tasks: ``search.tasks.table()``.
        """
        import pandas as pd

        columns: dict[str, list[Any]] = {"trial": [_id(number) for number, _ in self._trials]}
        for name in self._space:
            column = f"parameter_{name}" if name in ("trial", "value", "state") else name
            columns[column] = [trial.params[name] for _, trial in self._trials]
        columns["value"] = [math.nan if trial.value is None else trial.value for _, trial in self._trials]
        columns["state"] = ["failed" if trial.value is None else "complete" for _, trial in self._trials]
        return pd.DataFrame(columns)


def search(
    cls: type,
    space: Mapping[str, Any],
    metric: str = "score",
    n: int = 50,
    *,
    direction: str = "maximize",
    workers: int | str | None = 1,
    executor: Any = None,
    common: Mapping[str, Any] | None = None,
    sampler: Any = None,
    seed: int | None = 0,
    name: str | None = None,
    storage: Any = None,
    **run_options: Any,
) -> Search:
    """Look for the values of parameters with the best metric, and return what was found.

    Optuna chooses each point by the values of those before. A trial is an ordinary task: it is built once, its outputs
    stay, and a point that was built before, by whomever, is not built again. Said again with a larger `n`, a search
    goes on; after a kill it goes on where it was. A task that fails, or whose metric is NaN, is a failed trial.

    Parameters
    ----------
    cls : task class
        Saves the metric: ``self.saveMeta({"score": ...})``.
    space : mapping of str to values
        By the name of the parameter, which may be dotted (``data.subset``):

        ======================  ====================================================================================
        ``(1, 10)``             whole numbers, both ends included
        ``(0.0, 1.0)``          numbers
        ``(1e-5, 0.1, "log")``  the same, even on a logarithmic scale; also of whole numbers
        ``["a", "b"]``          one of these; also a sweep (its tasks), or a mapping of text to value
        a distribution          one of Optuna's
        ======================  ====================================================================================
    metric : str
        Name of a number in the metadata; what is in dicts in them is ``outer.inner``.
    n : int
        How many finished trials there are to be in all, failed ones and those of earlier calls among them.
    direction : {"maximize", "minimize"}
    workers, executor
        See `run`. With several workers that many points are chosen at a time, and run together.
    common : mapping, optional
        Values of further parameters, the same for all.
    sampler : optuna.samplers.BaseSampler, optional
        By default TPE. With a sampler of your own `seed` has no effect, and where a search goes on its chance is new.
    seed : int or None
        The same seed gives the same points, also after a kill. None: other ones each time.
    name : str, optional
        By default the class and some digits of a hash of what is searched, `seed` included.
    storage : str or optuna.storages.BaseStorage, optional
        Where the study is kept; by default a file in ``.d6tpipe/searches`` of the data folder.
    **run_options
        Of `run`, such as ``stale="rerun"``. The summary of each run is not shown unless you say so.

    Returns
    -------
    Search

    Raises
    ------
    ParameterError
        Space, names or options that do not fit; nothing was run. Or a search of this name looks for something else.
    MetricError
        A task has no such metric, or none that is a number; the message names those that it has.
    StorageError
        The study cannot be read or written.
    PluginError
        The extra ``search`` is not installed.

    Effects
    -------
    Builds tasks and what they require. Of two processes with the same search the second waits, and then has it.
    """
    if LOADING.get():
        raise GraphError(
            "A module searches when it is imported, and a worker has to import it",
            hint="Put the call of search() under: if __name__ == '__main__':",
        )
    optuna: Any = plugins.need("optuna", "search()")
    _check_call(cls, n, direction, run_options)
    size = choose(workers, executor).n_workers
    fixed = dict(common or {})
    dimensions = _space(optuna, space)
    sweep(cls, Product([dimension.probe for dimension in dimensions.values()]), common=fixed)  # raises for what is bad
    about = _about(optuna, cls, metric, direction, dimensions, fixed)
    title = _title(cls, name, about, seed)
    root = _root(cls)
    options = {"execution_summary": False, **run_options, "workers": workers, "executor": executor}
    with _alone(root, title):
        if storage is None:
            storage = _journal(root, title)
        study = _study(optuna, storage, title, direction, about)
        trials = _taken_up(study, n, dimensions)
        if sampler is not None:
            study.sampler = sampler
            if trials:  # else it would begin with the points that it began with before
                sampler.reseed_rng()
        driver = _Driver(cls, metric, study, dimensions, fixed, options)
        stopped = False
        while not stopped:
            trials = _asked(study)
            done = sum([trial.state.is_finished() for trial in trials])
            batch = [(number, trial) for number, trial in enumerate(trials) if not trial.state.is_finished()]
            batch = batch[: max(0, n - done)]
            # By number, so that after a kill the same points are asked for together.
            while done + len(batch) < n and (not batch or (len(batch) < size and len(trials) % size)):
                if sampler is None:
                    study.sampler = _sampler(optuna, seed, len(trials), size)
                asked = study.ask({one: dimensions[one].distribution for one in sorted(dimensions)})
                fail_point("search.asked")
                trials = _asked(study)
                batch += [(number, trial) for number, trial in enumerate(trials) if trial.number == asked.number]
            if not batch:
                break
            stopped = driver.run(batch)
    return Search(cls, metric, title, study, dimensions, fixed)


# ---- running


class _Driver:
    """Runs points that were asked for, and tells their values."""

    def __init__(
        self,
        cls: type,
        metric: str,
        study: Any,
        space: Mapping[str, _Dimension],
        common: Mapping[str, Any],
        options: dict[str, Any],
    ) -> None:
        self._cls, self._metric, self._study = cls, metric, study
        self._space, self._common, self._options = space, common, options
        self._failed: dict[Any, str] = {}  # in this call: what fails is not tried again in it

    def run(self, batch: Sequence[tuple[int, Any]]) -> bool:
        """Run the tasks of some trials and tell their values; return whether the sampler has no more points."""
        tasks = _tasks_of(self._cls, self._space, self._common, batch)
        left = tasks.where(lambda task: task not in self._failed)
        if len(left):
            result = run(left, abort=False, **self._options)
            fail_point("search.ran")
            states = result.states
            for failure in result.failures:
                self._failed[failure.task] = told(failure.error)
            for task in left.tasks:
                if states.get(task) is State.NO_OUTPUT:
                    raise MetricError(
                        "The task has saved nothing, so it has no metric either",
                        task=task,
                        facts={"metric": self._metric},
                        hint=f'Call self.save(...) and self.saveMeta({{"{self._metric}": ...}}) in run().',
                    )
                if task not in self._failed and not task.complete(cascade=False):
                    reason = told(result.failures[0].error) if result.failures else str(states.get(task, "not run"))
                    self._failed[task] = f"upstream: {reason}"
        stopped = False
        for (number, trial), task in zip(batch, tasks.tasks, strict=True):
            error = self._failed.get(task)
            value = math.nan if error is not None else _value(task, self._metric)
            if math.isnan(value):
                self._study._storage.set_trial_user_attr(
                    trial._trial_id, _ERROR, error or f"the metric {self._metric} is NaN"
                )
            stopped = self._tell(trial, value) or stopped
            fail_point("search.told")
            logger.info("%s: %s", shown(task), error or f"{self._metric} {value:.6g}")
        return stopped

    def _tell(self, trial: Any, value: float) -> bool:
        failed = math.isnan(value)
        state = type(trial.state).FAIL if failed else type(trial.state).COMPLETE
        try:
            self._study.tell(trial.number, None if failed else value, state)
        except RuntimeError:
            # Samplers that know when they have been everywhere stop the study, which Optuna allows in its own loop only.
            if not self._study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                raise
            return True
        return False


def _id(number: int) -> str:
    return f"trial_{number}"


def _tasks_of(
    cls: type, space: Mapping[str, _Dimension], common: Mapping[str, Any], trials: Iterable[tuple[int, Any]]
) -> Sweep:
    entries = {
        _id(number): {name: dimension.value(trial.params[name]) for name, dimension in space.items()}
        for number, trial in trials
    }
    return sweep(cls, entries, common=common, allow_alias=True)


def _value(task: Any, metric: str) -> float:
    """Return the metric of a task that is complete.

    Raises
    ------
    MetricError
        There is none, or it is no number.
    """
    try:
        found = dict(_flat(task.outputLoadMeta()))
    except NotBuiltError:
        found = {}
    if metric not in found:
        near = nearest(metric, found)
        raise MetricError(
            f"The task has saved no metric {metric!r}",
            task=task,
            facts={"metrics": ", ".join(list(found)[:20]) or "none"},
            hint=f"Did you mean {near!r}?"
            if near
            else f'Call self.saveMeta({{"{metric}": ...}}) in run(), then reset the task and search again.',
        )
    value = found[metric]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # of numpy, of torch
        value = value.item()
    if not isinstance(value, Real):
        raise MetricError(
            f"The metric {metric!r} is no number",
            task=task,
            facts={"value": f"{value!r:.200}", "type": type(value).__name__},
            hint="Save a number under that name in saveMeta().",
        )
    return float(value)


def _flat(metadata: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(metadata, Mapping) and depth < _DEEPEST:
        for key, value in metadata.items():
            if isinstance(value, Mapping):
                yield from _flat(value, f"{prefix}{key}.", depth + 1)
            else:
                yield f"{prefix}{key}", value


# ---- the study


def _asked(study: Any) -> list[Any]:
    """Return the trials that count; the place of one is its number, and never changes."""
    first = study.user_attrs.get(_FIRST, 0)
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.number >= first and trial.state.name != "WAITING" and _LOST not in trial.user_attrs
    ]


def _taken_up(study: Any, n: int, space: Mapping[str, _Dimension]) -> list[Any]:
    """Make a study that others have left ready to go on with; return its trials."""
    trials = _asked(study)
    for trial in trials:
        if not trial.state.is_finished() and not set(space) <= set(trial.params):
            # Killed while it was asked for. Asked for anew it has the same number here, so the same chance.
            study._storage.set_trial_user_attr(trial._trial_id, _LOST, True)
            study.tell(trial.number, state=type(trial.state).FAIL)
    finished = [trial for trial in trials if trial.state.is_finished()]
    if len(finished) >= n and all([trial.value is None for trial in finished]):
        study.set_user_attr(_FIRST, trials[-1].number + 1)  # as a run does, what has failed is tried again
    return _asked(study)


def _study(optuna: Any, storage: Any, name: str, direction: str, about: dict[str, str]) -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that a study is new is no news here
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        study = optuna.create_study(study_name=name, storage=storage, direction=direction)
    finally:
        optuna.logging.set_verbosity(level)
    known = study.user_attrs.get(_ABOUT)
    if known is None:
        study.set_user_attr(_ABOUT, about)
        known = about if study.direction.name.lower() == direction else {"direction": study.direction.name.lower()}
    other = sorted(part for part in {*known, *about} if known.get(part) != about.get(part))
    if other:
        raise ParameterError(
            f"The search '{name}' looks for something else",
            facts={part: f"{about.get(part, 'none')}; in the search: {known.get(part, 'none')}" for part in other},
            hint="Give it another name; tasks that are built already are not built again.",
        )
    return study


def _sampler(optuna: Any, seed: int | None, number: int, size: int) -> Any:
    """Return what chooses the point of a trial by those before."""
    if seed is not None:
        digest = blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
        seed = int.from_bytes(digest, "big")
    import warnings

    with warnings.catch_warnings():  # that the second option is an experiment, in versions before 5
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=size > 1)


class _NoLock:
    """Stands for the lock of a journal: the search is locked as a whole, and that lock ends with its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _journal(root: str, name: str) -> Any:
    optuna: Any = plugins.need("optuna.storages", "search()")
    journal: Any = plugins.need("optuna.storages.journal", "search()")
    path = os.path.join(root, ".d6tpipe", "searches", f"{name}.journal")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _cut_torn_line(path)
        return optuna.JournalStorage(journal.JournalFileBackend(path, lock_obj=_NoLock()))
    except OSError as error:
        raise StorageError(
            "The study of a search cannot be opened",
            facts={"file": path, "reason": error.strerror or error},
            hint="Check who may write there, or say where to keep it: search(..., storage=...).",
        ) from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise StorageError(
            "The study of a search is damaged",
            facts={"file": path, "problem": told(error)},
            hint="Delete the file and search again: what is built already is not built again.",
        ) from error


def _cut_torn_line(path: str) -> None:
    """Drop what a killed process has begun to write: the next line would be appended to it."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


@contextmanager
def _alone(root: str, name: str) -> Iterator[None]:
    """Hold a search of a data folder; wait until no other process, nor thread, does."""
    locks, key = store_at(root).locks, f"search {name}"
    told_so = False
    while not locks.acquire(key):
        if not told_so:
            logger.info("The search %s is under way in process %s: waiting for it", name, locks.holder(key))
            told_so = True
        locks.wait([key])
    try:
        yield
    finally:
        locks.release([key])


def _root(cls: Any) -> str:
    binding = BINDING.get()
    path = None if binding is None else binding.path
    if path is None and not isinstance(getattr(cls, "path", None), luigi.Parameter):
        path = getattr(cls, "path", None)
    return os.path.abspath(os.fspath(settings.dirpath if path is None else path))


# ---- what is searched


@dataclass
class _Dimension:
    """What Optuna knows of a parameter, and the values that it stands for.

    Attributes
    ----------
    distribution : optuna.distributions.BaseDistribution
    probe : Axis
        Values by which a class can be asked whether it takes them.
    choices : dict of str to object, or None
        What the choices stand for, where they are no plain values.
    identity : str
    """

    distribution: Any
    probe: Axis
    choices: dict[str, Any] | None
    identity: str

    def value(self, chosen: Any) -> Any:
        return chosen if self.choices is None else self.choices[chosen]


def _space(optuna: Any, space: Any) -> dict[str, _Dimension]:
    if not isinstance(space, Mapping) or not space or not all(isinstance(name, str) for name in space):
        raise ParameterError(
            "search() needs a mapping of the names of parameters to what their values may be",
            facts={"got": f"{space!r:.200}"},
            hint='Write search(Train, {"lr": (1e-5, 0.1, "log"), "depth": (1, 9), "model": ["ols", "tree"]}).',
        )
    found = {}
    for name, given in space.items():
        try:
            found[name] = _dimension(optuna.distributions, name, given)
        except ParameterError:
            raise
        except ValueError as error:  # Optuna's own checks
            raise _bad_range(name, given, str(error)) from error
    return found


def _dimension(kinds: Any, name: str, given: Any) -> _Dimension:
    if isinstance(given, kinds.BaseDistribution):
        pass
    elif isinstance(given, tuple):
        given = _numbers(kinds, name, given)
    else:
        return _one_of(kinds, name, given)
    text = kinds.distribution_to_json(given)
    ends = given.choices if isinstance(given, kinds.CategoricalDistribution) else (given.low, given.high)
    return _Dimension(given, Axis(name, list(dict.fromkeys(ends))), None, text)


def _numbers(kinds: Any, name: str, given: tuple[Any, ...]) -> Any:
    if len(given) not in (2, 3):
        raise _bad_range(name, given, f"{len(given)} entries")
    low, high = given[:2]
    for number in (low, high):
        if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
            raise _bad_range(name, given, f"{number!r} is no number")
    if len(given) == 3 and given[2] != "log":
        raise _bad_range(name, given, f"{given[2]!r} is not 'log'")
    if low > high:
        raise _bad_range(name, given, "the first is larger than the second")
    if isinstance(low, Integral) and isinstance(high, Integral):
        return kinds.IntDistribution(int(low), int(high), log=len(given) == 3)
    return kinds.FloatDistribution(float(low), float(high), log=len(given) == 3)


def _one_of(kinds: Any, name: str, given: Any) -> _Dimension:
    if isinstance(given, (set, frozenset)):
        raise _bad_range(name, given, "a set has no order")
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise _bad_range(name, given, "one value; what is the same for all belongs into common={...}")
    axis = Axis(name, given)
    if not len(axis):
        raise _bad_range(name, given, "no values")
    values = [axis.value_at(place) for place in range(len(axis))]
    if not isinstance(given, Mapping) and all([type(value) in _PLAIN for value in values]):
        distribution = kinds.CategoricalDistribution(values)
        return _Dimension(distribution, Axis(name, values), None, kinds.distribution_to_json(distribution))
    texts = [axis.text_at(place) for place in range(len(axis))]
    if len(set(texts)) < len(texts):
        raise _bad_range(name, given, f"two values are called alike: {', '.join(texts)}; give a mapping of text to value")
    choices = dict(zip(texts, values, strict=True))
    identity = json.dumps({text: _identity(value) for text, value in choices.items()})
    return _Dimension(kinds.CategoricalDistribution(texts), Axis(name, choices), choices, identity)


def _bad_range(name: str, given: Any, problem: str) -> ParameterError:
    return ParameterError(
        f"The space says for '{name}' what cannot be searched",
        facts={"got": f"{given!r:.200}", "problem": problem},
        hint='Write (low, high), (low, high, "log"), or a list of choices.',
    )


def _identity(value: Any) -> str:
    """Return what tells a value from others, in every process alike."""
    if isinstance(value, luigi.Task):
        return str(value.task_id)
    return json.dumps(value, sort_keys=True, default=lambda one: f"{type(one).__name__} {one!r}")


def _about(
    optuna: Any, cls: Any, metric: str, direction: str, space: Mapping[str, _Dimension], common: Mapping[str, Any]
) -> dict[str, str]:
    about = {"class": cls.get_task_family(), "metric": metric, "direction": direction}
    about.update({f"space of {name}": space[name].identity for name in sorted(space)})
    about.update({f"common {name}": _identity(common[name]) for name in sorted(common)})
    return about


def _title(cls: Any, name: str | None, about: Mapping[str, str], seed: int | None) -> str:
    if name is None:
        content = json.dumps([about, seed], sort_keys=True)
        family = _UNSAFE.sub("_", cls.get_task_family()).lstrip(".")[:_LONGEST_NAME]
        return f"{family}-{blake2b(content.encode(), digest_size=5).hexdigest()}"
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or _UNSAFE.search(name) or name[0] == ".":
        raise ParameterError(
            "The name of a search is the name of a file",
            facts={"got": repr(name)},
            hint=f"Use up to {_LONGEST_NAME} letters, digits, '_', '-' and '.', not '.' at first.",
        )
    return name


def _check_call(cls: Any, n: Any, direction: Any, options: Mapping[str, Any]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, TaskData)):
        raise DeclarationError(
            "search() needs a task class that saves its outputs and metadata",
            facts={"got": repr(cls)},
            hint='Write search(Train, {"lr": (0.0, 1.0)}).',
        )
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ParameterError(
            "n= says how many trials there are to be", facts={"got": repr(n)}, hint="A whole number from 1 on."
        )
    if direction not in _DIRECTIONS:
        near = nearest(str(direction), _DIRECTIONS)
        raise ParameterError(
            f"direction= is 'maximize' or 'minimize', not {direction!r}",
            hint=f"Did you mean {near!r}?" if near else "Say which values of the metric are good.",
        )
    for option in _OURS:
        if option in options:
            raise ParameterError(
                f"A search has no option '{option}'",
                facts={"because": "all trials have to run, and a failed one does not end the search"},
                hint="Leave it out.",
            )
