"""Runs that a real ``luigid`` shows, and machines that share a graph through it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

import d6tpipe
from d6tpipe.central import Connection, address_of
from d6tpipe.errors import BodyError, ParameterError

pytestmark = pytest.mark.slow

ODD = "a&b=c+d%41;é\n\"'\\"


class Luigid:
    """A ``luigid`` that can be killed and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = "from luigi.cmdline import luigid; luigid()"
        options = ["--address", "127.0.0.1", "--port", str(self.port), "--state-path", str(self._folder / "state")]
        with open(self._folder / "luigid.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", code, *options], cwd=self._folder, stdout=log, stderr=log
            )
        until = time.monotonic() + 60
        while True:
            try:
                self.ask("is_paused")
                return
            except OSError:
                assert time.monotonic() < until and self._process.poll() is None, "luigid does not start"
                time.sleep(0.05)  # it tells nobody when it is ready

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, method: str, **arguments: Any) -> Any:
        with urlopen(f"{self.url}/api/{method}?data={quote(json.dumps(arguments))}", timeout=20) as answer:
            return json.load(answer)["response"]

    def tasks(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.ask("task_list", status="", upstream_status="", limit=False)
        return found

    def states(self) -> Counter[str]:
        return Counter(facts["status"] for facts in self.tasks().values())


@pytest.fixture
def luigid(tmp_path: Path) -> Iterator[Luigid]:
    folder = tmp_path / "luigid"
    folder.mkdir()
    found = Luigid(folder)
    found.start()
    yield found
    found.kill()


class Part(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    note = d6tpipe.Parameter(default=ODD)

    def run(self) -> None:
        print(f"part {self.i}")
        self.set_status_message(f"at {self.i}")
        self.set_progress_percentage(10 * self.i)
        if self.i == 3:
            raise ValueError("no three")
        self.save(self.i)


class Whole(d6tpipe.tasks.TaskPickle):
    parts = d6tpipe.IntParameter()

    def requires(self) -> Any:
        return [Part(i=i) for i in range(self.parts)]

    def run(self) -> None:
        self.save(sum(self.inputLoad()))


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_graph_states_messages_progress_and_failures_are_to_be_seen(luigid: Luigid, executor: str) -> None:
    result = d6tpipe.run(Whole(parts=5), scheduler=luigid.url, executor=executor, workers=2, abort=False, drain=True)
    assert not result.ok
    tasks = luigid.tasks()
    assert {"DONE": 4, "FAILED": 1, "PENDING": 1} == luigid.states()
    failed, whole, part = Part(i=3).task_id, Whole(parts=5).task_id, tasks[Part(i=4).task_id]
    assert "FAILED" == tasks[failed]["status"]
    assert "ValueError: no three" in json.loads(luigid.ask("fetch_error", task_id=failed)["error"])
    assert {"i": "4", "note": ODD} == part["params"]
    assert ("at 4", 40) == (part["status_message"], part["progress_percentage"])
    assert part["tracking_url"].startswith("file:///")
    with urlopen(part["tracking_url"]) as log:
        assert b"part 4" in log.read()
    assert set(luigid.ask("dep_graph", task_id=whole)) == {whole, *[Part(i=i).task_id for i in range(5)]}
    assert f"pid={os.getpid()}" not in str(tasks)  # all runs of a user are one worker: see protocol.worker_name
    assert {"DONE": 4, "FAILED": 1, "PENDING": 1} == luigid.states()


def test_a_session_shows_what_is_submitted_to_it(luigid: Luigid) -> None:
    d6tpipe.run(Part(i=1), execution_summary=False)
    with d6tpipe.Session("night", 2, "threads", scheduler=luigid.url, abort=False) as session:
        session.submit(Part(i=1))  # complete: nothing will happen to it
        until = time.monotonic() + 20
        while luigid.states() != {"DONE": 1}:
            assert time.monotonic() < until
            time.sleep(0.05)
        session.submit(Whole(parts=5))
        session.wait()
        session.submit(Whole(parts=2))
    assert {"DONE": 5, "FAILED": 1, "PENDING": 1} == luigid.states()
    assert set(luigid.ask("dep_graph", task_id=Whole(parts=2).task_id)) == {
        Whole(parts=2).task_id, Part(i=0).task_id, Part(i=1).task_id,
    }  # fmt: skip


def test_what_was_complete_is_drawn_as_done_and_what_is_built_again_is_done_again(luigid: Luigid) -> None:
    d6tpipe.run(Whole(parts=2))
    d6tpipe.run(Whole(parts=2), scheduler=luigid.url)
    assert {"DONE": 3} == luigid.states()
    for _ in range(2):
        d6tpipe.run(Whole(parts=2), scheduler=luigid.url, forced_all_upstream=True)
        assert {"DONE": 3} == luigid.states()


def test_the_end_of_a_task_that_another_worker_has_run_before_is_believed(luigid: Luigid) -> None:
    class Slow(Part):
        def run(self) -> None:
            wait_for(lambda: luigid.tasks()[self.task_id]["status"] == "RUNNING")
            super().run()

    for worker, task in [("other", Slow(i=1)), ("another", Slow(i=3))]:
        for status in ("RUNNING", "DONE"):
            luigid.ask("add_task", worker=worker, task_id=task.task_id, status=status)
    d6tpipe.run([Slow(i=1), Slow(i=3)], scheduler=luigid.url, abort=False)
    assert {"DONE": 1, "FAILED": 1} == luigid.states()
    assert [] == luigid.ask("dep_graph", task_id=Slow(i=3).task_id)[Slow(i=3).task_id]["deps"]


def test_the_same_tasks_in_two_folders_are_two_graphs(luigid: Luigid, tmp_path: Path) -> None:
    for name in ("one", "two"):
        d6tpipe.Workflow(Whole, {"parts": 2}, path=tmp_path / name).run(scheduler=luigid.url)
    assert {"DONE": 6} == luigid.states()


def test_requirements_that_come_up_while_running_are_to_be_seen(luigid: Luigid) -> None:
    class Asks(d6tpipe.tasks.TaskPickle):
        def run(self) -> Any:
            yield Part(i=1)
            self.save(1)

    d6tpipe.run(Asks(), scheduler=luigid.url)
    assert {"DONE": 2} == luigid.states()


def test_a_run_goes_on_without_the_scheduler_and_says_so_once() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert d6tpipe.run(Whole(parts=2), scheduler="http://127.0.0.1:9").ok
    assert 1 <= len(said) <= 2
    assert all("http://127.0.0.1:9" in str(each.message) for each in said)


def test_draining_ends_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d6tpipe.central.mirror._PATIENCE", 0.5)
    with pytest.warns(UserWarning, match="What became of 3 tasks"):
        assert d6tpipe.run(Whole(parts=2), scheduler="http://127.0.0.1:9", drain=True).ok


def test_a_scheduler_that_was_killed_and_started_again_is_told_everything(luigid: Luigid) -> None:
    class First(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            wait_for(lambda: luigid.tasks().get(self.task_id, {}).get("status") == "RUNNING")
            luigid.kill()
            self.save(1)

    class Last(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return [First(), Part(i=1)]

        def run(self) -> None:
            luigid.start()
            self.save(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert d6tpipe.run(Last(), scheduler=luigid.url, drain=True).ok
    assert {"DONE": 3} == luigid.states()


def test_a_tiny_task_costs_one_call(luigid: Luigid, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    send = Connection.send

    def counting(self: Connection, made: Any, *rest: Any) -> Any:
        calls.update(method for method, _ in made)
        return send(self, made, *rest)

    class Tiny(d6tpipe.tasks.TaskCache):
        i = d6tpipe.IntParameter()

        def run(self) -> None:
            self.save(self.i)

    monkeypatch.setattr(Connection, "send", counting)
    number = 1_000
    d6tpipe.run([Tiny(i=i) for i in range(number)], scheduler=luigid.url, drain=True)
    assert {"DONE": number} == luigid.states()
    assert calls["add_task"] <= 2 * number
    assert sum(calls.values()) - calls["add_task"] <= number / 10


def test_luigis_own_options_lead_to_the_scheduler(luigid: Luigid, monkeypatch: pytest.MonkeyPatch) -> None:
    d6tpipe.run(Part(i=1), scheduler_host="127.0.0.1", scheduler_port=luigid.port)
    d6tpipe.run(Part(i=2), scheduler_url=luigid.url)
    monkeypatch.setenv("D6TPIPE_SCHEDULER", luigid.url)
    d6tpipe.settings.refresh()
    d6tpipe.run(Part(i=4))
    assert {"DONE": 3} == luigid.states()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduler": "ftp://here"}, "address of a luigid"),
        ({"scheduler": 8082}, "address of a luigid"),
        ({"scheduler": "http:/here"}, "address of a luigid"),
        ({"scheduler": "http://here:port"}, "address of a luigid"),
        ({"claim": True}, "where the scheduler is"),
        ({"claim": True, "scheduler": "http://localhost", "forced_all": True}, "cannot build again"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_runs(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        d6tpipe.run(Part(i=1), **options)
    assert not Part(i=1).complete()


def test_an_address_without_port_is_that_of_luigid() -> None:
    assert "http://host:8082" == address_of("host") == address_of("http://host/") == address_of("http://host:8082")
    assert "http://user:word@host:8082/below" == address_of("http://user:word@host:8082/below/")


# ---- claims

SHARED = """
import os, sys, time
import d6tpipe

class Shared(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def run(self):
        with open(os.environ["RAN"], "a") as ran:
            ran.write(self.task_id + "\\n")
        if str(self.i) == os.environ.get("FAILS"):
            while not os.path.exists("both"):
                time.sleep(0.02)
            raise ValueError("cannot")
        self.save(self.i)

class Over(d6tpipe.tasks.TaskPickle):
    i = d6tpipe.IntParameter()
    def requires(self):
        return Shared(i=self.i)
    def run(self):
        with open(os.environ["RAN"], "a") as ran:
            ran.write(self.task_id + "\\n")
        self.save(self.inputLoad())

class All(d6tpipe.tasks.TaskAggregator):
    n = d6tpipe.IntParameter()
    def run(self):
        yield [Over(i=i) for i in range(self.n)]

if __name__ == "__main__":
    folder, url, n = sys.argv[1:]
    d6tpipe.set_dir(folder)
    result = d6tpipe.run(All(n=int(n)), scheduler=url, claim=True, abort=False, workers=2, executor="threads")
    print([type(failure.error).__name__ for failure in result.failures])
    sys.exit(0 if result.ok else 1)
"""


class Machines:
    """Coordinators that share a folder and a scheduler; each a process of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "shared_flow.py").write_text(textwrap.dedent(SHARED))
        self._folder, self._url = folder, url
        self._ran = folder / "ran"
        self._ran.touch()

    def start(self, n: int, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "shared_flow.py", str(self._folder / "data"), self._url, str(n)],
            cwd=self._folder, env={**os.environ, "RAN": str(self._ran), **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ran(self) -> list[str]:
        return self._ran.read_text().split()


def wait_for(what: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.02)  # another process decides


@pytest.fixture
def machines(tmp_path: Path, luigid: Luigid) -> Machines:
    return Machines(tmp_path, luigid.url)


def test_two_machines_share_200_tasks_and_each_body_runs_once(machines: Machines, luigid: Luigid) -> None:
    both = [machines.start(100), machines.start(100)]
    for each in both:
        printed, complained = each.communicate(timeout=120)
        assert 0 == each.returncode, printed + complained
    assert 200 == len(machines.ran()) == len(set(machines.ran()))
    assert {"DONE": 201} == luigid.states()


def test_what_fails_on_one_machine_has_failed_for_the_other_and_is_not_tried_again(
    machines: Machines, luigid: Luigid, tmp_path: Path
) -> None:
    both = [machines.start(30, FAILS="7"), machines.start(30, FAILS="7")]
    # A machine that comes later tries again what has failed before: fail when both have said that they would run it.
    wait_for(lambda: 2 == max([len(t["workers"]) for key, t in luigid.tasks().items() if "Shared_7" in key], default=0))
    (tmp_path / "both").touch()
    said = []
    for each in both:
        printed, complained = each.communicate(timeout=120)
        assert 1 == each.returncode, printed + complained
        said.append(printed.splitlines()[-1])
    assert 59 == len(machines.ran()) == len(set(machines.ran()))
    assert {"['ValueError']", "['BodyError']"} == set(said)
    assert "FAILED" == next(facts for key, facts in luigid.tasks().items() if key.startswith("Shared_7"))["status"]
    assert issubclass(BodyError, d6tpipe.errors.BuildError)


def test_claims_wait_for_a_scheduler_that_does_not_answer_and_say_so(machines: Machines, luigid: Luigid) -> None:
    luigid.kill()
    one = machines.start(3)
    assert one.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(one.stderr.readline, "")))
    reader.start()
    wait_for(lambda: any("waits for it" in line for line in lines))
    assert one.poll() is None
    assert [] == machines.ran()
    luigid.start()
    assert 0 == one.wait(timeout=60), lines
    reader.join()
    one.communicate()
    assert 6 == len(machines.ran())


def test_a_scheduler_killed_in_the_middle_costs_no_body_and_doubles_none(machines: Machines, luigid: Luigid) -> None:
    both = [machines.start(60), machines.start(60)]
    wait_for(lambda: len(machines.ran()) > 20)
    luigid.kill()
    luigid.start()
    for each in both:
        printed, complained = each.communicate(timeout=120)
        assert 0 == each.returncode, printed + complained
    assert 120 == len(machines.ran()) == len(set(machines.ran()))


def test_what_is_kept_in_memory_is_built_on_each_machine_without_a_claim(
    luigid: Luigid, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(d6tpipe.tasks.TaskCache):
        def run(self) -> None:
            self.save(1)

    luigid.ask("add_task", worker="another", task_id=Held().task_id, status="DONE")  # in the memory of another machine
    asked: list[str] = []
    send = Connection.send

    def noting(self: Connection, made: Any, *rest: Any) -> Any:
        asked.extend(method for method, _ in made)
        return send(self, made, *rest)

    monkeypatch.setattr(Connection, "send", noting)
    assert d6tpipe.run(Held(), scheduler=luigid.url, claim=True).counts == {"built": 1}
    assert "get_work" not in asked


def test_what_need_not_be_there_is_claimed_when_it_is_called_for(luigid: Luigid) -> None:
    class Side(d6tpipe.tasks.TaskPickle):
        def run(self) -> None:
            self.save(5)

    class Passing(d6tpipe.tasks.TaskPickle):
        transient = "remove"

        def run(self) -> None:
            self.save(2)

    class Both(d6tpipe.tasks.TaskPickle):
        def requires(self) -> Any:
            return [Passing(), Side()]

        def run(self) -> None:
            self.save(sum(self.inputLoad()))

    def run() -> dict[str, str]:
        result = d6tpipe.run(Both(), scheduler=luigid.url, claim=True, drain=True)
        return {task.task_family: str(state) for task, state in result.states.items()}

    assert {"Passing": "built", "Side": "built", "Both": "built"} == run()
    assert not Passing().complete()
    Side().reset(confirm=False)
    assert {"Passing": "fresh", "Side": "built", "Both": "cached"} == run()
    Side().reset(confirm=False)
    Side.run = lambda self: self.save(6)  # type: ignore[method-assign]
    assert {"Passing": "built", "Side": "built", "Both": "built"} == run()
    assert Both().outputLoad() == 8 and not Passing().complete()
    assert {"DONE": 3} == luigid.states()


def test_ctrl_c_gives_back_what_was_claimed(machines: Machines, luigid: Luigid) -> None:
    one = machines.start(200)
    wait_for(lambda: len(machines.ran()) > 5)
    one.send_signal(signal.SIGINT)
    one.communicate(timeout=60)
    assert 0 != one.returncode
    assert "RUNNING" not in luigid.states()
    other = machines.start(200)
    printed, complained = other.communicate(timeout=120)
    assert 0 == other.returncode, printed + complained
