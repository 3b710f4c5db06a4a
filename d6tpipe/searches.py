"""Searching for the best parameters with Optuna: the trials are ordinary tasks, built and kept like any other."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from math import isnan, nan
from numbers import Real
from typing import Any

import luigi

from d6tpipe import plugins
from d6tpipe.binding import LOADING
from d6tpipe.dispatch import choose
from d6tpipe.errors import DeclarationError, GraphError, NotBuiltError, ParameterError, StorageError, shown, told
from d6tpipe.flow import run
from d6tpipe.identity import nearest
from d6tpipe.points import Axis, Listed, product
from d6tpipe.stores import store_at
from d6tpipe.sweeps import Sweep, sweep
from d6tpipe.tables import MetricError
from d6tpipe.tasks import TaskData
from d6tpipe.tasks.outputs import root_of

__all__ = ["Search", "search"]

_DIRECTIONS = ("maximize", "minimize")
_NOT_HERE = ("abort", "confirm", "dry_run", "forced", "forced_all", "forced_all_upstream", "marks", "select")
_NAME = re.compile(r"\w[\w.,=+-]{0,150}")
_HOW = "Save it in run(): self.saveMeta({{{!r}: ...}})."


class Search:
    """What `search` has found.

    Attributes
    ----------
    name : str
        Of the search, and of its file below the data folder.
    study : optuna.Study
        All trials, for Optuna's own plots and questions.
    tasks : Sweep
        The tasks of the finished trials, under ``trial_0``, ``trial_1`` ...
    """

    def __init__(self, name: str, study: Any, tasks: Sweep, metric: str, names: Iterable[str]) -> None:
        self.name, self.study, self.tasks, self._metric, self._names = name, study, tasks, metric, names

    def __repr__(self) -> str:
        try:
            best = f"best {_id(self._best().number)}, {self._metric}={self.best_value:.6g}"
        except MetricError:
            best = f"none has {self._metric}"
        return f"<Search of {len(self.tasks)} trials: {best}>"

    @property
    def best(self) -> Any:
        """The task with the best value; of equal ones the first.

        Raises
        ------
        MetricError
            No trial has a value.
        """
        return self.tasks[_id(self._best().number)]

    @property
    def best_value(self) -> float:
        """The best value of the metric; raises as `best` does."""
        return float(self._best().value)

    def table(self) -> Any:
        """Return a DataFrame with a row per finished trial, in their order; ``search.tasks.table()`` has more columns.

        Returns
        -------
        pandas.DataFrame
            ``trial`` (its id among the tasks), the parameters of the space, ``value`` (NaN if it has failed), ``state``
            ("complete" or "failed"). A parameter that is called like one of these is ``parameter_<name>``.
        """
        import pandas as pd

        names = list(self._names)
        trials = [trial for trial in self.study.get_trials(deepcopy=False) if _id(trial.number) in self.tasks]
        columns: dict[str, list[Any]] = {"trial": [_id(trial.number) for trial in trials]}
        for name in names:
            column = f"parameter_{name}" if name in ("trial", "value", "state") else name
            columns[column] = [trial.params[name] for trial in trials]
        columns["value"] = [nan if trial.value is None else trial.value for trial in trials]
        columns["state"] = ["failed" if trial.value is None else "complete" for trial in trials]
        return pd.DataFrame(columns)

    def _best(self) -> Any:
        done = [trial for trial in self.study.get_trials(deepcopy=False) if trial.value is not None]
        if not done:
            raise MetricError(
                f"No trial of the search has a value of {self._metric!r}",
                facts={"search": self.name, "failed trials": len(self.tasks)},
                hint="d6tpipe.log(task) has what a failed task has printed. Under another name= a search begins anew.",
            )
        sign = 1 if self.study.direction.name == "MAXIMIZE" else -1
        return max(done, key=lambda trial: (sign * trial.value, -trial.number))


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
    seed: int = 0,
    name: str | None = None,
    storage: Any = None,
    **run_options: Any,
) -> Search:
    """Search for the values of parameters with the best metric.

    Parameters
    ----------
    cls : task class
        Saves the metric: ``self.saveMeta({"score": ...})``.
    space : mapping of name to values
        Names may be dotted (``data.rows``: a parameter of the task that is the value of ``data``). Values:
        ``(low, high)``, both included: whole numbers if both are, else real ones; ``(low, high, "log")``; a list of
        choices, also a sweep, or a mapping from texts to values; a distribution of Optuna.
    metric : str
        Name in the metadata; ``outer.inner`` for one in a dict.
    n : int
        How many trials there are in the end, with those of an earlier call and with failed ones.
    direction : {"maximize", "minimize"}
    workers : int or "auto"
        So many trials run at once. The next ones are chosen when all of them are done.
    executor : optional
        See `run`.
    common : mapping, optional
        Values that all trials have.
    sampler : optuna.samplers.BaseSampler, optional
        What chooses; by default Optuna's TPE.
    seed : int
        Of the default sampler. With the same seed and one worker the same trials are chosen, killed in between or not.
    name : str, optional
        Of the search; by default made of the class, the space and all that decides what a value means.
    storage : str or optuna.storages.BaseStorage, optional
        Where Optuna keeps the study; by default a file below the data folder of the class.
    **run_options
        Options of `run`: ``resources``, ``stale``, ``scheduler`` ...

    Returns
    -------
    Search

    Raises
    ------
    ParameterError
        The space or an option is wrong; nothing was run.
    MetricError
        A task has not saved the metric; its trial is looked at again by the next call.
    StorageError
        The file of the search cannot be read or written.
    PluginError
        Optuna is not installed.

    Effects
    -------
    Builds tasks. Writes ``<data folder>/.d6tpipe/searches/<name>.log``; the next call with the same arguments goes on
    from there, with the trials first that were not finished. Of two processes with the same search the second waits,
    and then has what the first has found.
    """
    if LOADING.get():
        raise GraphError(
            "A module searches when it is imported, and a worker has to import it",
            hint="Put the call of search() under: if __name__ == '__main__':",
        )
    optuna = plugins.need("optuna", "search()")
    _check(cls, metric, n, direction, run_options)
    room = _Space(optuna, space)
    probe = _probe(cls, room, common)
    setup = {
        "class": cls.get_task_family(),  # type: ignore[attr-defined]
        "space": room.text,
        "metric": metric,
        "direction": direction,
        "common": probe.task_id,
    }
    if name is None:
        digest = blake2b(json.dumps([setup, seed], sort_keys=True).encode(), digest_size=5).hexdigest()
        family = re.sub(r"[^\w.]", "_", str(setup["class"]))[:100]
        name = f"{family}-{digest}"
    elif not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ParameterError(
            "The name of a search becomes that of a file",
            facts={"name": repr(name)},
            hint="Use letters, digits and . , = + - _; begin with a letter or digit.",
        )
    n_workers = choose(workers, executor).n_workers
    root = os.path.abspath(root_of(probe))
    with _alone(root, name):
        study = _study(optuna, _journal(optuna, root, name) if storage is None else storage, name, direction, setup)
        if sampler is not None:
            study.sampler = sampler
            if study.get_trials(deepcopy=False):  # else it begins with the points that it began with before
                sampler.reseed_rng()
        trials = _Trials(cls, study, room, common, metric)
        while open_ones := trials.left_open(min(n_workers, n - len(trials))):
            _run_batch(trials, open_ones, workers, executor, run_options)
        while len(trials) < n and not trials.exhausted:
            batch = []
            for place in range(min(n_workers, n - len(trials))):
                if sampler is None:
                    study.sampler = _sampler(optuna, seed, len(trials) + place)
                batch.append(trials.ask())
            _run_batch(trials, batch, workers, executor, run_options)
    return Search(name, study, trials.sweep(), metric, room.distributions)


def _run_batch(trials: _Trials, batch: list[Any], workers: Any, executor: Any, options: Mapping[str, Any]) -> None:
    """Run the tasks of some trials, and tell the study what has come out."""
    made = [(number, trials.task(number, values)) for number, values in batch]
    tasks = list(dict.fromkeys(task for _, task in made if task not in trials.known))
    if tasks:
        told_how = {"execution_summary": False, **options}
        result = run(tasks, abort=False, workers=workers, executor=executor, **told_how)
        for failure in result.failures:  # of one that was to be built again the old outputs are there
            trials.known[failure.task] = None
    problems = []
    for number, task in made:
        try:
            trials.tell(number, task)
        except MetricError as error:  # the others of the batch are told first
            problems.append(error)
    if problems:
        raise problems[0]


class _Trials:
    """The trials of a study, and their tasks.

    Attributes
    ----------
    finished : dict of int to task
        By the number of the trial.
    known : dict of task to float or None
        The values of tasks; of failed ones None.
    exhausted : bool
        The sampler has no more points.
    """

    def __init__(self, cls: type, study: Any, room: _Space, common: Any, metric: str) -> None:
        self._cls, self._study, self._room, self._common, self._metric = cls, study, room, common, metric
        self.finished: dict[int, Any] = {}
        self.known: dict[Any, float | None] = {}
        self.exhausted = False
        past = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        past = [trial for trial in past if room.is_whole(trial.params)]
        entries = {_id(trial.number): room.values(trial.params) for trial in past}
        tasks = sweep(cls, entries, common=common, allow_alias=True).tasks
        for trial, task in zip(past, tasks, strict=True):
            self.finished[trial.number] = task
            self.known.setdefault(task, trial.value)

    def __len__(self) -> int:
        return len(self.finished)

    def left_open(self, most: int) -> list[tuple[int, dict[str, Any]]]:
        """Return up to `most` trials that a killed search has left; give up those that have not all of their values."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name != "RUNNING":
                continue
            if self._room.is_whole(trial.params):
                found.append((trial.number, dict(trial.params)))
            else:
                self._tell(trial.number, None)
        return found[: max(most, 0)]

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Let the study choose a new trial; return its number and values."""
        trial = self._study.ask(self._room.distributions)
        return trial.number, dict(trial.params)

    def task(self, number: int, params: Mapping[str, Any]) -> Any:
        """Return the task of a trial; one that cannot be made is a failed trial."""
        try:
            return sweep(self._cls, {_id(number): self._room.values(params)}, common=self._common).tasks[0]
        except ParameterError:
            self._tell(number, None)
            raise

    def tell(self, number: int, task: Any) -> None:
        """Tell the study what the task of a trial has come to."""
        if task not in self.known:
            self.known[task] = _value(task, self._metric) if task.complete(cascade=False) else None
        self._tell(number, self.known[task])
        self.finished[number] = task

    def _tell(self, number: int, value: float | None) -> None:
        states = plugins.need("optuna.trial", "search()").TrialState
        state = states.FAIL if value is None else states.COMPLETE
        try:
            self._study.tell(number, value, state=state, skip_if_finished=True)
        except RuntimeError:
            # Samplers that have been everywhere stop the study, which Optuna allows in its own loop only.
            if not self._study.get_trials(deepcopy=False)[number].state.is_finished():
                raise
            self.exhausted = True

    def sweep(self) -> Sweep:
        """Return the tasks of all finished trials, in the order of their numbers."""
        return sweep(
            self._cls, {_id(number): self.finished[number] for number in sorted(self.finished)}, allow_alias=True
        )


def _id(number: int) -> str:
    return f"trial_{number}"


def _value(task: Any, metric: str) -> float | None:
    """Return the metric that a complete task has saved; None for NaN."""
    try:
        saved = task.outputLoadMeta()
    except NotBuiltError:
        saved = {}
    found: Any = saved
    for part in [metric] if isinstance(saved, Mapping) and metric in saved else metric.split("."):
        if not isinstance(found, Mapping) or part not in found:
            known = [str(key) for key in saved] if isinstance(saved, Mapping) else []
            near = nearest(metric, known)
            raise MetricError(
                f"A trial has saved no metric {metric!r}",
                facts={"task": shown(task), "metrics": ", ".join(known) or "none"},
                hint=f"Did you mean {near!r}?" if near else _HOW.format(metric),
            )
        found = found[part]
    if isinstance(found, bool) or not (isinstance(found, Real) or hasattr(found, "__float__")):
        raise MetricError(
            f"The metric {metric!r} of a trial is no number",
            facts={"task": shown(task), "value": f"{found!r:.200}"},
            hint=_HOW.format(metric),
        )
    value = float(found)
    return None if isnan(value) else value


# ---- the space


class _Space:
    """Distributions by name, and what the choices among them stand for."""

    def __init__(self, optuna: Any, space: Mapping[str, Any]) -> None:
        if not isinstance(space, Mapping) or not space:
            raise ParameterError(
                "search() needs a space: names and what to choose from",
                facts={"got": f"{space!r:.200}"},
                hint='Write search(Train, {"depth": (1, 9), "lr": (1e-4, 1.0, "log"), "model": ["a", "b"]}).',
            )
        self.distributions: dict[str, Any] = {}
        self._choices: dict[str, dict[Any, Any]] = {}
        for name, given in space.items():
            self.distributions[name] = self._distribution(optuna.distributions, name, given)

    def _distribution(self, kinds: Any, name: str, given: Any) -> Any:
        if isinstance(given, kinds.BaseDistribution):
            return given
        try:
            if not isinstance(given, tuple):
                return self._categories(kinds, name, given)
            low, high, *log = given
            numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (low, high))
            if not numbers or log not in ([], ["log"]):
                raise ValueError('expected (low, high) or (low, high, "log")')
            whole = isinstance(low, int) and isinstance(high, int)
            return (kinds.IntDistribution if whole else kinds.FloatDistribution)(low, high, log=bool(log))
        except ValueError as error:
            raise ParameterError(
                f"The space of '{name}' is wrong",
                facts={"got": f"{given!r:.200}", "because": told(error)},
                hint=f'Write "{name}": (low, high), (low, high, "log"), or a list of choices.',
            ) from error

    def _categories(self, kinds: Any, name: str, given: Any) -> Any:
        axis = Axis(name, given)
        if not isinstance(given, Mapping) and all(_is_plain(value) for value in axis.values):
            return kinds.CategoricalDistribution(list(axis.values))
        texts = [axis.text_at(place) for place in range(len(axis))]
        self._choices[name] = {text: axis.value_at(place) for place, text in enumerate(texts)}
        if len(self._choices[name]) < len(texts):
            raise ValueError("two choices have the same text; give a mapping from texts to values")
        return kinds.CategoricalDistribution(texts)

    @property
    def text(self) -> dict[str, str]:
        """What the space is, for comparisons."""
        return {
            name: " ".join([str(kind), *[f"{text}={_identity(value)}" for text, value in self._named(name)]])
            for name, kind in sorted(self.distributions.items())
        }

    def _named(self, name: str) -> Iterable[tuple[str, Any]]:
        return self._choices.get(name, {}).items()

    def is_whole(self, params: Mapping[str, Any]) -> bool:
        """Return whether there is a value for each name."""
        return set(params) >= set(self.distributions)

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that the choices of a trial stand for."""
        return {
            name: self._choices[name][params[name]] if name in self._choices else params[name]
            for name in self.distributions
        }

    def ends(self) -> dict[str, list[Any]]:
        """Return some values of each name: the ends, or all choices."""
        found = {}
        for name, kind in self.distributions.items():
            choices = list(self._choices.get(name, {}).values()) or list(getattr(kind, "choices", ()))
            found[name] = choices or [kind.low, kind.high]
        return found


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str)


def _identity(value: Any) -> str:
    return value.task_id if isinstance(value, luigi.Task) else repr(value)


def _probe(cls: type, room: _Space, common: Any) -> Any:
    """Return a task of the space, so that a wrong name or value comes out before anything is written."""
    ends = room.ends()
    sweep(cls, product(**ends), common=common, allow_alias=True)
    return sweep(cls, Listed([{name: values[0] for name, values in ends.items()}]), common=common).tasks[0]


def _check(cls: Any, metric: Any, n: Any, direction: Any, options: Mapping[str, Any]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, TaskData)):
        raise DeclarationError(
            "search() needs a class of tasks that save something",
            facts={"got": repr(cls)},
            hint='Write search(Train, {"depth": (1, 9)}).',
        )
    wrong = {
        "metric": (metric, "a name", isinstance(metric, str) and metric),
        "n": (n, "a whole number, 1 or more", isinstance(n, int) and not isinstance(n, bool) and n > 0),
        "direction": (direction, " or ".join(_DIRECTIONS), direction in _DIRECTIONS),
    }
    for name, (value, wanted, fits) in wrong.items():
        if not fits:
            raise ParameterError(f"search(): '{name}' does not fit", facts={"got": repr(value)}, hint=f"Give {wanted}.")
    for name in _NOT_HERE:
        if name in options:
            raise ParameterError(
                f"search() does not take the option '{name}' of run()",
                facts={"got": repr(options[name])},
                hint="A search runs what it has chosen and goes on after failures.",
            )


# ---- the study


def _sampler(optuna: Any, seed: int, place: int) -> Any:
    """Return the sampler of one trial. A seed for each: what is chosen does not depend on where a search was killed."""
    mixed = int.from_bytes(blake2b(f"{seed} {place}".encode(), digest_size=4).digest(), "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older versions call the option experimental
        return optuna.samplers.TPESampler(seed=mixed, constant_liar=True)


def _study(optuna: Any, storage: Any, name: str, direction: str, setup: Mapping[str, Any]) -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))  # it says that there is a study
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    finally:
        optuna.logging.set_verbosity(level)
    begun = study.user_attrs.get("d6tpipe")
    if begun is None:
        study.set_user_attr("d6tpipe", dict(setup))
    elif begun != setup:
        differs = [key for key in setup if begun.get(key) != setup[key]]
        raise ParameterError(
            f"The search {name!r} was begun otherwise",
            facts={key: f"then {begun.get(key)}, now {setup[key]}" for key in differs},
            hint="Use another name, or leave it out.",
        )
    return study


def _journal(optuna: Any, root: str, name: str) -> Any:
    """Return the storage of a search; its file is made if it is not there."""
    journal = plugins.need("optuna.storages.journal", "search()")
    path = os.path.join(root, ".d6tpipe", "searches", f"{name}.log")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _mend(path)
        return optuna.storages.JournalStorage(journal.JournalFileBackend(path, lock_obj=_NoLock()))
    except OSError as error:
        raise StorageError(
            "The file of a search cannot be opened",
            facts={"file": path, "reason": error.strerror or error},
            hint="Check who may write there, or keep the study elsewhere: search(..., storage=...).",
        ) from error
    except (ValueError, KeyError, TypeError) as error:  # what Optuna makes of a line that it did not write
        raise StorageError(
            "The file of a search is damaged",
            facts={"file": path, "because": told(error)},
            hint="Delete it and search again: what is built already is not built again.",
        ) from error


def _mend(path: str) -> None:
    """Cut off a line that a killed process has not finished; the next one would be written behind it."""
    try:
        with open(path, "rb+") as file:
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
    except FileNotFoundError:
        pass


class _NoLock:
    """In place of Optuna's lock of the file, which outlives a killed process: the search is locked as a whole."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


@contextmanager
def _alone(root: str, name: str) -> Iterator[None]:
    """Hold a search of a data folder; wait while another process or thread does. A killed one holds nothing."""
    locks, key = store_at(root).locks, f"search {name}"
    while not locks.acquire(key):
        locks.wait([key])
    try:
        yield
    finally:
        locks.release([key])
