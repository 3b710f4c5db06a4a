"""Bodies that are asked to stop: SIGTERM, time that is up, interrupted runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import BuildError, TaskCancelled, TaskTimeoutError
from d6tpipe.jobs import job_folder


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.01)


def forever() -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        time.sleep(0.01)


class Long(dp.tasks.TaskPickle):
    """Tells its process, waits for ever, saves what it has when it is asked to stop."""

    place = dp.Parameter()
    ignore = dp.BoolParameter(default=False)

    def run(self) -> None:
        (Path(self.place) / "pid").write_text(str(os.getpid()))
        os.rename(Path(self.place) / "pid", Path(self.place) / "started")
        try:
            forever()
        except TaskCancelled as asked:
            (Path(self.place) / "checkpoint").write_text(str(asked))
            if not self.ignore:
                raise
        self.save(1)


class Alone(Long):
    isolate = True


def stop_when_started(place: Path, number: int = signal.SIGTERM) -> threading.Thread:
    def stop() -> None:
        wait_for(place / "started")
        os.kill(int((place / "started").read_text()), number)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


@pytest.mark.parametrize("cls", [Long, Alone])
@pytest.mark.parametrize("ignore", [False, True])
def test_a_body_whose_process_is_asked_to_end_is_cancelled_whatever_it_makes_of_it(
    cls: Any, ignore: bool, tmp_path: Path
) -> None:
    task = cls(place=str(tmp_path), ignore=ignore)
    thread = stop_when_started(tmp_path)
    result = dp.run([task], workers=2, executor="processes", abort=False)
    thread.join()
    assert str(result.states[task]) == "cancelled" and not result.ok
    assert "SIGTERM" in (tmp_path / "checkpoint").read_text()
    (failure,) = result.failures
    assert isinstance(failure.error, TaskCancelled) and "asked to end" in str(failure.error)
    assert str(dp.run(task, dry_run=True).states[task]) == "pending"
    if cls is Alone:
        status = json.loads((Path(job_folder(task)) / "status.json").read_text())
        assert status["state"] == "cancelled" and status["end"]


def test_what_was_cancelled_is_not_tried_again_and_others_go_on(tmp_path: Path) -> None:
    class Other(dp.tasks.TaskPickle):
        def run(self) -> None:
            self.save(1)

    class Again(Long):
        retry_count = 3

    thread = stop_when_started(tmp_path)
    result = dp.run([Again(place=str(tmp_path)), Other()], workers=2, executor="processes", abort=False)
    thread.join()
    assert sorted(map(str, result.states.values())) == ["built", "cancelled"]


class Late(Long):
    worker_timeout = 1


class Stubborn(dp.tasks.TaskPickle):
    worker_timeout = 1

    def run(self) -> None:
        while True:
            try:
                forever()
            except TaskCancelled:
                print("no")


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2)])
def test_a_body_whose_time_is_up_can_save_what_it_has(executor: str, workers: int, tmp_path: Path) -> None:
    for ignore in (False, True):
        place = tmp_path / str(ignore)
        place.mkdir()
        task = Late(place=str(place), ignore=ignore)
        result = dp.run(task, executor=executor, workers=workers, abort=False)
        assert str(result.states[task]) == "timeout"
        assert "longer than 1 s (worker_timeout)" in (place / "checkpoint").read_text()
        assert not task.complete() or dp.explain(task)


def test_a_body_that_ignores_that_its_time_is_up_is_killed() -> None:
    result = dp.run(Stubborn(), executor="processes", abort=False)
    assert isinstance(result.failures[0].error, TaskTimeoutError)
    assert "no" in dp.log(Stubborn())


class Trains(dp.tasks.TaskPickle):
    """Takes three attempts of a second each."""

    resumable = True
    worker_timeout = 1.5

    def run(self) -> None:
        done = self.job.dir / "done"
        steps = int(done.read_text()) if done.exists() else 0
        while steps < 2:
            try:
                forever()
            finally:
                done.write_text(str(steps + 1))
        self.save((self.job.attempt, steps))


class Polite(dp.tasks.TaskPickle):
    """Gives up by itself when too little time is left."""

    resumable = True
    worker_timeout = 100

    def run(self) -> None:
        if self.job.attempt < 3:
            raise TaskTimeoutError(f"saved in attempt {self.job.attempt}")
        self.save(self.job.attempt)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("processes", 2)])
def test_a_resumable_body_whose_time_is_up_is_tried_again_by_itself(executor: str, workers: int) -> None:
    dp.run([Trains(), Polite()], executor=executor, workers=workers)
    assert Trains().outputLoad() == (3, 2)
    assert Polite().outputLoad() == 3


def test_a_resumable_body_is_tried_four_times_at_most_and_other_errors_not_at_all() -> None:
    class Never(Polite):
        wrong = dp.BoolParameter()

        def run(self) -> None:
            with open(self.job.artifact("attempts"), "a") as stream:
                stream.write("x")
            raise ValueError("no") if self.wrong else TaskTimeoutError("no time")

    for wrong, times, state in ((False, 4, "timeout"), (True, 1, "failed")):
        task = Never(wrong=wrong)
        result = dp.run(task, executor="serial", abort=False)
        assert str(result.states[task]) == state
        assert (Path(job_folder(task)) / "attempts").read_text() == "x" * times
    assert issubclass(TaskTimeoutError, BuildError)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import d6tpipe as dp
from test_cancellation import Long, Alone
dp.set_dir({data!r})
try:
    dp.run(Long(place={place!r}), executor={executor!r}, workers={workers})
finally:
    print("wound down", flush=True)
"""


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("processes", 2)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_asked_to_end_lets_its_bodies_save_what_they_have(
    executor: str, workers: int, number: int, tmp_path: Path
) -> None:
    place, data = tmp_path / "place", tmp_path / "data"
    place.mkdir()
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), data=str(data), place=str(place), executor=executor, workers=workers
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for(place / "started")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT), err
    assert "wound down" in out and "cancelled" in out
    if number == signal.SIGTERM or executor == "processes":  # else Python's own KeyboardInterrupt
        assert (place / "checkpoint").exists(), err
    assert not list(data.rglob("*-data.pkl"))


# ---- the handler of the program


def handler() -> Any:
    return signal.getsignal(signal.SIGTERM)


@pytest.fixture
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("default_handler")
def test_a_handler_that_the_program_sets_within_a_session_stays() -> None:
    with dp.Session("night"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert handler() is signal.SIG_IGN


@pytest.mark.usefixtures("default_handler")
def test_the_handler_stays_until_the_last_session_ends() -> None:
    first, second = dp.Session("first").open(), dp.Session("second").open()
    first.close()
    assert handler() is not signal.SIG_DFL
    second.close()
    assert handler() is signal.SIG_DFL


@pytest.mark.usefixtures("default_handler")
def test_a_session_can_be_closed_in_another_thread() -> None:
    session = dp.Session("night").open()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(session.close).result()
    child = subprocess.run([sys.executable, "-c", CLOSED_ELSEWHERE], check=False)
    assert child.returncode == -signal.SIGTERM
    with dp.Session("night"):
        pass
    assert handler() is signal.SIG_DFL


CLOSED_ELSEWHERE = """
import os, signal, threading
from d6tpipe.cancellation import terminable
block = terminable()
block.__enter__()
thread = threading.Thread(target=block.__exit__, args=(None, None, None))
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
os._exit(1)
"""


class Deaf(dp.tasks.TaskPickle):
    def run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.save(os.getpid())


def test_what_a_body_does_with_signals_does_not_count_for_the_next(tmp_path: Path) -> None:
    class Next(Long):
        worker_timeout = 0.5

        def requires(self) -> Any:
            return Deaf()

    dp.run(Next(place=str(tmp_path)), workers=2, abort=False)
    assert (tmp_path / "checkpoint").exists()
    assert int((tmp_path / "started").read_text()) == Deaf().outputLoad(), "it was another process: this shows nothing"


class Forks(dp.tasks.TaskPickle):
    def run(self) -> None:
        child = os.fork()
        if not child:
            try:
                time.sleep(60)
            finally:
                os._exit(1)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        self.save(os.WTERMSIG(os.waitpid(child, 0)[1]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.usefixtures("default_handler")
@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("processes", 2)])
def test_a_process_that_a_body_forks_ends_of_a_signal_as_others_do(executor: str, workers: int) -> None:
    dp.run(Forks(), workers=workers, executor=executor)
    assert Forks().outputLoad() == signal.SIGTERM
