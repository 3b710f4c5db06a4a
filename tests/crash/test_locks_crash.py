"""Locks among many processes: each body once, and whoever is killed lets go at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from d6tpipe.storage.locks import locks_for

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed"),
]

# The package itself would load luigi, a quarter of a second per process.
BARE = f"""
import os, sys, types
package = types.ModuleType("d6tpipe")
package.__path__ = [{str(ROOT / "d6tpipe")!r}]
sys.modules["d6tpipe"] = package
from d6tpipe.storage.locks import locks_for

locks = locks_for(sys.argv[1])
def say(*words):
    print(*words, flush=True)
"""

# Does each task that is not done yet, as a run does: lock, look again, body, output, unlock.
RUN = (
    BARE
    + """
outputs, first = sys.argv[2], int(sys.argv[3])
log = os.open(os.path.join(outputs, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
say("ready")
sys.stdin.readline()
todo = [f"T_{n}" for n in range(first, first + int(sys.argv[4]))]
waits = 0
while todo:
    busy = []
    for task in todo:
        if not locks.acquire(task):
            busy.append(task)
            continue
        try:
            output = os.path.join(outputs, task)
            if not os.path.exists(output):
                os.write(log, f"{task} {os.getpid()}\\n".encode())
                with open(f"{output}.{os.getpid()}", "w") as file:
                    file.write(task)
                os.rename(file.name, output)
        finally:
            locks.release([task])
    todo = busy
    if todo:
        if not waits:
            say("waiting")
        waits += len(todo)
        locks.wait(todo)
say("done", waits)
"""
)

# Holds what it is told to until it is killed, or its input ends.
HOLD = (
    BARE
    + """
for task in sys.argv[2:]:
    assert locks.acquire(task)
say("ready")
sys.stdin.readline()
"""
)

# Holds, and leaves a child behind that lives on.
HOLD_AND_FORK = (
    BARE
    + """
assert locks.acquire(sys.argv[2])
if os.fork() == 0:
    say("ready")
    sys.stdin.readline()
    os._exit(0)
import signal
signal.pause()
"""
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a process; what still runs at the end of the test, or after a minute, is killed."""
    started = []

    def start_one(code: str, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-W", "error", "-c", code, *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        started.append(process)
        return process

    def hangs(*anything: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    try:
        yield start_one
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> list[str]:
    said, complaint = process.communicate(timeout=60)
    assert (0, "") == (process.returncode, complaint)
    return said.splitlines()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def bodies(outputs: Path) -> list[tuple[str, int]]:
    """Return (task, process) of each body that ran."""
    return [(task, int(pid)) for task, pid in map(str.split, (outputs / "log").read_text().splitlines())]


def test_eight_processes_run_each_body_once(start: Start, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    processes = [start(RUN, tmp_path / "data", outputs, 0, 800) for _ in range(8)]
    assert ["ready"] * 8 == [line(process) for process in processes]
    for process in processes:
        go(process)
    waits = [int(end(process)[-1].split()[1]) for process in processes]
    ran = bodies(outputs)
    twice = {task: count for task, count in Counter(task for task, _ in ran).items() if count > 1}
    assert not twice
    assert {f"T_{n}" for n in range(800)} == {task for task, _ in ran}
    # Otherwise this test would have shown nothing.
    assert sum(waits) and len({pid for _, pid in ran}) > 1
    assert ["locks"] == os.listdir(tmp_path / "data" / ".d6tpipe")
    assert 0 == (tmp_path / "data" / ".d6tpipe" / "locks").stat().st_size


def test_what_a_killed_process_held_is_free_at_once(start: Start, tmp_path: Path) -> None:
    locks = locks_for(str(tmp_path))
    for turn in range(5):
        process = start(HOLD, tmp_path, "a", "b")
        assert "ready" == line(process)
        assert [process.pid] * 2 + [None] == [locks.holder(key) for key in "abc"]
        assert not locks.acquire("a") and not locks.acquire("b")
        kill(process)
        assert [None] * 2 == [locks.holder(key) for key in "ab"]
        if turn % 2:  # whoever comes next is a new process, or one that has seen it busy
            assert locks.acquire("a") and locks.acquire("b")
            locks.release(["a", "b"])


def test_a_child_that_outlives_a_killed_holder_does_not_keep_its_locks(start: Start, tmp_path: Path) -> None:
    locks = locks_for(str(tmp_path))
    process = start(HOLD_AND_FORK, tmp_path, "a")
    assert "ready" == line(process)
    assert not locks.acquire("a")
    kill(process)
    assert locks.acquire("a")
    locks.release(["a"])
    go(process)  # the child reads it: it was alive
    assert process.stdout is not None and process.stdout.read() == ""


def test_who_waits_for_killed_processes_does_their_work_once(start: Start, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    held = [[f"T_{n}" for n in range(part, 40, 4)] for part in range(3)]
    holders = [start(HOLD, tmp_path / "data", *tasks) for tasks in held]
    assert ["ready"] * 3 == [line(process) for process in holders]
    workers = [start(RUN, tmp_path / "data", outputs, 0, 40) for _ in range(4)]
    assert ["ready"] * 4 == [line(process) for process in workers]
    for process in workers:
        go(process)
    assert ["waiting"] * 4 == [line(process) for process in workers]
    assert not {task for task, _ in bodies(outputs)} & {task for tasks in held for task in tasks}
    for process in holders:
        kill(process)
    for process in workers:
        end(process)
    assert [1] * 40 == [count for _, count in Counter(task for task, _ in bodies(outputs)).items()]
    assert {f"T_{n}" for n in range(40)} == {task for task, _ in bodies(outputs)}


def test_workers_killed_in_the_middle_leave_nothing_stuck_and_nothing_undone(start: Start, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    arguments = (tmp_path / "data", outputs, 0, 1500)
    killed = 0
    running = [start(RUN, *arguments) for _ in range(4)]
    for process in running:
        assert "ready" == line(process)
    for process in running:
        go(process)
    for _ in range(6):
        victim = running.pop(0)
        killed += victim.poll() is None
        kill(victim)
        running.append(start(RUN, *arguments))
        assert "ready" == line(running[-1])
        go(running[-1])
    for process in running:
        end(process)
    assert {f"T_{n}" for n in range(1500)} == {name for name in os.listdir(outputs) if name.count(".") == 0} - {"log"}
    # A body that was killed is begun once more; nobody begins one that is done.
    again = Counter(task for task, _ in bodies(outputs)).values()
    assert sum(again) - 1500 <= killed
    assert killed
