"""Runs at the same time over one data folder: each body exactly once, nobody hangs, whoever is killed is replaced.

A starter has everything imported and forks the processes of a race, which all begin when its pipe closes. Bodies write
down that they ran, with one write of a file opened for appending.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from d6tpipe.failpoints import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
# Not D6TPIPE_...: those are settings, and tests start without any.
NIGHTLY = bool(os.environ.get("NIGHTLY"))
ROUNDS = 30 if NIGHTLY else 3
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, and killed"),
]

# Layers of ten; each task needs three of the layer below, so that all paths cross: 50 tasks.
FLOW = '''
    import os
    import subprocess
    import sys

    import d6tpipe as dp

    EDITION = 1

    def begins(task):
        log = os.open(os.environ["RAN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{task.task_id} {os.getpid()}\\n".encode())
        os.close(log)

    class N(dp.tasks.TaskPickle):
        layer = dp.IntParameter()
        i = dp.IntParameter()

        def requires(self):
            return [N(layer=self.layer - 1, i=i % 10) for i in (self.i, self.i + 1, self.i + 3)] if self.layer else []

        def run(self):
            begins(self)
            self.save(sum(self.inputLoad()) + self.i if self.layer else EDITION * (self.i + 1))

    GOALS = [N(layer=4, i=i) for i in range(10)]

    class Passing(dp.tasks.TaskPickle):
        i = dp.IntParameter()
        transient = "remove"

        def requires(self):
            return N(layer=0, i=self.i)

        def run(self):
            begins(self)
            self.save(self.inputLoad())

    class Reads(dp.tasks.TaskPickle):
        i = dp.IntParameter()

        def requires(self):
            return [Passing(i=i % 5) for i in (self.i, self.i + 1, self.i + 2)]

        def run(self):
            begins(self)
            self.save(sum(self.inputLoad()))

    class Inner(dp.tasks.TaskPickle):
        n = dp.IntParameter()

        def run(self):
            begins(self)
            self.save(self.n)

    class Pair(dp.tasks.TaskData):
        persist = {"a": "json", "b": "json"}

        def run(self):
            attempt = f"{os.getpid()}"
            self.save({"a": attempt, "b": attempt})

    class Starts(dp.tasks.TaskPickle):
        """Its body starts a process that runs other tasks of the folder."""
        wanted = dp.Parameter()

        def requires(self):
            return [Inner(n=n) for n in range(4)]

        def run(self):
            begins(self)
            elsewhere(f"dp.run({self.wanted}, execution_summary=False, progress=False)")
            self.save(1)

    def elsewhere(code, wait=True):
        start = f"import d6tpipe as dp; dp.set_dir({dp.settings.dir!r}); from shop import *; "
        env = {**os.environ, "PYTHONPATH": os.path.dirname(__file__) + os.pathsep + os.environ["PYTHONPATH"]}
        command = [sys.executable, "-c", start + code]
        if not wait:
            return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        subprocess.run(command, check=True, env=env)

    class Outer(dp.tasks.TaskPickle):
        """Runs what its run has locked ahead, together with it."""
        n = dp.IntParameter()

        def run(self):
            begins(self)
            dp.run([Inner(n=n) for n in range(20)], execution_summary=False, progress=False)
            self.save(sum([Inner(n=n).outputLoad() for n in range(20)]) + self.n)
'''

STARTER = """
import atexit, faulthandler, gc, json, os, select, signal, sys, time, traceback, warnings

import luigi
import d6tpipe as dp
import d6tpipe.examiner, d6tpipe.ledger, d6tpipe.executors.serial, d6tpipe.formats.basic, d6tpipe.formats.content
import d6tpipe.storage.files, d6tpipe.storage.locks, d6tpipe.storage.memory_records, d6tpipe.storage.sqlite_records
import sqlite3, pickle
from d6tpipe import failpoints

def run(task, **options):
    return dp.run(task, execution_summary=False, progress=False, **options)

def child(job, ready, start, answer):
    faulthandler.dump_traceback_later(job["limit"] - 2)
    failpoints._wanted, _, count = job["point"].partition("*")
    failpoints._left = int(count or 1)
    os.environ["RAN"] = job["ran"]
    sys.path.insert(0, job["edition"])
    found = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dp.set_dir(job["root"])
        import shop
        names = {**vars(shop), "dp": dp, "run": run, "found": found}
        code = compile(job["code"], "job", "exec")
        os.write(ready, b".")
        os.close(ready)
        os.read(start, 1)
        try:
            exec(code, names)
        except BaseException:
            found["error"] = traceback.format_exc()
        atexit._run_exitfuncs()
    found["warnings"] = [str(each.message) for each in said]
    with open(answer, "w") as pipe:
        json.dump(found, pipe)

gc.collect()
gc.freeze()
for line in sys.stdin:
    jobs = json.loads(line)
    start, go = os.pipe()
    ready_here, ready = os.pipe()
    children = {}
    for job in jobs:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for other, _ in children.values():
                    os.close(other)
                for end in (go, ready_here, reading):
                    os.close(end)
                child(job, ready, start, writing)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writing)
        children[pid] = reading, job
    os.close(ready)
    os.close(start)
    while os.read(ready_here, 64):
        pass
    os.close(ready_here)
    os.close(go)
    deadline = time.monotonic() + jobs[0]["limit"]
    answers = {pid: b"" for pid in children}
    pending = {reading: pid for pid, (reading, _) in children.items()}
    while pending and time.monotonic() < deadline:
        for reading in select.select(list(pending), [], [], max(0, deadline - time.monotonic()))[0]:
            part = os.read(reading, 1 << 16)
            answers[pending[reading]] += part
            if not part:
                del pending[reading]
    done = []
    for pid, (reading, _) in children.items():
        hung = reading in pending
        if hung:
            os.kill(pid, 9)
        os.close(reading)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done.append({"pid": pid, "hung": hung, "status": status, **json.loads(answers[pid] or "{}")})
    print(json.dumps(done), flush=True)
"""

RUN = "found['states'] = {t.task_id: str(s) for t, s in run(GOALS, stale='%s').states.items()}"


class Starter:
    """Starts processes together in one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for edition in (1, 2):
            place = folder / f"edition-{edition}"
            place.mkdir()
            (place / "shop.py").write_text(textwrap.dedent(FLOW).replace("EDITION = 1", f"EDITION = {edition}"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: "none"},
        )  # fmt: skip

    def __call__(
        self, root: Path, *codes: str, edition: int = 1, points: dict[int, str] | None = None, limit: int = 30
    ) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Do each of `codes` in a process of its own, all at the same time.

        Parameters
        ----------
        points : dict of int to str
            Which of them is killed where.
        limit : int
            Seconds after which it is a failure that one still runs.

        Returns
        -------
        list of dict
            What each said.
        Counter
            Task to the number of times its body began.
        """
        ran = root.parent / f"{root.name}-ran"
        ran.write_bytes(b"")
        jobs = [
            {
                "code": textwrap.dedent(code), "root": str(root), "ran": str(ran), "limit": limit,
                "edition": str(self.folder / f"edition-{edition}"), "point": (points or {}).get(number, ""),
            }
            for number, code in enumerate(codes)
        ]  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(jobs) + "\n")
        self.process.stdin.flush()
        answers = json.loads(self.process.stdout.readline())
        assert not any(answer["hung"] for answer in answers), "some have not ended"
        for number, answer in enumerate(answers):
            if number not in (points or {}) or answer["status"] != -signal.SIGKILL:
                assert (0, "") == (answer["status"], answer.get("error", "")), answer.get("error", answer)
                assert [] == answer["warnings"]
        return answers, Counter(line.split()[0] for line in ran.read_text().splitlines())


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    starter = Starter(tmp_path_factory.mktemp("editions"))
    try:
        yield starter
    finally:
        starter.process.communicate(timeout=60)


VALUES = "found['values'] = [t.outputLoad() for t in GOALS]"


@pytest.fixture(scope="module")
def clean(start: Starter, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """The values of a run by itself, by edition."""
    found = {}
    for edition in (1, 2):
        root = tmp_path_factory.mktemp("clean") / "data"
        answers, _ = start(root, RUN % "warn" + "\n" + VALUES, edition=edition)
        found[edition] = answers[0]["values"]
    return found


def settled(start: Starter, root: Path, clean: dict[int, Any], edition: int, stale: str = "rerun") -> None:
    """Demand that there is nothing left to do, and everything is as after a run by itself."""
    (answer,), ran = start(root, RUN % stale + "\n" + VALUES, edition=edition)
    assert not ran and {"fresh"} == set(answer["states"].values())
    assert clean[edition] == answer["values"]


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_eight_processes_build_each_of_fifty_tasks_once(
    turn: int, start: Starter, clean: dict[int, Any], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    answers, ran = start(root, *[RUN % "warn"] * 8)
    assert 50 == len(ran) and {1} == set(ran.values()), ran.most_common(5)
    assert 50 == sum(state == "built" for answer in answers for state in answer["states"].values())
    # (Who is killed last, with nothing left to do for the others, leaves a log to the next run that writes.)
    assert not [path for path in root.rglob("*") if path.name.endswith(("-wal", "-shm", "-journal"))]
    settled(start, root, clean, 1)
    # The same again after an edit.
    answers, ran = start(root, *[RUN % "rerun"] * 8, edition=2)
    assert 50 == len(ran) and {1} == set(ran.values()), ran.most_common(5)
    settled(start, root, clean, 2)


@pytest.mark.parametrize(
    "point", ["ledger.announced*2", "write.filled*3", "write.renamed*2", "records.committed*3", "ledger.recorded*4"]
)
@pytest.mark.parametrize("turn", range(10 if NIGHTLY else 1))
def test_what_one_of_eight_was_killed_at_the_others_do(
    turn: int, point: str, start: Starter, clean: dict[int, Any], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    for edition, stale in ((1, "warn"), (2, "rerun")):
        answers, ran = start(root, *[RUN % stale] * 8, edition=edition, points={0: point, 3: point})
        killed = sum(answer["status"] == -signal.SIGKILL for answer in answers)
        assert 50 == len(ran) and max(ran.values()) <= 1 + killed, ran.most_common(5)
        settled(start, root, clean, edition)


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_runs_that_build_what_is_stale_and_runs_that_do_not_end_as_one_by_itself(
    turn: int, start: Starter, clean: dict[int, Any], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    start(root, RUN % "warn")
    start(root, *[RUN % "warn"] * 4, *[RUN % "rerun"] * 4, edition=2)
    start(root, RUN % "rerun", edition=2)
    settled(start, root, clean, 2)


# In the middle of a run, another process does something in the folder and ends.
MEANWHILE = """
    import os
    def meanwhile(point=""):
        if os.fork() == 0:
            from d6tpipe import failpoints
            failpoints._wanted = point
            run([N(layer=0, i=0)])
            os._exit(0)
        os.wait()
"""


def test_what_was_built_while_the_graph_was_judged_keeps_its_record(start: Starter, tmp_path: Path) -> None:
    root = tmp_path / "data"
    between = """
    from d6tpipe.storage.files import LocalFiles
    stat = LocalFiles.stat
    def look(self, path):
        LocalFiles.stat = stat
        meanwhile()
        return stat(self, path)
    LocalFiles.stat = look
    run(N(layer=1, i=0))
    """
    start(root, MEANWHILE + between)
    _, ran = start(root, "run(N(layer=1, i=0), stale='rerun')", edition=2)
    assert {"N_0_0_e89c1cc803", "N_1_0_6de269397f"} <= {*ran}, "an edit went unseen"


def test_what_a_run_that_was_killed_meanwhile_has_left_is_removed_by_who_does_its_work(
    start: Starter, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    during = """
    from d6tpipe.interfaces import EventKind
    def told(event):
        if event.task.i == 1 and event.kind is EventKind.COMPLETED:
            meanwhile("write.filled")
    run([N(layer=0, i=1), N(layer=1, i=0)], callbacks=[told])
    """
    start(root, MEANWHILE + during)
    assert not [path.name for path in root.rglob(".tmp-*")]


THREADS = """
    import threading
    gate = threading.Barrier(2)
    results = []
    def work():
        gate.wait()
        results.append(run(GOALS, stale="rerun"))
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found["ok"] = [bool(result) for result in results]
"""


def test_two_threads_build_each_task_once(start: Starter, clean: dict[int, Any], tmp_path: Path) -> None:
    for turn, edition in product(range(5), (1, 2)):
        root = tmp_path / f"data-{turn}"
        (answer,), ran = start(root, THREADS, edition=edition)
        assert [True, True] == answer["ok"]
        assert 50 == len(ran) and {1} == set(ran.values()), ran.most_common(5)
        settled(start, root, clean, edition)


JUST_BEFORE = """
    import threading
    import d6tpipe.ledger
    first, mine = threading.get_ident(), []
    def point(name):
        if name == "ledger.announced" and threading.get_ident() == first and not mine:
            other = threading.Thread(target=lambda: mine.append(run(GOALS)))
            other.start()
            other.join()
    d6tpipe.ledger.fail_point = point
    run(GOALS)
    assert mine
"""


def test_what_another_thread_takes_over_at_the_last_moment_runs_once(start: Starter, tmp_path: Path) -> None:
    _, ran = start(tmp_path / "data", JUST_BEFORE)
    assert 50 == len(ran) and {1} == set(ran.values()), ran.most_common(5)


NESTED = "found['values'] = run([*[Outer(n=n) for n in range(5)], *[Inner(n=n) for n in range(20)]]).ok"


@pytest.mark.parametrize("processes", [1, 4])
def test_a_body_that_runs_what_its_run_has_locked_ahead_does_not_hang(
    processes: int, start: Starter, tmp_path: Path
) -> None:
    _, ran = start(tmp_path / "data", *[NESTED] * processes)
    assert 25 == len(ran) and {1} == set(ran.values()), ran.most_common(5)


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("[Inner(n=n) for n in range(4)]", id="what it needs"),
        pytest.param("[Inner(n=n) for n in range(4, 30)]", id="what its run will come to"),
    ],
)
def test_a_body_may_start_a_process_that_runs_other_tasks(wanted: str, start: Starter, tmp_path: Path) -> None:
    code = f"run([Starts(wanted={wanted!r}), *[Inner(n=n) for n in range(30)]])"
    _, ran = start(tmp_path / "data", code, limit=10)
    assert 31 == len(ran) and {1} == set(ran.values()), ran.most_common(5)


IN_BETWEEN = """
    from d6tpipe.storage import files
    def point(name):
        if name == "save.between":
            files.fail_point = lambda name: None
            others.append(elsewhere("Pair().run()", wait=False))
            told.append(others[0].stderr.readline())
    others, told = [], []
    files.fail_point = point
    run(Pair())
    others[0].communicate()
    found["told"] = told[0]
    found["held"] = Pair().outputLoad()
"""


def test_a_body_run_by_hand_in_the_middle_of_a_run_waits_and_mixes_no_outputs(start: Starter, tmp_path: Path) -> None:
    root = tmp_path / "data"
    (waited,), _ = start(root, IN_BETWEEN, limit=20)
    assert "waits for Pair()" in waited["told"] and "process" in waited["told"]
    (answer,), _ = start(root, "run(Pair()); found['held'] = Pair().outputLoad()")
    one, other = answer["held"]
    assert one == other


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_what_one_run_removes_another_does_not_miss(turn: int, start: Starter, tmp_path: Path) -> None:
    root = tmp_path / "data"
    codes = [f"assert run([Reads(i=i) for i in range({n}, {n} + 20)]).ok" for n in (0, 5, 10, 15, 20, 25)]
    _, ran = start(root, *codes)
    assert {1} == {count for task, count in ran.items() if task.startswith("Reads")}
    again = "found['values'] = [t.outputLoad() for t in [Reads(i=i) for i in range(45)] if run(t)]"
    (answer,), ran = start(root, again)
    assert [sum((i + k) % 5 + 1 for k in range(3)) for i in range(45)] == answer["values"]
    assert not ran
    assert [] == list((root / "Passing").iterdir())
