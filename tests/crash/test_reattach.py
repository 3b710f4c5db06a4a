"""A run is killed while an isolated task goes on: the next one waits for it, and the body has run once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FLOW = """
import os, time
from pathlib import Path
import d6tpipe as dp

dp.set_dir("data")
dp.settings.execution_summary = False
NOTES = Path(__file__).parent / "notes"


def wait_for(name):
    end = time.monotonic() + 60
    while not (NOTES / name).exists():
        if time.monotonic() > end:
            raise TimeoutError(name)
        time.sleep(0.01)


class Base(dp.tasks.TaskPickle):
    def run(self):
        self.save(1)


@dp.requires(Base)
class Long(dp.tasks.TaskPickle):
    isolate = True
    persist = ["x", "y"]
    fails = dp.BoolParameter(default=False)

    def run(self):
        with open(NOTES / "bodies", "a") as stream:
            stream.write(f"{os.getpid()} ")
        os.rename(NOTES / "bodies", NOTES / "bodies")
        self.job.emit("begun", number=1)
        (NOTES / "begun").write_text(str(os.getpid()))
        wait_for("go")
        print("it is done")
        if self.fails:
            raise ValueError("no")
        self.saveMeta({"score": 7})
        self.save({"x": self.inputLoad(), "y": 2})


class Limited(dp.tasks.TaskPickle):
    isolate = True
    worker_timeout = 2

    def run(self):
        (NOTES / "begun").write_text(str(os.getpid()))
        try:
            wait_for("never")
        except dp.errors.TaskCancelled:
            (NOTES / "saved").write_text("")
            raise


@dp.requires(Long)
class After(dp.tasks.TaskPickle):
    def run(self):
        x, y = self.inputLoad()
        self.save(x + y)
"""

RUN = """
import sys
from flow_of_sessions import *

if __name__ == "__main__":
    how = sys.argv[1]
    dp.watch(Long, "begun", lambda emission: print("heard", emission.data["number"], emission.replayed, flush=True))
    task = After(fails=len(sys.argv) > 2)
    if how == "session":
        with dp.Session("night", workers=2) as session:
            session.submit(task)
            result = session.wait()
    else:
        result = dp.run(task, workers=2, executor=how if "//" in how else None)
    print({type(task).__name__: str(state) for task, state in result.states.items()}, flush=True)
"""


class Program:
    """A script that runs; what it writes goes to files, since those that it has started may outlive it."""

    def __init__(self, place: Path, args: tuple[str, ...]) -> None:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        number = len(list(place.glob("out-*")))
        self._out, self._err = place / f"out-{number}", place / f"err-{number}"
        with open(self._out, "w") as out, open(self._err, "w") as err:
            self._process = subprocess.Popen(
                [sys.executable, "go.py", *args], cwd=place, env=environ, stdout=out, stderr=err
            )

    def stop(self, number: int = signal.SIGKILL) -> int:
        self._process.send_signal(number)
        return self._process.wait(60)

    def said(self) -> str:
        return self._err.read_text()

    def result(self) -> tuple[str, str]:
        self._process.wait(60)
        return self._out.read_text(), self._err.read_text()


class World:
    def __init__(self, place: Path) -> None:
        self.place, self.notes = place, place / "notes"
        self.notes.mkdir()
        (place / "flow_of_sessions.py").write_text(FLOW)
        (place / "go.py").write_text(RUN)

    def start(self, *args: str) -> Program:
        return Program(self.place, args)

    def wait_for(self, what: Any) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end, "it does not come"
            time.sleep(0.01)

    @property
    def bodies(self) -> list[str]:
        return (self.notes / "bodies").read_text().split()

    def begun(self) -> int:
        """Wait until the body of the isolated task runs; return its process."""
        self.wait_for((self.notes / "begun").exists)
        self.wait_for((self.notes / "begun").read_text)
        return int((self.notes / "begun").read_text())

    def go(self) -> None:
        (self.notes / "go").write_text("")

    def status(self) -> dict[str, Any]:
        (file,) = self.place.rglob("status.json")
        found: dict[str, Any] = json.loads(file.read_text())
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("how", ["run", "session"])
@pytest.mark.parametrize("when", ["before it ends", "after it has ended"])
def test_the_next_run_waits_for_an_isolated_task_whose_run_was_killed(world: World, how: str, when: str) -> None:
    first = world.start(how)
    body = world.begun()
    first.stop()
    assert os.path.exists(f"/proc/{body}"), "the isolated body has died with its run"
    if when == "after it has ended":
        world.go()
        world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    second = world.start(how)
    if when == "before it ends":
        world.wait_for(lambda: "waits for Long" in second.said() and str(body) in second.said())
        world.go()
    out, err = second.result()
    assert "'Long': 'built', 'After': 'built'" in out, err
    assert out.count("heard 1 True") == 1 and "False" not in out
    assert len(world.bodies) == 1, "the body has run more than once"
    assert "heard 1 True" in world.start(how).result()[0]
    assert world.status()["state"] == "built"
    script = (
        "from flow_of_sessions import *\n"
        "print(After().outputLoad(), Long().outputLoadMeta(), 'it is done' in dp.log(Long()))\n"
        "print({str(state) for state in dp.run(After(), stale='rerun').states.values()})"
    )
    (world.place / "go.py").write_text(script)
    out, err = world.start().result()
    assert out.split("\n")[:2] == ["3 {'score': 7} True", "{'fresh'}"], err
    assert len(world.bodies) == 1, "what is recorded of it does not hold"


def test_the_next_run_waits_for_an_isolated_task_on_dask_whose_run_was_killed(world: World) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address.replace("tcp:", "dask:")
        first = world.start(address)
        body = world.begun()
        first.stop()
        assert os.path.exists(f"/proc/{body}")
        second = world.start(address)
        world.wait_for(lambda: "waits for Long" in second.said())
        world.go()
        out, err = second.result()
    assert "'Long': 'built', 'After': 'built'" in out, err
    assert len(world.bodies) == 1, "the body has run more than once"


def test_a_body_that_outlives_its_run_keeps_to_its_time(world: World) -> None:
    (world.place / "go.py").write_text(RUN.replace("After(fails=len(sys.argv) > 2)", "Limited()"))
    first = world.start("run")
    body = world.begun()
    first.stop()
    world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    assert (world.notes / "saved").exists() and world.status()["state"] == "cancelled"
    assert "worker_timeout" in world.status()["reason"]


def test_what_it_left_does_not_count_after_an_edit(world: World) -> None:
    first = world.start("run")
    body = world.begun()
    first.stop()
    world.go()
    world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    (world.place / "flow_of_sessions.py").write_text(FLOW.replace('"y": 2', '"y": 3'))
    out, err = world.start("run").result()
    assert "'Long': 'built'" in out and len(world.bodies) == 2, err


def test_a_body_that_fails_after_its_run_was_killed_runs_again(world: World) -> None:
    first = world.start("run", "fails")
    body = world.begun()
    first.stop()
    world.go()
    world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    _, err = world.start("run", "fails").result()
    assert "ValueError: no" in err and len(world.bodies) == 2


def test_what_a_finished_run_has_left_does_not_stand_for_a_body_that_is_to_run_again(world: World) -> None:
    world.go()
    world.start("run").result()
    assert list(world.place.rglob("receipt.pickle"))
    (world.place / "go.py").write_text(RUN.replace("dp.run(task, ", "dp.run(task, forced=Long(), "))
    world.start("run").result()
    assert len(world.bodies) == 2


def test_what_a_killed_run_has_left_does_not_stand_for_a_body_that_is_forced_to_run(world: World) -> None:
    first = world.start("run")
    body = world.begun()
    first.stop()
    world.go()
    world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    (world.place / "go.py").write_text(RUN.replace("dp.run(task, ", "dp.run(task, forced=Long(), "))
    out, err = world.start("run").result()
    assert "'Long': 'built', 'After': 'built'" in out and len(world.bodies) == 2, err


def test_a_run_that_is_interrupted_takes_its_isolated_task_with_it(world: World) -> None:
    first = world.start("run")
    body = world.begun()
    assert first.stop(signal.SIGTERM) == 143
    world.wait_for(lambda: not os.path.exists(f"/proc/{body}"))
    assert world.status()["state"] == "cancelled"
