"""Workers killed at random times, and runs interrupted: every run ends, and what it says is true.

``KILL_RUNS=200 pytest tests/crash/test_executor_kills.py`` is the long form.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

RUNS = int(os.environ.get("KILL_RUNS", "5"))

FLOW = """
    import os, random, sys, threading, time
    import d6tpipe as dp

    NOTES = os.environ["NOTES"]

    def begins(task):
        with open(os.path.join(NOTES, str(os.getpid())), "w") as note:
            note.write(task.task_id)
        with open(os.path.join(NOTES, "begun-" + task.task_id), "a") as note:
            note.write("x")

    class Node(dp.tasks.TaskPickle):
        layer = dp.IntParameter()
        i = dp.IntParameter()
        def requires(self):
            if self.layer:
                return [Node(layer=self.layer - 1, i=(self.i * k + k) % 8) for k in (1, 2, 3)]
        def run(self):
            begins(self)
            time.sleep(random.random() * 0.06 if self.i % 3 else 0)
            self.save(self.i + (sum(self.inputLoad()) if self.layer else 0))

    class Waits(dp.tasks.TaskPickle):
        i = dp.IntParameter()
        def run(self):
            begins(self)
            try:
                while self.i >= 2:
                    time.sleep(0.01)
            finally:
                open(os.path.join(NOTES, f"cleaned-{self.i}"), "w").close()
            self.save(self.i)
"""

KILLS = """
    import json, random, signal
    from d6tpipe import executors
    from flow_of_kills import *

    dice, killed, over = random.Random(int(sys.argv[1])), [], threading.Event()

    def kills():
        while "processes" not in executors._warm or not executors._warm["processes"][1]._workers:
            if over.wait(0.005):
                return
        for _ in range(dice.randint(1, 4)):
            if over.wait(dice.random() * 0.5):
                return
            pool = executors._warm.get("processes", (0, None))[1]
            pids = list(pool._workers) if pool is not None else []
            if pids:
                pid = dice.choice(pids)
                try:
                    os.kill(pid, signal.SIGSTOP)
                    path = os.path.join(NOTES, str(pid))
                    killed.append(open(path).read() if os.path.exists(path) else "")
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    if __name__ == "__main__":
        goals = [Node(layer=6, i=i) for i in range(8)]
        killer = threading.Thread(target=kills)
        killer.start()
        result = dp.run(goals, workers=3, abort=False, execution_summary=False)
        over.set()
        killer.join()
        failed = [[f.task.task_id, type(f.error).__name__] for f in result.failures]
        again = dp.run(goals, workers=3, abort=False, execution_summary=False)
        print(json.dumps({
            "killed": killed, "failed": failed, "again": again.ok, "found": [goal.outputLoad() for goal in goals],
        }))
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "flow_of_kills.py").write_text(textwrap.dedent(FLOW))
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def script(notes: Path, text: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    path = notes.parent / "script.py"
    path.write_text(textwrap.dedent(text))
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "NOTES": str(notes), "PYTHONPATH": root, "D6TPIPE_DIR": str(notes.parent / words[0])}
    return subprocess.Popen(
        [sys.executable, str(path), *words], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=notes.parent, **options,
    )  # fmt: skip


def expected() -> list[int]:
    values = list(range(8))
    for _ in range(6):
        values = [i + sum(values[(i * k + k) % 8] for k in (1, 2, 3)) for i in range(8)]
    return values


def test_workers_killed_at_random_times_cost_what_they_were_doing(notes: Path) -> None:
    kills = charged = 0
    for seed in range(RUNS):
        process = script(notes, KILLS, str(seed))
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, f"seed {seed}: {err}"
        said = json.loads(out.splitlines()[-1])
        assert said["again"] and said["found"] == expected(), f"seed {seed}: {said}"
        for task, error in said["failed"]:
            assert error == "CrashError", said
            begun = notes / f"begun-{task}"
            # The one that was running; or one that the worker had just been given.
            assert task in said["killed"] or not begun.exists() or len(begun.read_text()) == 1, f"seed {seed}: {said}"
        assert len(said["failed"]) <= len(said["killed"])
        kills, charged = kills + len(said["killed"]), charged + len(said["failed"])
        for note in notes.iterdir():
            note.unlink()
    assert kills >= RUNS / 2 and charged
    print(f"{RUNS} runs, {kills} kills, {charged} tasks failed by them")


INTERRUPTED = """
    from flow_of_kills import *

    if __name__ == "__main__":
        tasks = [Waits(i=i) for i in range(6)]
        try:
            dp.run(tasks, workers=2, execution_summary=False)
        except KeyboardInterrupt:
            print(*[task.complete() for task in tasks], flush=True)
            raise
"""
AFTERWARDS = """
    from flow_of_kills import *

    if __name__ == "__main__":
        print(*[Waits(i=i).complete() for i in range(6)])
        result = dp.run([Waits(i=0), Waits(i=1), *[Node(layer=1, i=i) for i in range(8)]], execution_summary=False)
        print(*sorted({str(state) for state in result.states.values()}))
"""


def wait_for(what: Any) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_an_interrupted_run_keeps_what_is_done_and_leaves_nothing_running(notes: Path, number: int) -> None:
    process = script(notes, INTERRUPTED, "data", start_new_session=True)
    wait_for(lambda: len([note for note in notes.iterdir() if note.name.startswith("begun-")]) == 4)
    workers = [note.name for note in notes.iterdir() if note.name.isdigit()]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert out.split() == ["True", "True", "False", "False", "False", "False"]
        assert process.returncode == -signal.SIGINT
        wait_for(lambda: (notes / "cleaned-2").exists() and (notes / "cleaned-3").exists())
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))
    assert not (notes / "begun-Waits_4_1").exists()
    out, err = script(notes, AFTERWARDS, "data").communicate(timeout=60)
    complete, _ = out.splitlines()
    assert complete.split()[:2] == ["True", "True"], err
    assert not list((notes.parent / "data").rglob("*.tmp*"))
