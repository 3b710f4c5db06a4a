"""search(): finds what is best, survives a kill, goes on after failures, and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import d6tpipe
from d6tpipe import search
from d6tpipe.binding import LOADING
from d6tpipe.errors import GraphError, ParameterError, PluginError, StorageError
from d6tpipe.tables import MetricError

optuna = pytest.importorskip("optuna")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
RAN: list[Any] = []


class Data(d6tpipe.tasks.TaskJson):
    rows = d6tpipe.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.rows)


class Hill(d6tpipe.tasks.TaskJson):
    data = d6tpipe.TaskInstanceParameter(Data, default=Data())
    x = d6tpipe.FloatParameter(default=0.0)
    k = d6tpipe.IntParameter(default=0)
    kind = d6tpipe.Parameter(default="good")

    def run(self) -> None:
        RAN.append(self)
        if self.kind == "broken" or getattr(self, "broken", False):
            raise ValueError("broken")
        score = -((self.x - 2) ** 2) - (self.k - 3) ** 2 - (self.data.outputLoad() - 1) ** 2
        self.saveMeta({"score": score, "parts": {"x": self.x}, "text": "no number", "none": float("nan")})
        self.save(score)


@pytest.fixture(autouse=True)
def quiet() -> None:
    RAN.clear()
    d6tpipe.settings.stale = "ignore"  # the bodies read RAN, which changes


def searches() -> list[str]:
    return sorted(os.listdir(d6tpipe.settings.dirpath / ".d6tpipe" / "searches"))


# ---- what is found


def test_the_maximum_of_a_small_function_is_found() -> None:
    found = search(Hill, {"x": (-5.0, 5.0), "k": (0, 6)}, n=40)
    assert found.best_value > -0.3 and found.best.k == 3 and abs(found.best.x - 2) < 0.6
    assert found.best.outputLoad() == found.best_value == found.study.best_value
    assert list(found.tasks) == [f"trial_{number}" for number in range(40)]
    assert len(RAN) == len(set(found.tasks.values()))
    frame = found.table()
    assert list(frame.columns) == ["trial", "x", "k", "value", "state"] and set(frame["state"]) == {"complete"}
    assert list(frame["trial"]) == list(found.tasks) and frame["value"].max() == found.best_value
    assert "best trial_" in repr(found)
    assert d6tpipe.run(found.tasks).counts == {"fresh": len(RAN) + 1}  # with the data


def test_the_minimum_is_found_of_a_metric_in_a_dict() -> None:
    found = search(Hill, {"x": (-1.0, 1.0)}, "parts.x", n=15, direction="minimize")
    assert found.best_value == found.best.x == min(task.x for task in found.tasks.values()) < -0.5


def test_all_kinds_of_values_can_be_chosen() -> None:
    data = d6tpipe.sweep(Data, {"one": {"rows": 1}, "two": {"rows": 2}})
    space = {"x": (0.01, 10, "log"), "k": optuna.distributions.IntDistribution(0, 6, step=3), "data": data}
    tasks = search(Hill, space, n=12).tasks.values()
    assert {task.k for task in tasks} <= {0, 3, 6} and {task.data.rows for task in tasks} == {1, 2}
    assert all(0.01 <= task.x <= 10 for task in tasks)
    dotted = search(Hill, {"data.rows": [1, 2, 3], "k": (3, 3)}, n=8, common={"x": 2.0})
    assert dotted.best is Hill(data=Data(rows=1), k=3, x=2.0) and dotted.best_value == 0


def test_a_seed_decides_what_is_chosen() -> None:
    def xs(seed: int) -> list[float]:
        return [task.x for task in search(Hill, {"x": (0.0, 1.0)}, n=4, seed=seed).tasks.values()]

    first = xs(1)
    assert len(set(first)) == 4 and xs(2) != first and len(searches()) == 2
    (d6tpipe.settings.dirpath / ".d6tpipe" / "searches" / searches()[0]).unlink()
    (d6tpipe.settings.dirpath / ".d6tpipe" / "searches" / searches()[0]).unlink()
    assert xs(1) == first


# ---- what runs, and what does not


def test_equal_points_run_once() -> None:
    found = search(Hill, {"k": [1, 2]}, n=10)
    assert len(found.tasks) == 10 and len(RAN) == 2
    assert [found.study.trials[number].value for number in range(10)] == [
        -4 - (task.k - 3) ** 2 for task in found.tasks.values()
    ]


def test_n_counts_all_trials_and_a_second_search_goes_on() -> None:
    space = {"x": (0.0, 1.0)}
    first = search(Hill, space, n=3)
    assert len(RAN) == 3
    again = search(Hill, space, n=3)
    assert len(RAN) == 3 and again.best is first.best
    more = search(Hill, space, n=5)
    assert len(RAN) == 5 and list(more.tasks.values())[:3] == list(first.tasks.values())
    assert len(search(Hill, space, n=2).tasks) == 5 and len(RAN) == 5


def test_a_failed_trial_counts_and_the_search_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    found = search(Hill, {"kind": ["good", "broken"], "x": (0.0, 4.0)}, n=12)
    states = [trial.state.name for trial in found.study.trials]
    assert len(found.tasks) == 12 == len(RAN) and set(states) == {"COMPLETE", "FAIL"}
    assert found.best.kind == "good"
    assert [task.kind == "broken" for task in found.tasks.values()] == [state == "FAIL" for state in states]
    assert len(search(Hill, {"kind": ["good", "broken"], "x": (0.0, 4.0)}, n=12).tasks) == len(RAN)
    frame = found.table()
    assert list(frame["state"] == "failed") == list(frame["value"].isna()) == list(frame["kind"] == "broken")


def test_if_all_have_failed_there_is_no_best() -> None:
    found = search(Hill, {"kind": ["broken"]}, n=3)
    assert len(found.tasks) == 3 and len(RAN) == 1 and "none has score" in repr(found)
    with pytest.raises(MetricError, match="No trial of the search"):
        found.best
    with pytest.raises(MetricError):
        found.best_value


def test_a_value_that_is_nan_is_a_failed_trial() -> None:
    found = search(Hill, {"k": [1, 2, 3]}, "none", n=2)
    assert {trial.state.name for trial in found.study.trials} == {"FAIL"}


@pytest.mark.parametrize(("metric", "words"), [("scor", "'score'"), ("parts.y", "parts"), ("text", "'no number'")])
def test_a_missing_metric_is_an_error_that_names_those_there_are(metric: str, words: str) -> None:
    for _ in range(2):  # the trial stays open, its task is not run again
        with pytest.raises(MetricError, match=words):
            search(Hill, {"k": (0, 3)}, metric, n=5)
        assert len(RAN) == 1


def test_a_task_that_fails_when_it_is_built_again_is_a_failed_trial() -> None:
    assert d6tpipe.run(Hill(k=1)).ok
    Hill.version = 2  # type: ignore[attr-defined]
    Hill.broken = True  # type: ignore[attr-defined]
    try:
        found = search(Hill, {"k": [1]}, n=1, stale="rerun")
    finally:
        del Hill.version, Hill.broken  # type: ignore[attr-defined]
    assert [trial.state.name for trial in found.study.trials] == ["FAIL"] and Hill(k=1).complete()


def test_a_sampler_that_has_been_everywhere_ends_the_search() -> None:
    sampler = optuna.samplers.GridSampler({"k": [1, 2, 3]})
    found = search(Hill, {"k": [1, 2, 3]}, n=10, sampler=sampler)
    assert {1, 2, 3} == {task.k for task in found.tasks.values()} and 3 == len(found.tasks) == len(RAN)


def test_the_study_is_kept_where_the_tasks_are_or_where_one_says(isolated: Path) -> None:
    class Elsewhere(Hill):
        path = "elsewhere"

    found = search(Elsewhere, {"k": [1, 2]}, n=2)
    assert (isolated / "elsewhere" / ".d6tpipe" / "searches" / f"{found.name}.log").exists()
    storage = optuna.storages.InMemoryStorage()
    found = search(Hill, {"k": [1, 2]}, n=2, name="mine", storage=storage)
    assert 2 == len(optuna.load_study(study_name="mine", storage=storage).trials)
    assert not (d6tpipe.settings.dirpath / ".d6tpipe" / "searches").exists()


def test_a_damaged_study_is_said_to_be_and_named() -> None:
    search(Hill, {"k": [1, 2]}, n=2)
    log = d6tpipe.settings.dirpath / ".d6tpipe" / "searches" / searches()[0]
    log.write_bytes(b"nonsense\n" + log.read_bytes())
    with pytest.raises(StorageError, match=r"damaged[\s\S]*\.log[\s\S]*Delete it"):
        search(Hill, {"k": [1, 2]}, n=3)
    log.unlink()
    log.mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        search(Hill, {"k": [1, 2]}, n=3)


def test_a_module_that_searches_when_a_worker_imports_it_does_not_get_far() -> None:
    token = LOADING.set(True)
    try:
        with pytest.raises(GraphError, match="__main__"):
            search(Hill, {"k": [1, 2]}, n=2)
    finally:
        LOADING.reset(token)


def test_a_sampler_of_ones_own_goes_on_with_new_points() -> None:
    def begin(n: int) -> Any:
        return search(Hill, {"x": (0.0, 1.0)}, n=n, sampler=optuna.samplers.RandomSampler(seed=1))

    assert len(begin(3).tasks) == 3
    assert len(set(begin(6).tasks.values())) == 6 == len(RAN)


# ---- several at once


def test_two_workers_run_two_trials_at_once(tmp_path: Path) -> None:
    here = tmp_path / "met"
    here.mkdir()

    class Meet(d6tpipe.tasks.TaskJson):
        x = d6tpipe.FloatParameter()

        def run(self) -> None:
            import time

            (here / str(self.x)).touch()
            limit = time.monotonic() + 20
            while len(os.listdir(here)) % 2 and time.monotonic() < limit:
                time.sleep(0.01)
            self.saveMeta({"score": self.x, "met": time.monotonic() < limit})
            self.save(self.x)

    found = search(Meet, {"x": (0.0, 1.0)}, n=6, workers=2, executor="threads")
    assert len(found.tasks) == 6 and all(task.outputLoadMeta()["met"] for task in found.tasks.values())
    assert found.best_value == max(task.x for task in found.tasks.values())


def test_two_processes_build_trials(isolated: Path, run_python: Callable[..., Any]) -> None:
    write_module(isolated)
    done = run_python(
        "-c", "import work; found = work.begin(n=6, workers=2); print(len(found.tasks), found.best_value < 0)"
    )
    assert "6 True" in done.stdout
    assert len((isolated / "ran.txt").read_text().splitlines()) == 6


# ---- a kill


def write_module(folder: Path) -> None:
    (folder / "work.py").write_text(
        textwrap.dedent(
            """
            import os
            import d6tpipe

            d6tpipe.set_dir("killed")

            class Hill(d6tpipe.tasks.TaskJson):
                x = d6tpipe.FloatParameter()

                def run(self):
                    with open("ran.txt", "a") as file:
                        print(self.x, file=file)
                    with open("ran.txt") as file:
                        if len(file.readlines()) == int(os.environ.get("KILL", "0")):
                            os._exit(9)
                    self.saveMeta({"score": -(self.x - 2) ** 2})
                    self.save(self.x)

            def begin(**options):
                return d6tpipe.search(Hill, {"x": (-5.0, 5.0)}, **options)
            """
        )
    )


def killable(folder: Path, kill: int, n: int) -> subprocess.CompletedProcess[str]:
    code = f"import work; found = work.begin(n={n}); print(*[t.x for t in found.tasks.values()], found.best_value)"
    environment = {**os.environ, "KILL": str(kill), "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_a_killed_search_goes_on_without_repeating_a_trial(isolated: Path, tmp_path: Path) -> None:
    write_module(isolated)
    assert killable(isolated, 5, 14).returncode == 9
    ran = (isolated / "ran.txt").read_text().split()
    assert len(ran) == 5
    resumed = killable(isolated, 0, 14)
    assert resumed.returncode == 0, resumed.stderr
    later = (isolated / "ran.txt").read_text().split()[5:]
    assert later[0] == ran[4]  # the one that was killed comes first
    assert len(later) == 10 and len({*ran, *later}) == 14  # and each other runs once

    other = tmp_path / "undisturbed"
    other.mkdir()
    write_module(other)
    assert killable(other, 0, 14).stdout == resumed.stdout  # the same trials and the same best as without a kill


def test_two_processes_with_the_same_search_run_each_trial_once(isolated: Path) -> None:
    write_module(isolated)
    code = "import work; found = work.begin(n=8); print(*[task.x for task in found.tasks.values()])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(isolated)])}
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=isolated, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] and len(said[0].split()) == 8
    assert (isolated / "ran.txt").read_text().split() == said[0].split()


def test_a_kill_in_the_middle_of_a_line_costs_that_line_only() -> None:
    space = {"x": (0.0, 1.0)}
    search(Hill, space, n=3)
    log = d6tpipe.settings.dirpath / ".d6tpipe" / "searches" / searches()[0]
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in range(2, len(lines)):  # also between the choice of a trial and its values
        RAN.clear()
        log.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        found = search(Hill, space, n=3)
        assert len(found.tasks) == 3 and len(RAN) == 0, kept  # equal points: all outputs are there


# ---- what is wrong


@pytest.mark.parametrize(
    ("space", "options", "words"),
    [
        ({}, {}, "needs a space"),
        ({"y": (0, 1)}, {}, "no parameter 'y'"),
        ({"k": (0.5, 1.5)}, {}, "does not fit"),
        ({"x": (1, 0)}, {}, "space of 'x'"),
        ({"x": (0, 1, "lin")}, {}, "low, high"),
        ({"x": (1,)}, {}, "low, high"),
        ({"x": ("a", "b")}, {}, "low, high"),
        ({"x": (0.0, 1.0, "log")}, {}, "space of 'x'"),
        ({"kind": []}, {}, "space of 'kind'"),
        ({"kind": "good"}, {}, "must be a list"),
        ({"data.row": [1]}, {}, "no parameter 'row'"),
        ({"k": (0, 1)}, {"n": 0}, "'n' does not fit"),
        ({"k": (0, 1)}, {"direction": "up"}, "maximize or minimize"),
        ({"k": (0, 1)}, {"metric": ""}, "'metric' does not fit"),
        ({"k": (0, 1)}, {"name": "../other"}, "that of a file"),
        ({"k": (0, 1)}, {"abort": True}, "option 'abort'"),
        ({"k": (0, 1)}, {"common": {"z": 1}}, "no parameter 'z'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(space: Any, options: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        search(Hill, space, **options)
    assert not RAN and not (d6tpipe.settings.dirpath / ".d6tpipe" / "searches").exists()


def test_a_name_stands_for_one_search() -> None:
    search(Hill, {"k": (0, 3)}, n=2, name="mine")
    assert searches() == ["mine.log"]
    with pytest.raises(ParameterError, match="then maximize, now minimize"):
        search(Hill, {"k": (0, 3)}, n=2, name="mine", direction="minimize")
    with pytest.raises(ParameterError, match="begun otherwise"):
        search(Hill, {"k": (0, 4)}, n=2, name="mine")


def test_without_optuna_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(PluginError, match=r"d6tpipe\[search\]"):
        search(Hill, {"k": (0, 1)})
