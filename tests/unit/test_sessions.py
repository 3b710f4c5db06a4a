"""`Session`: a run that goes on while more is asked of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import luigi
import pytest

import d6tpipe as dp
from d6tpipe.errors import BuildError, GraphError, ParameterError, SessionError, TaskCancelled

WORKERS = [("serial", 1), ("threads", 2), ("processes", 2)]


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have the main thread interrupted if it takes longer: it waits for what never comes."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"it has taken longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Base(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=0)

    def run(self) -> None:
        (self.job.dir / f"body {os.getpid()} {time.monotonic_ns()}").write_text("")
        self.save(self.n)


class Waits(dp.tasks.TaskPickle):
    """Tells that it has begun, and waits."""

    place = dp.Parameter()
    n = dp.IntParameter(default=0)

    def run(self) -> None:
        (Path(self.place) / f"begun-{self.n}").write_text(str(os.getpid()))
        try:
            wait_for(Path(self.place) / f"go-{self.n}")
        except TaskCancelled:
            (Path(self.place) / f"stopped-{self.n}").write_text("")
            raise
        self.save(self.n)


@dp.requires(Base)
class Fit(dp.tasks.TaskPickle):
    k = dp.IntParameter(default=1)

    def run(self) -> None:
        self.save(self.inputLoad() + self.k)


class Wrong(dp.tasks.TaskPickle):
    def run(self) -> None:
        raise ValueError("no")


class AfterWrong(dp.tasks.TaskPickle):
    def requires(self) -> Any:
        return Wrong()

    def run(self) -> None:
        self.save(1)


def bodies(task: Any) -> int:
    from d6tpipe.jobs import job_folder

    return len(os.listdir(job_folder(task)))


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_what_is_submitted_runs_while_the_program_goes_on(executor: str, workers: int, tmp_path: Path) -> None:
    task = Waits(place=str(tmp_path))
    with dp.Session("night", workers, executor) as session:
        assert session.submit(task) is task
        wait_for(tmp_path / "begun-0")  # it runs, and this goes on
        session.submit(Fit())
        (tmp_path / "go-0").write_text("")
        result = session.wait()
        assert {str(result.states[other]) for other in (task, Fit(), Base())} == {"built"}
        assert Fit().outputLoad() == 1
        later = session.submit(Fit(k=5))
    assert later.outputLoad() == 5
    assert session.result is not None and session.result.ok and len(session.result.states) == 4


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_what_several_sweeps_need_is_built_once(executor: str, workers: int) -> None:
    with dp.Session("night", workers, executor) as session:
        first = session.submit(dp.sweep(Fit, k=[1, 2, 3], id="{k}"))
        session.submit(dp.sweep(Fit, k=[3, 4], n=[0, 1]))
        session.wait()
        session.submit([Fit(k=1), Fit(k=7)])
    assert first.load() == {"1": 1, "2": 2, "3": 3}
    assert bodies(Base()) == 1
    assert len(session.result.table()) == 9


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_a_failure_is_an_error_at_the_end_and_the_others_go_on(executor: str, workers: int) -> None:
    with pytest.raises(BuildError, match="ValueError: no") as caught, dp.Session("night", workers, executor) as session:
        session.submit(AfterWrong())
        result = session.wait()
        assert not result.ok and len(result.failures) == 1
        session.submit(Fit())
    assert Fit().complete()
    states = {task.task_family: str(state) for task, state in caught.value.result.states.items()}
    assert states == {"Wrong": "failed", "AfterWrong": "upstream_failed", "Base": "built", "Fit": "built"}


def test_a_failure_can_be_left_to_whoever_looks_at_the_result() -> None:
    with dp.Session("night", abort=False) as session:
        session.submit(Wrong())
    assert not session.result.ok and session.result.failures


def test_there_is_one_session_of_a_name_at_a_time(tmp_path: Path) -> None:
    script = (
        f"import d6tpipe as dp; dp.set_dir({str(dp.settings.dirpath)!r})\n"
        "with dp.Session('night'): print('open', flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(SessionError, match=f"(?s)of this name is open.*night.*process {other.pid}"):
            dp.Session("night").__enter__()
        with dp.Session("day") as session, pytest.raises(SessionError, match="is open"), dp.Session("day"):
            pass
        other.kill()
        other.wait()
    with dp.Session("night") as session:  # the one that was killed holds nothing
        session.submit(Fit())
    assert Fit().complete()


def test_callbacks_submit_more(tmp_path: Path) -> None:
    told: list[str] = []

    def more(event: Any) -> None:
        told.append(str(event.task))
        if event.task.k < 4:
            session.submit(Fit(k=event.task.k + 1))

    with dp.on(Fit, "completed", more), dp.Session("night") as session:
        session.submit(Fit(k=1))
    assert [Fit(k=k).outputLoad() for k in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert len(told) == 4


def test_a_callback_that_waits_for_its_own_session_is_told_so() -> None:
    errors: list[Exception] = []

    def wait(event: Any) -> None:
        try:
            session.wait()
        except SessionError as error:
            errors.append(error)

    with dp.on(Fit, "completed", wait), dp.Session("night") as session:
        session.submit(Fit())
    assert "cannot wait for itself" in str(errors[0])


class Emits(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=0)

    def run(self) -> None:
        for step in range(3):
            self.job.emit("step", step=step)
            time.sleep(0.25)  # longer than one looks away
        self.save(self.n)


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_who_watches_submits_what_is_watched_and_cannot_wait(executor: str, workers: int) -> None:
    dp.run(Emits(n=1))
    errors = []

    def more(emission: Any) -> None:
        if emission.task.n < 3:
            session.submit([Emits(n=1), Emits(n=emission.task.n + 2), Fit(k=emission.data["step"])])
            try:
                session.wait()
            except SessionError as error:
                errors.append(error)

    session = dp.Session("night", workers, executor)
    with within(60), dp.watch(Emits, "step", more), session:
        session.submit(Emits())
    assert session.result.ok and Emits(n=2).complete() and Fit(k=2).complete()
    assert errors and all("cannot wait for itself" in str(error) for error in errors)


def test_a_body_that_waits_for_its_own_session_is_told_so() -> None:
    class Wait(dp.tasks.TaskPickle):
        def run(self) -> None:
            session.submit(Fit())
            session.wait()

    with within(60), dp.Session("night", 2, "threads", abort=False) as session:
        session.submit(Wait())
    assert "cannot wait for itself" in str(session.result.failures[0].error) and Fit().complete()


def test_a_body_that_waits_for_its_next_attempt_is_in_nobodys_way(tmp_path: Path) -> None:
    class Second(dp.tasks.TaskPickle):
        retry_count = 2
        retry_delay = 3600

        def run(self) -> None:
            (tmp_path / "tried").write_text("")
            raise ValueError("not yet")

    with within(60), pytest.raises(ZeroDivisionError), dp.Session("night", 2, "threads") as session:
        session.submit(Second())
        wait_for(tmp_path / "tried")
        time.sleep(0.1)  # it must be told by then, else this shows nothing
        session.submit(Fit())
        while not Fit().complete():
            time.sleep(0.01)
        raise ZeroDivisionError


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_what_was_refused_is_told_once(executor: str) -> None:
    class Circle(dp.tasks.TaskPickle):
        def requires(self) -> Any:
            return Circle()

    with dp.Session("night", executor=executor) as session:
        with pytest.raises(GraphError):
            session.submit(Circle())
            session.wait()
        session.submit(Fit())
        assert session.wait().ok


def test_all_that_was_refused_and_nobody_was_told_is_told_at_the_end() -> None:
    class Circle(dp.tasks.TaskPickle):
        n = dp.IntParameter()

        def requires(self) -> Any:
            return Circle(n=self.n)

    with pytest.warns(UserWarning, match="n=2"), pytest.raises(GraphError, match="n=1"), dp.Session("night") as session:
        session.submit(Circle(n=1))
        session.submit(Circle(n=2))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_of_a_process_with_a_session_is_told_whose_that_is(tmp_path: Path) -> None:
    with dp.Session("night", 2, "threads") as session:
        session.submit(Fit())
        session.wait()
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                for ask in (lambda: session.submit(Fit(k=2)), session.wait, session.close):
                    try:
                        ask()
                    except SessionError as error:
                        assert "a fork of it" in str(error)
                    else:
                        os._exit(1)
                session.__exit__(None, None, None)
                os._exit(3)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        session.submit(Fit(k=3))
    assert session.result.ok and not Fit(k=2).complete()


def test_what_makes_no_graph_is_told_where_it_is_submitted_and_the_others_go_on() -> None:
    class Circle(dp.tasks.TaskPickle):
        def requires(self) -> Any:
            return Circle()

    with dp.Session("night", 2, "threads") as session:
        for wrong in (Circle(), Circle, 3, [Fit(), 3]):
            with pytest.raises(GraphError):
                session.submit(wrong)
        session.submit(Fit())
    assert Fit().complete() and len(session.result.states) == 2


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_what_does_not_fit_with_what_was_submitted_before_is_told(executor: str, workers: int) -> None:
    class One(Base):
        target_dir = "same"
        save_attrib = False

    class Other(Base):
        target_dir = "same"
        save_attrib = False

    with pytest.raises(GraphError, match="same"), dp.Session("night", workers, executor) as session:
        session.submit(One())
        session.wait()
        session.submit(Other())
        assert executor == "serial", "it is told where it was submitted"
        session.submit(Fit())
    assert One().complete() and (executor != "serial" or Fit().complete())


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_what_was_wrong_in_a_callback_is_told_at_the_end(executor: str, workers: int) -> None:
    class Circle(dp.tasks.TaskPickle):
        def requires(self) -> Any:
            return Circle()

    with (
        pytest.raises(GraphError, match="circle"),
        dp.Session("night", workers, executor) as session,
        dp.on(Fit, "completed", lambda event: session.submit(Circle()) if event.task.k == 1 else None),
    ):
        session.submit([Fit(k=1)])
        while not Fit(k=1).complete():
            time.sleep(0.01)
        session.submit(Fit(k=2))
        session.wait()
    assert Fit(k=2).complete()


def test_requirements_are_asked_for_once() -> None:
    asked: list[int] = []

    class Asked(dp.tasks.TaskPickle):
        n = dp.IntParameter()

        def requires(self) -> Any:
            asked.append(self.n)
            return [Asked(n=self.n - 1)] if self.n else []

        def run(self) -> None:
            self.save(1)

    with dp.Session("night") as session:
        for n in range(10):
            session.submit(Asked(n=n))
        session.wait()
        session.submit(Asked(n=9))
    assert sorted(asked) == list(range(10))


@pytest.mark.parametrize(("executor", "workers"), [("threads", 2), ("processes", 2)])
def test_a_block_that_is_left_by_an_error_gives_up_what_is_not_done(
    executor: str, workers: int, tmp_path: Path
) -> None:
    tasks = [Waits(place=str(tmp_path), n=n) for n in range(4)]
    with pytest.raises(ZeroDivisionError), dp.Session("night", workers, executor) as session:
        session.submit(tasks)
        wait_for(tmp_path / "begun-0")
        wait_for(tmp_path / "begun-1")
        if executor == "threads":  # which nobody can stop
            for n in (0, 1):
                (tmp_path / f"go-{n}").write_text("")
        raise ZeroDivisionError
    assert {str(session.result.states[task]) for task in tasks[2:]} == {"cancelled"}
    assert not (tmp_path / "begun-3").exists()
    if executor == "processes":
        assert (tmp_path / "stopped-0").exists() and not tasks[0].complete()


def test_a_session_is_used_within_its_block() -> None:
    session = dp.Session("night")
    with pytest.raises(SessionError, match="has not begun"):
        session.submit(Fit())
    with pytest.raises(SessionError, match="has not begun"):
        session.wait()
    with session:
        assert "open" in repr(session)
    with pytest.raises(SessionError, match="has ended"):
        session.submit(Fit())
    with pytest.raises(SessionError, match="opened once"):
        session.__enter__()
    with pytest.raises(SessionError, match="has a name"):
        dp.Session("")


def test_a_session_is_open_from_one_cell_of_a_notebook_to_the_next() -> None:
    session = dp.Session("night", abort=False).open()
    session.submit(Fit(k=1))
    assert session.wait().ok
    session.submit(Wrong())
    session.close()
    assert not session.result.ok
    session.close()
    with pytest.raises(SessionError, match="has not begun"):
        dp.Session("other").close()
    with dp.Session("night"):
        pass


def test_an_unknown_option_is_told_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"(?s)Session\(\) has no option 'wrkers'.*Did you mean 'workers'"):
        dp.Session("night", wrkers=2)
    with pytest.raises(ParameterError, match=r"(?s)no option 'forced_all'.*cannot force"):
        dp.Session("night", forced_all=True)


def test_handlers_of_luigi_are_told_that_were_registered_after_the_session_began() -> None:
    told: list[str] = []
    with dp.Session("night") as session:
        session.submit(Base())
        session.wait()
        Fit.event_handler(luigi.Event.SUCCESS)(lambda task: told.append(f"built {task}"))
        try:
            session.submit(Fit())
            session.wait()
        finally:
            luigi.Task._event_callbacks.pop(Fit, None)
    assert told == ["built Fit(n=0, k=1)"]


def test_a_body_cannot_open_a_session() -> None:
    class Opens(dp.tasks.TaskPickle):
        def run(self) -> None:
            with dp.Session("inner"):
                pass

    failure = dp.run(Opens(), abort=False).failures[0]
    assert isinstance(failure.error, SessionError) and "A body cannot open a session" in str(failure.error)


def test_limits_are_those_of_all_that_is_submitted(tmp_path: Path) -> None:
    class Uses(Waits):
        resources = {"db": 1}

    with dp.Session("night", 2, "threads", resources={"db": 1}) as session:
        session.submit(Uses(place=str(tmp_path), n=0))
        wait_for(tmp_path / "begun-0")
        session.submit(Uses(place=str(tmp_path), n=1))
        session.submit(Fit())
        while not Fit().complete():
            time.sleep(0.01)
        assert not (tmp_path / "begun-1").exists()
        for n in (0, 1):
            (tmp_path / f"go-{n}").write_text("")
    assert session.result.ok


def test_bodies_ask_for_more_in_a_session() -> None:
    class Asks(dp.tasks.TaskPickle):
        def run(self) -> Any:
            yield [Fit(k=1), Fit(k=2)]
            self.save(Fit(k=1).outputLoad() + Fit(k=2).outputLoad())

    for workers in (1, 2):
        with dp.Session("night", workers) as session:
            session.submit(Asks())
            session.submit(Fit(k=2))
        assert Asks().outputLoad() == 3
        Asks().reset(confirm=False)


def test_stale_tasks_are_built_again_as_the_session_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reads(dp.tasks.TaskPickle):
        depends_on = [dp.env("D6TPIPE_TEST_SESSION")]

        def run(self) -> None:
            self.save(os.environ["D6TPIPE_TEST_SESSION"])

    for stale, now, value in (("warn", "a", "a"), ("warn", "b", "a"), ("rerun", "b", "b")):
        monkeypatch.setenv("D6TPIPE_TEST_SESSION", now)
        with dp.Session("night", stale=stale) as session:
            session.submit(Reads())
        assert Reads().outputLoad() == value


def test_a_run_beside_a_session_builds_nothing_twice(tmp_path: Path) -> None:
    results: list[Any] = []
    with dp.Session("night", 2, "threads") as session:
        session.submit([Waits(place=str(tmp_path)), Fit(k=1)])
        wait_for(tmp_path / "begun-0")
        beside = threading.Thread(target=lambda: results.append(dp.run([Fit(k=1), Fit(k=2)])))
        beside.start()
        beside.join()
        print("of the program")
        (tmp_path / "go-0").write_text("")
    assert results[0].ok and bodies(Base()) == 1
    assert "of the program" not in dp.log(Waits(place=str(tmp_path)))


def test_streams_are_as_they_were_after_a_session_within_which_others_ran(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with dp.Session("night") as session:
        session.submit(Fit())
        session.wait()
        dp.run(Fit(k=3))
    assert (sys.stdout, sys.stderr) == before


def test_progress_grows_with_what_is_submitted(capsys: Any) -> None:
    with dp.Session("night", progress=True) as session:
        session.submit(Fit(k=1))
        session.wait()
        session.submit(Fit(k=2))
    assert "[1/2] built" in (err := capsys.readouterr().err) and "[3/3] built" in err


def test_the_summary_of_a_session_is_printed_once(capsys: Any) -> None:
    with dp.Session("night", execution_summary=True) as session:
        session.submit(Fit(k=1))
        session.submit(Fit(k=2))
    out = capsys.readouterr().out
    assert out.count("Execution Summary") == 2 and "3 built" in out


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import d6tpipe as dp
from test_sessions import Waits
dp.set_dir({data!r})
with dp.Session("night", workers=2) as session:
    session.submit([Waits(place={place!r}, n=n) for n in range(3)])
    {wait}
"""


@pytest.mark.parametrize("wait", ["session.wait()", "pass", "import time; time.sleep(60)"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_asked_to_end_stops_its_session(wait: str, number: int, tmp_path: Path) -> None:
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), data=str(tmp_path / "data"), place=str(tmp_path), wait=wait
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for(tmp_path / "begun-0")
    wait_for(tmp_path / "begun-1")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGINT), err
    assert (tmp_path / "stopped-0").exists() and (tmp_path / "stopped-1").exists(), err
    assert not (tmp_path / "begun-2").exists() and "cancelled" in out


LEFT_OPEN = """
import sys, time
sys.path.insert(0, {tests!r})
import d6tpipe as dp
from test_sessions import Base, Waits, wait_for
dp.set_dir({data!r})
session = dp.Session("night", {workers}, {executor!r}).open()
session.submit([Base(n=n) for n in range(50)])
session.wait()
session.submit([Base(n=n) for n in range(50, 55)] + [Waits(place={place!r})])
wait_for(__import__("pathlib").Path({place!r}) / "begun-0")
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(5)"])
def test_a_session_that_is_left_open_ends_with_the_program(end: str, tmp_path: Path) -> None:
    script = LEFT_OPEN.format(
        tests=str(Path(__file__).parent), data=str(tmp_path / "data"), place=str(tmp_path), workers=2,
        executor="processes", end=end,
    )  # fmt: skip
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == (5 if end else 0), process.stderr
    assert (tmp_path / "stopped-0").exists(), "the body was not asked to stop"
    dp.set_dir(str(tmp_path / "data"))
    complete = [Base(n=n) for n in range(55) if Base(n=n).complete()]
    assert len(complete) >= 50 and {str(state) for state in dp.run(complete).states.values()} == {"fresh"}
