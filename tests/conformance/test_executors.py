"""Every executor against one suite: the same flow, the same results, records, events and failures."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import d6tpipe
from d6tpipe.binding import LOADING
from d6tpipe.errors import BuildError, CrashError, TaskTimeoutError
from d6tpipe.machine import user_name
from d6tpipe.storage.files import temporary_owner

FLOW = """
import logging, os, signal, sys, threading, time, warnings
import d6tpipe, luigi
from d6tpipe.errors import TaskCancelled

def scale(values, by):
    return [value * by for value in values]

class Raw(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        self.save(scale(range(self.i), 2))

class Stops(d6tpipe.tasks.TaskPickle):
    def run(self):
        breakpoint()

class Held(d6tpipe.tasks.TaskCache):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        self.save({"held": self.i})

class Two(d6tpipe.tasks.TaskPickle):
    persist = ["a", "b"]
    def requires(self):
        return {"raw": [Raw(i=i) for i in range(4)], "held": Held(i=3)}
    def run(self):
        note(self)
        self.save({"a": self.inputLoad(task="raw"), "b": self.inputLoad(task="held")})
        self.saveMeta({"rows": 4})

class Nearby(d6tpipe.tasks.TaskPickle):
    path = "../nearby"
    def requires(self):
        return Held(i=9)
    def run(self):
        self.save(self.inputLoad())

class Mutual(d6tpipe.tasks.TaskPickle):
    me = d6tpipe.Parameter()
    def requires(self):
        return Mutual
    def run(self):
        note(self)
        other = "b" if self.me == "a" else "a"
        for _ in range(200):  # until the other one has begun, or nobody else can
            if any(name.startswith(f"Mutual_{other}") for name in os.listdir(LOG)):
                break
            time.sleep(0.01)
        self.save(self.input(me=other).load())

class Grows(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        first = yield Raw(i=5)
        others = yield [Raw(i=6), Held(i=8)]
        self.save([first.load(), others[0].load(), others[1].load()])

class Passing(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    transient = "remove"
    def requires(self):
        return Raw(i=self.i)
    def run(self):
        note(self)
        self.save(len(self.inputLoad()))

class PassingHeld(d6tpipe.tasks.TaskCache):
    transient = "remove"
    def run(self):
        note(self)
        self.save(5)

class Uses(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return [Passing(i=1), Passing(i=2), PassingHeld()]
    def run(self):
        note(self)
        more = yield Passing(i=3)
        self.save([*self.inputLoad(), more.load()])

class BindsPassing(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Passing
    def run(self):
        note(self)
        self.save(self.input(i=2).load())

class Yields(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        yield Wrong()
        self.save(1)

class All(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield [Two(), Grows()]

class Wrong(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        raise ValueError("the value [1] is wrong")

class AfterWrong(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Wrong()
    def run(self):
        note(self)

class Special(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.held = code, threading.Lock()

class Strange(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        raise Special(7, "very special")

class Leaves(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        sys.exit(3)

class Speaks(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    fail = d6tpipe.BoolParameter(default=False)
    def run(self):
        print("out", self.i)
        print("err", self.i, file=sys.stderr)
        warnings.warn("warned")
        logging.getLogger("mine").warning("logged %s", self.i)
        os.system("echo from a child")
        if self.fail:
            raise ValueError("after speaking")
        self.save(self.i)

class OneAtATime(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    resources = {"db": 1}
    def run(self):
        held = os.path.join(LOG, "held")
        os.close(os.open(held, os.O_CREAT | os.O_EXCL))
        time.sleep(0.01)
        os.unlink(held)
        self.save(self.i)

class Dies(d6tpipe.tasks.TaskPickle):
    def run(self):
        note(self)
        print("my last words")
        os._exit(5)

class Hangs(d6tpipe.tasks.TaskPickle):
    worker_timeout = 1
    def run(self):
        note(self)
        threading.Event().wait(600)

class Binds(d6tpipe.tasks.TaskPickle):
    fail = d6tpipe.BoolParameter(default=False)
    def requires(self):
        return {"raw": Raw, "held": Held, "first": Raw(i=1)}
    def run(self):
        note(self)
        one = self.input("raw", i=5).load()
        more = [target.load() for target in self.inputs([{"i": 6}, {"i": 8}], "held")]
        if self.fail:
            self.input(Wrong)
        self.save([self.inputLoad(task="first"), one, *more])

class Meets(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        end = time.monotonic() + (0.2 if os.environ.get("ALONE") else 20)
        while len([name for name in os.listdir(LOG) if name.startswith("Meets")]) < 2:
            if time.monotonic() > end:
                raise RuntimeError("nobody else came")
            time.sleep(0.01)
        self.save(self.i)

class BindsTogether(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Meets
    def run(self):
        self.save([target.load() for target in self.inputs([{"i": 1}, {"i": 2}])])

class BindsNothing(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Raw
    def run(self):
        self.save(self.inputs([]))

class Members(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield [Held(i=1), Held(i=2)]
        yield Raw(i=2)

class AfterMembers(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Members()
    def run(self):
        note(self)
        self.save(self.inputLoad())

class Unpicklable(d6tpipe.tasks.TaskCache):
    def run(self):
        note(self)
        self.save(threading.Lock())

class Flaky(d6tpipe.tasks.TaskPickle):
    retry_count = 3
    def run(self):
        note(self)
        if attempts(self) < 3:
            raise ConnectionError("not yet")
        self.save("at last")

class FlakyElsewhere(Flaky):
    retry_on = (KeyError, "timeout")

class Plain(luigi.Task):
    def output(self):
        return luigi.LocalTarget(os.path.join(LOG, "plain.txt"))
    def run(self):
        with self.output().open("w") as out:
            out.write("in a file of a plain task")

class Litters(d6tpipe.tasks.TaskPickle):
    fail = d6tpipe.BoolParameter(default=False)
    hang = d6tpipe.BoolParameter(default=False)
    die = d6tpipe.BoolParameter(default=False)
    @property
    def worker_timeout(self):
        return 1 if self.hang else None
    def requires(self):
        return Plain()
    def run(self):
        path = self.output().path
        (path.parent / "extra.txt").write_text("beside")
        with open("here.txt", "w") as out:
            out.write("in the working folder")
        if self.fail or self.hang or self.die:
            with open(os.path.join(LOG, self.task_id), "w") as log:
                log.write(str(path.parent / "extra.txt"))
            path.write_bytes(b"half")
        if self.hang:
            threading.Event().wait(600)
        if self.die:
            os._exit(3)
        if self.fail:
            raise ValueError("after littering")
        with self.input().open() as text:
            self.saveMeta({"found": text.read()})
        self.save(1)

class Writes(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        (self.output().path.parent / "mine.txt").write_text("side")
        if self.i == 0:
            raise ValueError("the first")
        self.save(self.i)

class Folder(d6tpipe.tasks.TaskData):
    def run(self):
        path = self.output().path
        path.mkdir()
        for name in ("a", "b"):
            (path / name).write_text(name)

class Alone(d6tpipe.tasks.TaskPickle):
    isolate = True
    def run(self):
        self.save(os.getpid())

class Saves(d6tpipe.tasks.TaskPickle):
    worker_timeout = 1
    resumable = True
    retry_count = 1
    def run(self):
        try:
            threading.Event().wait(600)
        except TaskCancelled as asked:
            with open(os.path.join(LOG, "saves"), "w") as log:
                log.write(str(asked))

class Older(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        self.save(10 * self.i)
        self.saveMeta({"of": self.i})

@d6tpipe.renamed_from("Older")
class Newer(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        self.save(10 * self.i)
        self.saveMeta({"of": self.i})

@d6tpipe.migrates_from("Older", lambda old: {"number": old["i"]})
class Converted(d6tpipe.tasks.TaskPickle):
    number = d6tpipe.IntParameter()
    def run(self):
        note(self)
        self.save(10 * self.number)

class UsesFormer(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return {"newer": Newer(i=1), "converted": Converted(number=2), "built": Newer(i=3)}
    def run(self):
        note(self)
        found = self.inputLoad()
        found["meta"] = self.metaLoad()["newer"]
        self.save(found)

class Patient(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        note(self)
        while not os.path.exists(os.path.join(LOG, f"go-{self.i}")):
            time.sleep(0.005)
        self.save(self.i)

class Trains(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    waits = d6tpipe.BoolParameter(default=False)
    fail = d6tpipe.BoolParameter(default=False)
    kill = d6tpipe.BoolParameter(default=False)
    def run(self):
        for step in range(3):
            self.job.emit("step", i=self.i, step=step, where=self.job.dir / str(step))
        self.job.emit("last", run_id=self.job.run_id)
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.waits:
            wait_for(os.path.join(LOG, f"seen_{self.i}"))
        if self.fail:
            raise ValueError("after emitting")
        self.save(self.i)

class TrainsAgain(d6tpipe.tasks.TaskPickle):
    retry_count = 2
    def run(self):
        self.job.emit("step", step=0)
        if self.job.attempt == 1:
            raise ValueError("at once")
        self.job.emit("step", step=1)
        self.save(1)

class TrainsOn(TrainsAgain):
    resumable = True

class TrainsAndAsks(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.job.emit("step", step=0)
        yield Raw(i=1)
        self.job.emit("step", step=1)
        yield Raw(i=2)
        self.job.emit("step", step=2)
        self.save(1)

class TrainsBelow(d6tpipe.tasks.TaskPickle):
    def requires(self):
        return Trains
    def run(self):
        self.save(self.input(i=7).load())

def wait_for(path):
    end = time.monotonic() + 60
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise RuntimeError("nobody was told while the body ran")
        time.sleep(0.01)

def note(task):
    with open(os.path.join(LOG, task.task_id), "a") as log:
        log.write(f"{os.getpid()}\\n")

def attempts(task):
    with open(os.path.join(LOG, task.task_id)) as log:
        return len(log.readlines())
"""


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The flow as a module that workers can import."""
    (tmp_path / "log").mkdir()
    name = f"flow_{next(_numbers)}"  # workers that are kept have imported those of other tests
    (tmp_path / f"{name}.py").write_text(f"LOG = {str(tmp_path / 'log')!r}\n{FLOW}")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


_numbers = itertools.count(1)


def bodies(flow: Any) -> Counter[str]:
    """Return how many times each family's bodies ran."""
    found: Counter[str] = Counter()
    for name in os.listdir(flow.LOG):
        found[name.partition("_")[0]] += len(Path(flow.LOG, name).read_text().split())
    return found


def run(tasks: Any, executor: Any, **options: Any) -> Any:
    return d6tpipe.run(tasks, workers=2, executor=executor, **{"abort": False, **options})


def expected() -> dict[str, Any]:
    raw = [[2 * value for value in range(i)] for i in range(7)]
    return {"a": raw[:4], "b": {"held": 3}, "grows": [raw[5], raw[6], {"held": 8}]}


def test_the_same_flow_gives_the_same_results(flow: Any, executor: Any) -> None:
    result = run([flow.Two(), flow.Grows()], executor)
    assert result.ok, result.failures
    found = flow.Two().outputLoad(as_dict=True)
    assert {**found, "grows": flow.Grows().outputLoad()} == expected()
    assert flow.Two().outputLoadMeta() == {"rows": 4}
    assert flow.Held(i=3).outputLoad() == {"held": 3}
    restarted = executor not in ("serial", "threads", "processes")  # these keep a body that waits
    grows = 3 if restarted else 1
    assert bodies(flow) == {"Raw": 6, "Held": 2, "Two": 1, "Grows": grows}


def test_transient_outputs_are_removed_and_built_again_only_when_needed(flow: Any, executor: Any) -> None:
    passing = [flow.PassingHeld(), *[flow.Passing(i=i) for i in (1, 2, 3)]]
    result = run([flow.Uses(), flow.BindsPassing()], executor)
    assert result.ok, result.failures
    assert flow.Uses().outputLoad() == [1, 2, 5, 3]
    assert flow.BindsPassing().outputLoad() == 2
    assert not any(task.complete() for task in passing)
    before = bodies(flow)
    result = run([flow.Uses(), flow.BindsPassing()], executor, stale="rerun")
    assert result.counts.keys() == {"fresh"}
    assert bodies(flow) == before
    flow.BindsPassing().reset(confirm=False)
    assert run([flow.Uses(), flow.BindsPassing()], executor, stale="rerun").ok
    assert bodies(flow)["Passing"] == before["Passing"] + 1
    assert not any(task.complete() for task in passing)
    assert run([flow.Uses(), flow.Passing(i=1)], executor).ok
    assert [task.complete() for task in passing] == [False, True, False, False]


def test_relative_data_folders_are_those_of_the_caller(flow: Any, executor: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    os.chdir(tmp_path / "here")
    d6tpipe.set_dir("relative")
    assert run([flow.Two(), flow.Nearby()], executor).ok
    assert flow.Two().outputLoad(as_dict=True)["b"] == {"held": 3} == d6tpipe.cache.data[flow.Held(i=3).output().path]
    assert flow.Nearby().outputLoad() == {"held": 9}
    assert {path.name for path in Path(tmp_path).iterdir() if path.is_dir()} >= {"here", "nearby"}
    assert d6tpipe.run([flow.Two(), flow.Nearby()], stale="rerun", dry_run=True).counts.keys() == {"fresh"}


def test_a_second_run_builds_nothing(flow: Any, executor: Any) -> None:
    run(flow.All(), executor, abort=True)
    before = bodies(flow)
    result = run(flow.All(), executor, stale="rerun")
    assert result.ok
    assert bodies(flow) == before


def test_records_are_those_of_a_serial_run(flow: Any, executor: Any, tmp_path: Path) -> None:
    found = []
    for where, name in ((tmp_path / "one", "serial"), (tmp_path / "two", executor)):
        d6tpipe.set_dir(where)
        d6tpipe.cache.data.clear()
        run([flow.Two(), flow.Grows()], name, abort=True)
        table = d6tpipe.catalog()
        columns = [column for column in ("task", "family", "state", "stage", "output", "path") if column in table]
        found.append(table[columns].astype(str).sort_values(columns).values.tolist())
        assert d6tpipe.run([flow.Two(), flow.Grows()], stale="rerun", dry_run=True).counts.keys() == {"fresh"}
    assert found[0] == found[1]


def test_each_event_is_told_once_here(flow: Any, executor: Any) -> None:
    told: Counter[tuple[str, str]] = Counter()
    threads = set()

    def callback(event: Any) -> None:
        told[str(event.kind), event.task.task_id] += 1
        threads.add((os.getpid(), threading.get_ident()))

    run([flow.Two(), flow.Grows(), flow.AfterWrong()], executor, callbacks=[callback])
    assert set(told.values()) == {1}
    kinds = Counter(kind for kind, _ in told)
    assert kinds == {"started": 11, "completed": 10, "failed": 1, "skipped": 1}
    assert threads == {(os.getpid(), threading.get_ident())}


def test_a_failure_is_told_in_full_and_stops_only_what_needs_it(flow: Any, executor: Any) -> None:
    result = run([flow.AfterWrong(), flow.Raw(i=2)], executor)
    assert {str(state) for state in result.states.values()} == {"failed", "upstream_failed", "built"}
    (failure,) = result.failures
    assert isinstance(failure.error, ValueError) and str(failure.error) == "the value [1] is wrong"
    assert 'raise ValueError("the value [1] is wrong")' in failure.traceback
    assert "d6tpipe" not in failure.traceback.replace("d6tpipe.", "").split(f"{flow.__name__}.py")[0].split("File")[-1]
    with pytest.raises(BuildError, match="the value"):
        run(flow.AfterWrong(), executor, abort=True)


def test_an_exception_that_cannot_travel_is_told_all_the_same(flow: Any, executor: Any) -> None:
    (failure,) = run(flow.Strange(), executor).failures
    assert "very special" in str(failure.error)
    assert "Special" in failure.traceback


def test_what_a_body_asks_for_and_does_not_get_stops_it(flow: Any, executor: Any) -> None:
    result = run(flow.Yields(), executor)
    assert {task.task_family: str(state) for task, state in result.states.items()} == {
        "Yields": "upstream_failed",
        "Wrong": "failed",
    }


def test_what_a_body_binds_is_built_while_it_goes_on(flow: Any, executor: Any, remote: bool) -> None:
    told: Counter[tuple[str, str]] = Counter()
    result = run(flow.Binds(), executor, callbacks=[lambda event: told.update([(str(event.kind), repr(event.task))])])
    assert result.ok, result.failures
    assert flow.Binds().outputLoad() == [[0], [0, 2, 4, 6, 8], {"held": 6}, {"held": 8}]
    began = 3 if remote else 1  # a worker that does not see the data asks, and begins again
    assert bodies(flow) == {"Binds": began, "Raw": 2, "Held": 2}
    assert {str(state) for state in result.states.values()} == {"built"} and len(result.states) == 5
    assert set(told.values()) == {1} and len(told) == 10
    assert run(flow.Binds(), executor, stale="rerun").counts.keys() == {"fresh"}
    run(flow.Raw(i=5), executor, forced_all=True)  # comes out the same
    assert run(flow.Binds(), executor, stale="rerun").ok
    assert bodies(flow)["Binds"] == began
    flow.Raw(i=5).save([9])  # what it has bound counts
    assert run(flow.Binds(), executor, stale="rerun").ok
    assert flow.Binds().outputLoad()[1] == [0, 2, 4, 6, 8]


def test_what_a_body_binds_may_be_wanted_for_itself(flow: Any, executor: Any) -> None:
    result = run([flow.Binds(), flow.Raw(i=5), flow.Held(i=6), flow.Raw(i=8)], executor)
    assert result.ok, result.failures
    assert flow.Binds().outputLoad() == [[0], [0, 2, 4, 6, 8], {"held": 6}, {"held": 8}]
    again = run([flow.Binds(), flow.Raw(i=5), flow.Held(i=6), flow.Raw(i=8)], executor, stale="rerun", dry_run=True)
    assert again.counts.keys() == {"fresh"}
    assert run(flow.BindsNothing(), executor).ok


def test_members_of_an_aggregator_reach_the_worker(flow: Any, executor: Any) -> None:
    result = run(flow.AfterMembers(), executor)
    assert result.ok, result.failures
    assert flow.AfterMembers().outputLoad() == [{"held": 1}, {"held": 2}, [0, 2]]


def test_what_a_body_binds_together_is_built_together(
    flow: Any, executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if executor == "serial":
        monkeypatch.setenv("ALONE", "yes")
    result = run(flow.BindsTogether(), executor)
    if executor == "serial":
        assert "nobody else came" in str(result.failures[0].error)
    else:
        assert result.ok, result.failures


def test_a_failure_of_what_a_body_binds_is_its_own(flow: Any, executor: Any, remote: bool) -> None:
    result = run(flow.Binds(fail=True), executor)
    assert not result.ok
    if remote:
        assert str(result.states[flow.Binds(fail=True)]) == "upstream_failed"
        assert "the value [1] is wrong" in str(result.failures[0].error)
        return
    (failure,) = [failure for failure in result.failures if failure.task == flow.Binds(fail=True)]
    assert "the value [1] is wrong" in str(failure.error)


def test_bodies_that_need_each_other_are_told_so(flow: Any, executor: Any) -> None:
    result = run([flow.Mutual(me="a"), flow.Mutual(me="b")], executor)
    assert not result.ok
    said = " ".join(str(failure.error) for failure in result.failures)
    assert any(words in said for words in ("never end", "wait for each other", "cycle")), said


def test_leaving_the_interpreter_fails_that_task_alone(flow: Any, executor: Any) -> None:
    result = run([flow.Leaves(), *[flow.Raw(i=i) for i in range(6)]], executor)
    assert result.counts == {"failed": 1, "built": 6}
    assert isinstance(result.failures[0].error, SystemExit)


def test_a_body_that_ends_its_process_is_the_only_one_to_fail(flow: Any, executor: Any, apart: bool) -> None:
    if not apart:
        pytest.skip("on serial and threads the process is the user's own")
    result = run([flow.Dies(), *[flow.Raw(i=i) for i in range(12)]], executor)
    assert {str(state) for task, state in result.states.items() if task.task_family == "Raw"} == {"built"}
    (failure,) = result.failures
    assert failure.task == flow.Dies()
    assert isinstance(failure.error, CrashError)
    if executor == "processes":
        assert "my last words" in d6tpipe.log(flow.Dies())
    assert run([flow.Raw(i=i) for i in range(12, 18)], executor).ok  # there are workers again


def test_a_breakpoint_in_a_worker_says_where_the_debugger_opens(flow: Any, executor: Any, apart: bool) -> None:
    if not apart:
        pytest.skip("on serial and threads the debugger opens")
    (failure,) = run([flow.Stops()], executor).failures
    assert 'executor="serial"' in str(failure.error)


def test_no_more_bodies_run_together_than_resources_allow(flow: Any, executor: Any) -> None:
    tasks = [flow.OneAtATime(i=i) for i in range(6)]
    assert run([*tasks, *[flow.Raw(i=i) for i in range(6)]], executor, resources={"db": 1}).ok
    with pytest.raises(d6tpipe.errors.GraphError, match="more of a resource"):
        run(flow.OneAtATime(i=7), executor, resources={"db": 0})


@pytest.mark.filterwarnings("always:warned")
def test_what_a_body_says_is_kept_with_its_task(flow: Any, executor: Any) -> None:
    result = run([*[flow.Speaks(i=i) for i in range(8)], flow.Speaks(i=9, fail=True)], executor)
    for i in (*range(8), 9):
        said = d6tpipe.log(flow.Speaks(i=i, fail=i == 9))
        for word in (f"out {i}", f"err {i}", f"logged {i}"):
            assert said.count(word) == 1, said
        assert not any(f"out {other}" in said for other in range(10) if other != i)
        if executor == "processes":  # descriptors
            assert "from a child" in said
            assert said.count("UserWarning: warned") == 1  # elsewhere Python shows a repeated warning once
    assert any("UserWarning: warned" in d6tpipe.log(flow.Speaks(i=i)) for i in range(8))
    (failure,) = result.failures
    assert "out 9" in failure.captured.stdout and "out 9" in result.summary_text


def test_a_body_that_hangs_is_stopped(flow: Any, executor: Any) -> None:
    result = run([flow.Hangs(), flow.Raw(i=1)], executor)
    assert result.counts == {"timeout": 1, "built": 1} and not result.ok
    (failure,) = result.failures
    assert isinstance(failure.error, TaskTimeoutError)
    assert "1 s" in str(failure.error)


def test_a_body_whose_time_is_up_can_save_what_it_has(flow: Any, executor: Any, remote: bool) -> None:
    result = run(flow.Saves(), executor)
    assert result.counts == {"timeout": 1}
    assert "longer than 1 s (worker_timeout)" in Path(flow.LOG, "saves").read_text()


def test_what_was_built_under_a_former_name_is_found_by_bodies(flow: Any, executor: Any) -> None:
    assert run([flow.Older(i=1), flow.Older(i=2)], executor).ok
    result = run(flow.UsesFormer(), executor)
    assert result.ok, result.failures
    assert flow.UsesFormer().outputLoad() == {"newer": 10, "converted": 20, "built": 30, "meta": {"of": 1}}
    assert bodies(flow) == {"Older": 2, "Newer": 1, "UsesFormer": 1}


def test_a_session_is_asked_for_more_while_bodies_run(flow: Any, executor: Any) -> None:
    with d6tpipe.Session("night", 2, executor) as session:
        session.submit(flow.Patient(i=0))
        while not list(Path(flow.LOG).glob("Patient*")):
            time.sleep(0.005)
        session.submit([flow.Two(), flow.Grows()])
        Path(flow.LOG, "go-0").write_text("")
        assert session.wait().ok
        session.submit(flow.Raw(i=9))
    found = flow.Two().outputLoad(as_dict=True)
    assert {**found, "grows": flow.Grows().outputLoad()} == expected()
    assert flow.Patient(i=0).complete() and flow.Raw(i=9).complete()
    assert set(session.result.counts) == {"built"}


def test_a_body_is_tried_again_as_often_as_it_says(flow: Any, executor: Any) -> None:
    result = run([flow.Flaky(), flow.FlakyElsewhere()], executor)
    assert bodies(flow) == {"Flaky": 3, "FlakyElsewhere": 1}
    assert flow.Flaky().outputLoad() == "at last"
    assert [failure.task.task_family for failure in result.failures] == ["FlakyElsewhere"]


def test_a_value_in_memory_that_cannot_travel_fails_its_task_with_a_hint(flow: Any, executor: Any, apart: bool) -> None:
    result = run([flow.Unpicklable(), flow.Raw(i=1)], executor)
    if not apart:
        assert result.ok
        return
    assert result.counts == {"failed": 1, "built": 1}
    assert 'executor="threads"' in str(result.failures[0].error)


def test_an_isolated_body_has_a_process_of_its_own(flow: Any, executor: Any) -> None:
    run(flow.Alone(), executor, abort=True)
    first = flow.Alone().outputLoad()
    run(flow.Alone(), executor, abort=True, forced_all=True)
    assert len({first, flow.Alone().outputLoad(), os.getpid()}) == 3


def test_what_a_failed_body_has_left_is_removed_where_it_ran(flow: Any, executor: Any, remote: bool) -> None:
    if not remote:
        pytest.skip("the worker writes to the data folder")
    result = run([flow.Litters(fail=True), flow.Litters(hang=True), flow.Litters(die=True), flow.Raw(i=2)], executor)
    assert result.counts == {"failed": 2, "timeout": 1, "built": 2}
    where = [Path(log.read_text()) for log in Path(flow.LOG).iterdir() if log.name.startswith("Litters")]
    assert len(where) == 3
    assert run(flow.Raw(i=3), executor).ok  # a new worker sweeps what a killed one has left
    assert not [path for path in where if path.exists()]
    assert not os.path.exists(os.path.join(d6tpipe.settings.dirpath, "Litters"))
    base = os.path.join(tempfile.gettempdir(), f"d6tpipe-depots-{user_name()}")
    owners = [owner for name in os.listdir(base) if (owner := temporary_owner(name)) is not None]
    assert not [pid for _, pid in owners if not os.path.exists(f"/proc/{pid}")]


def test_the_folder_of_the_outputs_is_there_before_each_body(flow: Any, executor: Any) -> None:
    # One after the other in one worker: of the first body nothing is left, not even its folder on a remote worker.
    result = d6tpipe.run([flow.Writes(i=i) for i in range(4)], executor=executor, workers=1, abort=False)
    assert result.counts == {"failed": 1, "built": 3}, result.failures


def test_all_that_a_body_leaves_beside_its_outputs_is_there(flow: Any, executor: Any) -> None:
    result = run([flow.Litters(), flow.Folder()], executor)
    assert result.ok, result.failures
    place = flow.Litters().output().path.parent
    assert (place / "extra.txt").read_text() == "beside"
    assert flow.Litters().outputLoadMeta() == {"found": "in a file of a plain task"}
    assert sorted(path.name for path in flow.Folder().output().path.iterdir()) == ["a", "b"]
    assert d6tpipe.run([flow.Litters(), flow.Folder()], stale="rerun", dry_run=True).counts.keys() == {"fresh"}


def test_classes_of_a_function_travel_by_value(executor: Any) -> None:
    factor = 3

    def helper(value: int) -> int:
        return factor * value

    class Inner(d6tpipe.tasks.TaskPickle):
        i: Any = d6tpipe.IntParameter()

        def run(self) -> None:
            self.save(helper(self.i))

    class Outer(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return [Inner(i=i) for i in range(3)]

        def run(self) -> None:
            more = yield Inner(i=10)
            self.save([*self.inputLoad(), more.load()])

    class Fails(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            raise ValueError("in a class of a function")

    run(Outer(), executor, abort=True)
    assert Outer().outputLoad() == [0, 3, 6, 30]
    (failure,) = run(Fails(), executor).failures
    assert __file__ in failure.traceback  # and only the user's part of it
    assert 'raise ValueError("in a class of a function")' in failure.traceback
    assert failure.traceback.count("File ") == 1


def test_a_module_that_runs_tasks_when_a_worker_imports_it_is_told_so(flow: Any) -> None:
    token = LOADING.set(True)  # as while a worker unpickles a task
    try:
        with pytest.raises(d6tpipe.errors.GraphError, match="__main__"):
            d6tpipe.run(flow.Raw(i=1))
    finally:
        LOADING.reset(token)


def test_code_that_was_edited_and_imported_again_runs(flow: Any, executor: Any, tmp_path: Path) -> None:
    run(flow.Raw(i=2), executor, abort=True)
    name = flow.__name__
    path = tmp_path / f"{name}.py"
    path.write_text(path.read_text().replace("value * by", "value * by + 1000"))
    os.utime(path, (1, 1))  # another time, whatever the clock's step
    del sys.modules[name]
    edited = importlib.import_module(name)
    result = run(edited.Raw(i=2), executor, stale="rerun")
    if result.ok:
        assert edited.Raw(i=2).outputLoad() == [1000, 1002]
    else:  # workers that d6tpipe cannot start again refuse
        assert executor not in ("serial", "threads", "processes", "loky")
        assert "not the same on the worker" in str(result.failures[0].error)


def test_settings_of_the_run_hold_on_the_worker(flow: Any, executor: Any, tmp_path: Path) -> None:
    class Says(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            self.save((d6tpipe.settings.dir, d6tpipe.settings.parameter_count))

    with d6tpipe.settings.override(parameter_count=3, dir=str(tmp_path / "there")):
        run(Says(), executor, abort=True)
        assert Says().outputLoad() == (str(tmp_path / "there"), 3)


class TestWhatABodyEmits:
    """Callbacks of ``watch``, told of it wherever the body runs."""

    @pytest.fixture
    def told(self, flow: Any) -> Iterator[list[Any]]:
        """Emissions in the order of telling, and the events of their tasks."""
        found: list[Any] = []
        handlers = [d6tpipe.watch(flow.Trains, name, found.append) for name in ("step", "last")]
        handlers += [d6tpipe.on(flow.Trains, kind, found.append) for kind in ("completed", "failed")]
        for cls in (flow.TrainsAgain, flow.TrainsAndAsks):
            handlers.append(d6tpipe.watch(cls, "step", found.append))
        yield found
        for handler in handlers:
            handler.remove()

    def test_of_a_body_that_is_killed_all_that_it_has_emitted_is_told_once(
        self, flow: Any, executor: Any, told: list[Any], apart: bool, remote: bool
    ) -> None:
        if not apart:
            pytest.skip("on serial and threads the process is the user's own")
        (failure,) = run([flow.Trains(i=1, kill=True)], executor).failures
        assert isinstance(failure.error, CrashError)
        assert str(told.pop()).startswith("Event(failed")
        # What lies on a machine that is not seen from here ends with the process.
        assert [(one.name, one.data.get("step")) for one in told] == ([] if remote else
            [("step", 0), ("step", 1), ("step", 2), ("last", None)])  # fmt: skip

    def test_is_told_while_the_body_runs(self, flow: Any, executor: Any, remote: bool) -> None:
        if remote:
            pytest.skip("the worker writes where it is not seen from here")
        threads = set()

        def tell(emission: Any) -> None:
            threads.add(os.getpid())
            Path(flow.LOG, f"seen_{emission.data['i']}").touch()

        with d6tpipe.watch(flow.Trains, "step", tell):
            result = run([flow.Trains(i=1, waits=True), flow.Trains(i=2, waits=True)], executor)
        assert result.ok, result.failures
        assert threads == {os.getpid()}

    @pytest.mark.parametrize("fail", [False, True])
    def test_is_told_once_in_order_and_before_the_end_of_the_task(
        self, flow: Any, executor: Any, told: list[Any], fail: bool
    ) -> None:
        tasks = [flow.Trains(i=i, fail=fail) for i in range(3)]
        assert run(tasks, executor).ok is not fail
        for task in tasks:
            *emissions, event = [one for one in told if one.task is task]
            assert str(event.kind) == ("failed" if fail else "completed")
            assert [(one.name, one.data.get("step")) for one in emissions] == [
                ("step", 0), ("step", 1), ("step", 2), ("last", None)
            ]  # fmt: skip
            assert {one.run_id for one in emissions} == {emissions[-1].data["run_id"]}
            assert {(one.attempt, one.replayed) for one in emissions} == {(1, False)}
            assert all(isinstance(one.data["where"], str) for one in emissions[:3])

    def test_is_told_again_in_a_run_that_has_nothing_to_build(self, flow: Any, executor: Any, told: list[Any]) -> None:
        run([flow.Trains(i=1), flow.TrainsAndAsks()], executor)
        before = [(one.task, one.name, dict(one.data), one.run_id) for one in told if hasattr(one, "data")]
        told.clear()
        assert run([flow.Trains(i=1), flow.TrainsAndAsks()], executor).counts.keys() == {"fresh"}
        assert sorted(map(str, before)) == sorted(str((one.task, one.name, dict(one.data), one.run_id)) for one in told)
        assert all(one.replayed for one in told)

    def test_of_a_body_that_begins_again_after_a_yield_each_is_told_once(
        self, flow: Any, executor: Any, told: list[Any]
    ) -> None:
        assert run([flow.TrainsAndAsks()], executor).ok
        assert [one.data["step"] for one in told] == [0, 1, 2]

    def test_of_each_attempt_is_told(self, flow: Any, executor: Any, told: list[Any], remote: bool) -> None:
        assert run([flow.TrainsAgain(), flow.TrainsOn()], executor).ok
        for task in (flow.TrainsAgain(), flow.TrainsOn()):
            found = [(one.attempt, one.data["step"]) for one in told if one.task is task]
            if remote:  # an attempt that is followed by another at once may go unseen
                found = [(1, 0)] * ((1, 0) not in found) + found
            assert found == [(1, 0), (2, 0), (2, 1)]
        told.clear()
        run([flow.TrainsAgain(), flow.TrainsOn()], executor)
        found = [(one.attempt, one.data["step"]) for one in told if one.task is flow.TrainsAgain()]
        assert found == [(2, 0), (2, 1)]  # that of the attempt that has built it

    def test_of_what_a_body_binds_is_told_too(self, flow: Any, executor: Any, told: list[Any]) -> None:
        assert run([flow.TrainsBelow()], executor).ok
        assert [one.data["step"] for one in told if getattr(one, "name", "") == "step"] == [0, 1, 2]
        assert not any(one.replayed for one in told if hasattr(one, "data"))


SLOW_AND_QUICK = """
import os, subprocess, sys, time
import d6tpipe

class Quick(d6tpipe.tasks.TaskPickle):
    def run(self):
        while not os.path.exists(os.path.join(LOG, "slow has begun")):
            time.sleep(0.01)
        self.save(1)

class Slow(d6tpipe.tasks.TaskPickle):
    def run(self):
        open(os.path.join(LOG, "slow has begun"), "w").close()
        code = f"import d6tpipe, {__name__} as flow; d6tpipe.set_dir({str(d6tpipe.settings.dirpath)!r}); "
        code += "assert d6tpipe.run(flow.Quick()); print(flow.Quick().outputLoad())"
        path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
        environ = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environ
        )
        assert done.returncode == 0, done.stderr
        self.save(done.stdout)
"""


def test_what_has_ended_is_free_for_others_while_a_long_body_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Any, remote: bool
) -> None:
    if executor == "serial" or remote:
        pytest.skip("one after the other" if executor == "serial" else "the worker sees nothing of it")
    name = f"flow_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(f"LOG = {str(tmp_path)!r}\n{SLOW_AND_QUICK}")
    monkeypatch.syspath_prepend(tmp_path)
    flow = importlib.import_module(name)
    monkeypatch.setattr("d6tpipe.ledger._BATCH_SECONDS", 0)  # each is locked by itself
    result = run([flow.Quick(), flow.Slow()], executor)
    assert result.ok, result.failures
    assert flow.Slow().outputLoad().endswith("1\n")


class Unspoken(ThreadPoolExecutor):
    """Runs in this process and does not say so."""


def test_a_run_leaves_the_process_as_it_was_whatever_the_executor(flow: Any, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path / "one")
    d6tpipe.set_dir("relative")
    with Unspoken(2) as threads:
        assert d6tpipe.run(flow.Two(), executor=threads).ok
        assert flow.Two().outputLoad(as_dict=True)["b"] == {"held": 3}
        before = dict(os.environ), list(sys.path), d6tpipe.settings.describe()
        assert d6tpipe.run(flow.Nearby(), executor=threads).ok
    assert (dict(os.environ), list(sys.path), d6tpipe.settings.describe()) == before
    os.chdir(tmp_path / "other")
    assert not flow.Two().complete()
    assert d6tpipe.run(flow.Raw(i=1)).ok and os.path.exists(tmp_path / "other" / "relative" / "Raw")


def test_a_dask_cluster_that_adapts_grows_with_the_work(flow: Any) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        cluster.adapt(minimum=0, maximum=2, interval="100ms")
        result = run([flow.Raw(i=i) for i in range(8)], client)
        assert result.ok, result.failures
        assert bodies(flow) == {"Raw": 8}
