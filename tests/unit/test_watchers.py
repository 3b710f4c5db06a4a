"""``watch``: functions that are called with what bodies emit, while they run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import d6tpipe as dp
from d6tpipe import emissions, watchers
from d6tpipe.errors import ParameterError

SWITCH: dict[str, Any] = {}
"""What bodies of these tests look at: they run in this process."""


class Train(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def run(self) -> None:
        for step in range(SWITCH.get("steps", 2)):
            self.job.emit("step", step=step)
            SWITCH.get("after", print_nothing)(self)
        if SWITCH.get("fail"):
            raise ValueError("after emitting")
        self.save(self.n)


class Special(Train):
    pass


class Resumes(Train):
    resumable = True


class Silent(dp.tasks.TaskPickle):
    def run(self) -> None:
        SWITCH["threads"] = [thread.name for thread in threading.enumerate()]
        self.save(1)


class Asks(dp.tasks.TaskPickle):
    def run(self) -> Any:
        yield Train(n=5)
        self.save(1)


class Source(dp.tasks.TaskPickle):
    def run(self) -> None:
        self.save(1)


class TrainsOn(Train):
    def requires(self) -> Any:
        return Source()


def print_nothing(task: Any) -> None:
    pass


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    dp.settings.execution_summary = False
    SWITCH.clear()
    yield
    watchers._watchers.clear()
    assert emissions.listeners == []
    assert not [thread for thread in threading.enumerate() if thread.name == "d6tpipe-watch"]


@pytest.fixture
def told() -> list[Any]:
    """What the watcher of all tasks of this module was told."""
    found: list[Any] = []
    dp.watch(Train, "step", found.append)
    return found


def steps(told: list[Any]) -> list[Any]:
    return [(one.data["step"], one.replayed) for one in told]


def test_is_told_while_a_body_runs_in_the_same_thread_as_the_run() -> None:
    heard = threading.Event()
    SWITCH["after"] = lambda task: None if heard.wait(60) else pytest.fail("nobody was told")
    with dp.watch(Train, "step", lambda emission: heard.set()):
        assert dp.run(Train())


def test_a_body_that_emits_in_this_process_does_not_wait_for_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "_PERIOD", 3600)
    test_is_told_while_a_body_runs_in_the_same_thread_as_the_run()


def test_an_emission_says_where_it_comes_from(told: list[Any]) -> None:
    ids = []
    SWITCH["after"] = lambda task: ids.append(task.job.run_id)
    dp.run(Train(n=3))
    one = told[0]
    assert one.task is Train(n=3) and one.name == "step" and one.attempt == 1 and one.run_id == ids[0]
    assert one.time > 1_700_000_000 and repr(one).startswith("Emission(task=Train(n=3), name='step'")


def test_a_class_a_task_a_sweep_and_a_name_may_be_meant() -> None:
    counts = dict.fromkeys(["class", "task", "sweep", "special", "other name"], 0)

    def count(key: str) -> Any:
        return lambda emission: counts.__setitem__(key, counts[key] + 1)

    some = dp.sweep(Train, n=[3, 4])
    dp.watch(Train, "step", count("class"))
    dp.watch(Train(n=3), "step", count("task"))
    dp.watch(some, "step", count("sweep"))
    dp.watch(Special, "step", count("special"))
    dp.watch(Train, "stop", count("other name"))
    SWITCH["steps"] = 1
    dp.run([*some.tasks, Special(n=3), Train(n=9), Silent()])
    assert counts == {"class": 4, "task": 1, "sweep": 2, "special": 1, "other name": 0}


def test_a_watcher_can_be_removed_and_be_a_decorator(told: list[Any]) -> None:
    SWITCH["steps"] = 3

    @dp.watch(Special, "step")
    def tell(emission: Any) -> None:
        SWITCH.setdefault("decorated", []).append(emission)

    once: list[Any] = []
    handler = dp.watch(Special, "step", lambda emission: (once.append(emission), handler.remove()))
    with dp.watch(Special, "step", print) as inner:
        assert isinstance(inner, dp.callbacks.Handler) and "print" in repr(inner)
    dp.run(Special())
    assert len(SWITCH["decorated"]) == 3 and callable(tell) and len(once) == 1 and len(told) == 3
    handler.remove()


def test_what_a_function_raises_is_a_warning_and_the_others_are_told() -> None:
    told: list[Any] = []

    def breaks(emission: Any) -> None:
        raise KeyError("mail")

    dp.watch(Train, "step", breaks)
    dp.watch(Train, "step", told.append)
    with pytest.warns(UserWarning, match=r"breaks raised KeyError: 'mail' when .*Train\(n=1\) emitted 'step'"):
        assert dp.run(Train())
    assert len(told) == 2


def test_two_functions_never_run_at_once() -> None:
    inside: list[int] = []
    most = []

    def tell(emission: Any) -> None:
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.002)  # so that another one could come in
        inside.pop()

    SWITCH["steps"] = 10
    with dp.watch(Train, "step", tell):
        dp.run([Train(n=n) for n in range(6)], executor="threads", workers=3)
    assert len(most) == 60 and set(most) == {1}


def test_all_threads_of_a_body_may_emit() -> None:
    told: list[Any] = []

    class Many(dp.tasks.TaskPickle):
        def run(self) -> None:
            job = self.job
            threads = [threading.Thread(target=job.emit, args=("part",), kwargs={"n": n}) for n in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.save(1)

    with dp.watch(Many, "part", told.append):
        dp.run(Many())
    assert sorted(one.data["n"] for one in told) == list(range(20))


@pytest.mark.parametrize("watched", [False, True])
def test_there_is_a_thread_only_where_something_is_watched(watched: bool) -> None:
    handlers = [dp.watch(Special, "step", print)]
    if watched:
        handlers.append(dp.watch(Silent, "step", print))
    dp.run(Silent())
    assert ("d6tpipe-watch" in SWITCH["threads"]) is watched
    for handler in handlers:
        handler.remove()
    dp.run(Silent(), forced_all=True)
    assert "d6tpipe-watch" not in SWITCH["threads"]


def test_the_thread_ends_with_an_interrupted_run(told: list[Any]) -> None:
    def interrupt(task: Any) -> None:
        raise KeyboardInterrupt

    SWITCH["after"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        dp.run(Train())


def test_a_failed_body_is_told_before_its_end(told: list[Any]) -> None:
    SWITCH["fail"] = True
    with dp.on(Train, "failed", told.append):
        dp.run(Train(), abort=False)
    assert [getattr(one, "name", "failed") for one in told] == ["step", "step", "failed"]


def test_what_a_function_prints_is_not_what_the_body_has_printed(capsys: pytest.CaptureFixture[str]) -> None:
    heard = threading.Event()

    def tell(emission: Any) -> None:
        print("said by the watcher")
        heard.set()

    SWITCH["after"] = lambda task: (heard.wait(60), print("said by the body"))
    with dp.watch(Train, "step", tell):
        dp.run(Train())
    assert "said by the watcher" in capsys.readouterr().out
    assert "body" in dp.log(Train()) and "watcher" not in dp.log(Train())


def test_a_function_may_run_tasks(told: list[Any]) -> None:
    built = []
    with dp.watch(Train(n=1), "step", lambda emission: built.append(dp.run(Train(n=2 + emission.data["step"])))):
        dp.run(Train(n=1))
    assert len(built) == 2 and all(built)
    assert sorted(one.task.n for one in told) == [1, 1, 2, 2, 3, 3]


# ---- what was emitted before


def test_a_run_that_has_nothing_to_build_tells_it_again(told: list[Any]) -> None:
    dp.run([Train(n=1), Train(n=2)])
    before = [(one.task, one.data["step"], one.run_id, one.time) for one in told]
    told.clear()
    dp.run([Train(n=1), Train(n=2)])
    assert sorted(map(str, before)) == sorted(
        str((one.task, one.data["step"], one.run_id, one.time)) for one in told
    ) and all(one.replayed for one in told)


def test_a_question_tells_nothing_and_writes_nothing(told: list[Any]) -> None:
    dp.run(Train(), dry_run=True)
    assert not os.path.exists(dp.settings.dirpath)
    dp.run(Train())
    told.clear()
    dp.run(Train(), dry_run=True)
    dp.preview(Train())
    assert told == []


def test_a_reset_deletes_it(told: list[Any]) -> None:
    dp.run(Train())
    Train().reset(confirm=False)
    assert not os.path.exists(emissions.file_of(Train()))
    told.clear()
    dp.run(Train())
    assert steps(told) == [(0, False), (1, False)]


def test_a_build_again_begins_from_nothing(told: list[Any]) -> None:
    dp.run(Train())
    told.clear()
    SWITCH["steps"] = 1
    dp.run(Train(), forced_all=True)
    dp.run(Train())
    assert steps(told) == [(0, False), (0, True)]


def test_a_build_that_emits_nothing_does_not_take_over_what_an_earlier_one_has_emitted(told: list[Any]) -> None:
    dp.run(Train())
    told.clear()
    SWITCH["steps"] = 0
    dp.run(Train(), forced_all=True)
    dp.run(Train())
    assert told == []


def test_what_a_failed_build_has_emitted_is_not_told_again(told: list[Any]) -> None:
    SWITCH["fail"] = True
    dp.run(Train(), abort=False)
    SWITCH.clear()
    SWITCH["steps"] = 0
    told.clear()
    dp.run(Train())
    dp.run(Train())
    assert told == []


def test_what_was_accepted_tells_it_again(told: list[Any]) -> None:
    dp.run(Train())
    Train().output().path.write_bytes(Train(n=1).output().path.read_bytes() + b"edited")
    dp.accept(Train())
    told.clear()
    dp.run(Train(), stale="warn")
    assert steps(told) == [(0, True), (1, True)]


def test_what_was_built_by_hand_tells_it_again(told: list[Any]) -> None:
    Train().run()
    assert told == []
    dp.run(Train())
    assert steps(told) == [(0, True), (1, True)] and told[0].run_id == ""


def test_a_resumable_task_goes_on_from_what_earlier_runs_have_emitted(told: list[Any]) -> None:
    SWITCH["fail"] = True
    dp.run(Resumes(), abort=False)
    told.clear()
    SWITCH.clear()
    SWITCH["steps"] = 1
    dp.run(Resumes())
    assert steps(told) == [(0, True), (1, True), (0, False)]
    assert len({one.run_id for one in told}) == 2
    told.clear()
    dp.run(Resumes())
    assert steps(told) == [(0, True), (1, True), (0, True)]
    told.clear()
    dp.run(Resumes(), forced_all=True)  # it has succeeded: from nothing
    assert steps(told) == [(0, False)]


def test_a_resumable_task_that_emits_no_more_keeps_what_earlier_attempts_have_emitted(told: list[Any]) -> None:
    SWITCH["fail"] = True
    dp.run(Resumes(), abort=False)
    SWITCH.clear()
    SWITCH.update(steps=0)
    real = Resumes.run
    try:
        Resumes.run = lambda self: (self.job.dir, real(self))[1]  # type: ignore[method-assign]
        told.clear()
        dp.run(Resumes())
        assert steps(told) == [(0, True), (1, True)]
        told.clear()
        dp.run(Resumes())
        assert steps(told) == [(0, True), (1, True)]
    finally:
        Resumes.run = real  # type: ignore[method-assign]


def test_what_a_body_asks_for_and_is_complete_tells_it_again(told: list[Any]) -> None:
    dp.run(Train(n=5))
    told.clear()
    dp.run(Asks())
    assert steps(told) == [(0, True), (1, True)]


def test_what_turns_out_not_to_have_to_run_tells_it_again(told: list[Any]) -> None:
    dp.run(TrainsOn())
    told.clear()
    Source().reset(confirm=False)
    result = dp.run(TrainsOn(), stale="rerun")
    assert str(result.states[TrainsOn()]) == "cached"
    assert steps(told) == [(0, True), (1, True)]


def test_a_file_that_cannot_be_read_is_a_warning(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lines: Any) -> Any:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(emissions.Lines, "_raw", refuse)
    for _ in range(2):  # also when it is to be told again
        with pytest.warns(UserWarning, match=r"What Train\(n=1\) has emitted cannot be read.*denied") as caught:
            assert dp.run(Train())
        assert len(caught) == 1
    assert told == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Train, "", print), "the name of what is emitted"),
        ((Train, print), "the name of what is emitted"),
        ((3, "step", print), "watch() is about a task, a task class or a sweep"),
        ((Train, "step", 3), "needs something to call"),
    ],
)
def test_mistakes_are_told(arguments: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        dp.watch(*arguments)
    assert words in str(caught.value)


class Heard(dp.tasks.TaskPickle):
    """Goes on with each step when somebody has heard of it."""

    place = dp.Parameter(default="")
    n = dp.IntParameter()

    def run(self) -> None:
        for step in range(3):
            self.job.emit("checkpoint", step=step, loss=numpy.float32(step) / 2, rows=numpy.arange(step))
            end = time.monotonic() + 60
            while self.place and not (Path(self.place) / f"heard-{self.n}-{step}").exists():
                if time.monotonic() > end:
                    raise TimeoutError(step)
                time.sleep(0.005)
        self.save(self.n)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2)])
def test_a_session_is_asked_for_more_by_what_is_emitted(executor: str, workers: int, tmp_path: Path) -> None:
    found: list[Any] = []

    def more(emission: Any) -> None:
        if emission.task.n == 0:
            found.append(dict(emission.data))
            session.submit(Heard(n=10 + emission.data["step"]))
            (tmp_path / f"heard-0-{emission.data['step']}").write_text("")

    with dp.Session("night", workers, executor) as session:
        session.submit(Heard(n=99))
        session.wait()
        with dp.watch(Heard, "checkpoint", more):  # after the session has begun
            session.submit(Heard(place=str(tmp_path), n=0))
            session.wait()
            assert found == [{"step": step, "loss": step / 2, "rows": list(range(step))} for step in range(3)]
            assert all(Heard(n=10 + step).complete() for step in range(3))
            found.clear()
            with dp.Session("day", workers, executor) as other:
                other.submit(Heard(place=str(tmp_path), n=0))
                other.wait()
            assert len(found) == 3
