"""The pool of processes by itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d6tpipe.executors import worker_process
from d6tpipe.executors.processes import ProcessExecutor
from d6tpipe.executors.shared import Shared, WorkerDied, WorkerGone, WorkTimeout


@pytest.fixture
def pool() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(2)
    yield made
    made.kill()
    made.shutdown()


def length(data: bytes) -> tuple[int, int]:
    return os.getpid(), len(data)


def fail(error: BaseException) -> None:
    raise error


def lock_up() -> Any:
    return threading.Lock()


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.001)
    return path


def begin_and_wait(begun: str, path: str) -> None:
    Path(begun).touch()
    wait_for(path)


def killed_by_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def faults() -> None:
    ctypes.string_at(0)


class Odd(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)
        self.lock = threading.Lock()


def raise_odd() -> None:
    raise Odd(1, 2)


def test_results_and_errors_come_back(pool: ProcessExecutor) -> None:
    assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))
    with pytest.raises(KeyError, match="no"):
        pool.submit(fail, KeyError("no")).result()
    with pytest.raises(SystemExit):
        pool.submit(fail, SystemExit(2)).result()


def test_what_cannot_be_pickled_is_told(pool: ProcessExecutor) -> None:
    with pytest.raises(TypeError):
        pool.submit(abs, threading.Lock())
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        pool.submit(lock_up).result()
    with pytest.raises(RuntimeError, match="Odd"):
        pool.submit(raise_odd).result()
    assert pool.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("dies", "said"),
    [
        (lambda pool: pool.submit(os._exit, 7), "ended with exit code 7"),
        (lambda pool: pool.submit(killed_by_itself), "SIGKILL"),
        (lambda pool: pool.submit(faults), "SIGSEGV"),
    ],
    ids=["exit", "kill", "fault"],
)
def test_a_dead_worker_costs_one_piece_of_work_in_the_midst_of_tiny_ones(
    dies: Callable[[ProcessExecutor], Any], said: str, pool: ProcessExecutor
) -> None:
    assert list(pool.map(abs, range(300))) == list(range(300))  # tiny: from now on several at a time
    before = [pool.submit(abs, n) for n in range(200)]
    guilty = dies(pool)
    after = [pool.submit(abs, n) for n in range(200)]
    assert [future.result() for future in before + after] == [*range(200), *range(200)]
    error = guilty.exception()
    assert isinstance(error, WorkerDied) and said in str(error)


def dies_at(n: int, which: int) -> int:
    if n == which:
        killed_by_itself()
    return n


def test_a_worker_that_dies_of_tiny_work_costs_no_more_than_that(pool: ProcessExecutor) -> None:
    assert [pool.submit(dies_at, n, -1).result() for n in range(50)] == list(range(50))
    futures = [pool.assign(dies_at, (n, 100), later=True) for n in range(400)]
    pool.flush()
    assert isinstance(futures[100].exception(30), WorkerDied)
    assert [future.result(30) for n, future in enumerate(futures) if n != 100] == [n for n in range(400) if n != 100]
    assert pool.submit(abs, -1).result() == 1


def test_work_for_a_worker_that_dies_before_it_begins_is_nothing_for_others() -> None:
    pool = ProcessExecutor(1)
    try:
        first = [pool.submit(dies_at, n, -1) for n in range(50)]
        assert [future.result() for future in first] == list(range(50))
        pid = first[-1].worker  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        kept = pool.assign(dies_at, (0, -1), worker=pid)
        others = [pool.submit(dies_at, n, -1) for n in range(5)]
        while len(pool._workers[pid].jobs) < 2:
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        assert isinstance(kept.exception(30), WorkerGone)
        assert [future.result(30) for future in others] == list(range(5))
    finally:
        pool.kill()
        pool.shutdown()


def leaves_at(n: int, which: int) -> int:
    if n == which:
        worker_process.leave()
    return n


def test_a_worker_that_leaves_amid_tiny_work_leaves_the_rest_to_others() -> None:
    pool = ProcessExecutor(1)
    try:
        first = [pool.submit(leaves_at, n, -1) for n in range(50)]
        assert [future.result() for future in first] == list(range(50))
        pid = first[-1].worker  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSTOP)
        others = [pool.assign(leaves_at, (n, 0), later=True) for n in range(5)]
        pool.flush()
        while len(pool._workers[pid].jobs) < 2:
            time.sleep(0.001)
        kept = pool.assign(leaves_at, (0, -1), worker=pid)
        os.kill(pid, signal.SIGCONT)
        assert isinstance(kept.exception(30), WorkerGone)
        assert [future.result(30) for future in others] == list(range(5))
    finally:
        pool.kill()
        pool.shutdown()


def test_who_is_late_is_stopped_and_nobody_else(pool: ProcessExecutor, tmp_path: Path) -> None:
    late = pool.assign(wait_for, (str(tmp_path / "never"),), seconds=0.3)
    other = pool.submit(wait_for, str(tmp_path / "soon"))
    assert isinstance(late.exception(), WorkTimeout)
    assert not other.done()
    (tmp_path / "soon").touch()
    assert other.result() == str(tmp_path / "soon")


def test_work_can_be_given_to_the_worker_that_did_other_work(pool: ProcessExecutor) -> None:
    first = pool.submit(os.getpid)
    first.result()
    assert {pool.assign(os.getpid, worker=first.worker).result() for _ in range(5)} == {first.worker}  # type: ignore[attr-defined]
    pool.assign(os._exit, (0,), worker=first.worker).exception()  # type: ignore[attr-defined]
    assert isinstance(pool.assign(os.getpid, worker=first.worker).exception(), WorkerGone)  # type: ignore[attr-defined]


def test_work_that_is_alone_has_a_process_of_its_own(pool: ProcessExecutor) -> None:
    usual = {pool.submit(os.getpid).result() for _ in range(5)}
    alone = [pool.assign(os.getpid, alone=True).result() for _ in range(3)]
    assert len({*usual, *alone}) == len(usual) + 3


def test_shared_bytes_are_sent_to_each_worker_once(pool: ProcessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    from d6tpipe.executors import processes

    sent = []
    send = processes._send

    def noted(worker: Any, message: Any) -> None:
        sent.append(message)
        send(worker, message)

    monkeypatch.setattr(processes, "_send", noted)
    data = Shared(bytes(1_000_000))
    found = [pool.assign(length, (data,)).result() for _ in range(20)]
    assert {size for _, size in found} == {1_000_000}
    shared = [message for message in sent if isinstance(message, tuple)]
    assert len(shared) == len({pid for pid, _ in found})
    pool.forget()
    pool.submit(length, data).result()
    assert len([message for message in sent if isinstance(message, tuple)]) == len(shared) + 1


def test_cancelled_work_does_not_run(pool: ProcessExecutor, tmp_path: Path) -> None:
    busy = [pool.submit(wait_for, str(tmp_path / "go")) for _ in range(2)]
    waits = pool.submit(Path.touch, tmp_path / "ran")
    assert waits.cancel()
    (tmp_path / "go").touch()
    assert [future.result() for future in busy]
    pool.submit(abs, 1).result()
    assert not (tmp_path / "ran").exists()


def test_an_interrupt_reaches_what_runs(pool: ProcessExecutor, tmp_path: Path) -> None:
    running = pool.submit(begin_and_wait, str(tmp_path / "begun"), str(tmp_path / "never"))
    wait_for(str(tmp_path / "begun"))
    pool.interrupt()
    error = running.exception()
    assert isinstance(error, WorkerDied) and error.exit_code == 130


def test_many_threads_may_submit(pool: ProcessExecutor) -> None:
    found: list[int] = []

    def submits() -> None:
        found.extend(pool.map(abs, range(100)))

    threads = [threading.Thread(target=submits) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([*range(100)] * 4)


SCRIPT = """
    import os, signal, sys, time
    from d6tpipe.executors.processes import ProcessExecutor
    print("the script runs", flush=True)
    pool = ProcessExecutor(2)
    pids = {pool.submit(os.getpid).result() for _ in range(10)}
    busy = [pool.submit(time.sleep, 600), pool.submit(sum, range(10 ** 12))]
    while len(pool._workers) < 2 or not all(worker.jobs for worker in pool._workers.values()):
        time.sleep(0.001)
    print(*pool._workers, flush=True)
"""


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(3)", "raise ValueError", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"],
    ids=["end of the script", "exit", "error", "kill", "hard exit"],
)
def test_no_process_outlives_the_one_that_made_it(ending: str, tmp_path: Path) -> None:
    """A script without a main guard, too; its workers are busy, one of them in C."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT) + ending)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    said, pids = done.stdout.splitlines()
    assert said == "the script runs"
    end = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") for pid in pids.split()):
        assert time.monotonic() < end, "they are still there"
        time.sleep(0.01)
