"""``self.job.emit``, ``watch`` and ``self.job.report``: what bodies tell and show before they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pytest

import d6tpipe as dp
from d6tpipe import emissions
from d6tpipe.cards import cards_of
from d6tpipe.errors import CrashError, ParameterError
from d6tpipe.jobs import job_folder

WORKERS = [("serial", 1), ("threads", 2), ("processes", 2)]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    dp.settings.execution_summary = False
    yield
    emissions._watches.clear()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.005)


class Train(dp.tasks.TaskPickle):
    """Emits, and goes on when somebody has heard it."""

    place = dp.Parameter(default="")
    n = dp.IntParameter(default=0)
    steps = dp.IntParameter(default=3)

    def run(self) -> None:
        for step in range(self.steps):
            self.job.emit("checkpoint", step=step, path=Path("weights") / str(step))
            self.job.emit("other")
            if self.place:
                wait_for(Path(self.place) / f"heard-{self.n}-{step}")
        self.save(self.n)


class Sub(Train):
    pass


def heard(told: list[Any], place: Path | None = None) -> Any:
    def hear(emission: Any) -> None:
        told.append((emission.task, emission.data["step"], emission.replayed))
        if place is not None:
            (place / f"heard-{emission.task.n}-{emission.data['step']}").write_text("")

    return hear


@pytest.mark.parametrize(("executor", "workers"), WORKERS)
def test_what_a_body_emits_is_told_while_it_goes_on(executor: str, workers: int, tmp_path: Path) -> None:
    told: list[Any] = []
    tasks = [Train(place=str(tmp_path), n=n) for n in range(3)]
    with dp.watch(Train, "checkpoint", heard(told, tmp_path)):
        assert dp.run(tasks, executor=executor, workers=workers)
    for task in tasks:
        assert [entry for entry in told if entry[0] == task] == [(task, step, False) for step in range(3)]


def test_an_emission_says_what_whose_and_when() -> None:
    told: list[Any] = []
    dp.watch(Train(), "checkpoint", told.append)
    before = time.time()
    result = dp.run([Train(), Train(n=1)])
    assert result.ok and len(told) == 3
    first = told[0]
    assert first.task == Train() and first.name == "checkpoint" and first.attempt == 1 and first.run_id
    assert dict(first.data) == {"step": 0, "path": "weights/0"} and before - 1 < first.time < time.time() + 1
    with pytest.raises(TypeError):
        first.data["step"] = 3


def test_all_is_told_before_the_end_of_the_task_and_nothing_after_the_run() -> None:
    told: list[str] = []
    dp.watch(Train, "checkpoint", lambda emission: told.append(f"step {emission.data['step']}"))
    with dp.on(Train, "completed", lambda event: told.append("completed")):
        dp.run(Train(steps=2), workers=2, executor="processes")
    assert told == ["step 0", "step 1", "completed"]


def test_two_calls_are_never_under_way_together() -> None:
    inside: list[int] = []
    together: list[int] = []

    def slow(emission: Any) -> None:
        inside.append(1)
        together.append(len(inside))
        time.sleep(0.001)
        inside.pop()

    dp.watch(Train, "checkpoint", slow)
    dp.watch(Train, "other", slow)
    dp.run([Train(n=n) for n in range(8)], workers=4, executor="threads")
    assert together == [1] * 48


def test_classes_tasks_and_sweeps_are_watched(tmp_path: Path) -> None:
    some = dp.sweep(Train, n=[1, 2])
    for what, count in ((Train, 12), (Sub, 3), (Train(n=3), 3), (some, 6)):
        told: list[Any] = []
        with dp.watch(what, "checkpoint", told.append):
            dp.run([*some.tasks, Train(n=3), Sub()], forced_all=True)
        assert len(told) == count

    @dp.watch(Train, "checkpoint")
    def hear(emission: Any) -> None:
        told.append("decorated")

    dp.run(Train(n=9))
    assert told[-1] == "decorated" and callable(hear)


def test_a_complete_task_is_told_again_as_often_as_somebody_watches() -> None:
    dp.run([Train(), Train(n=1, steps=1)])
    for _ in range(2):
        told: list[Any] = []
        with dp.watch(Train, "checkpoint", heard(told)):
            dp.run([Train(), Train(n=1, steps=1)])
        assert told == [(Train(), 0, True), (Train(), 1, True), (Train(), 2, True), (Train(n=1, steps=1), 0, True)]
    Train().reset(confirm=False)
    told = []
    with dp.watch(Train, "checkpoint", heard(told)):
        dp.run([Train()])
    assert told == [(Train(), step, False) for step in range(3)]


def test_a_body_that_runs_again_is_told_anew_and_not_what_it_told_before() -> None:
    dp.run(Train(steps=2))
    told: list[Any] = []
    with dp.watch(Train, "checkpoint", heard(told)):
        dp.run(Train(steps=2), forced_all=True)
    assert told == [(Train(steps=2), 0, False), (Train(steps=2), 1, False)]


class Resumes(dp.tasks.TaskPickle):
    resumable = True

    def run(self) -> None:
        begun = self.job.dir / "begun"
        for step in (2, 3) if begun.exists() else (0, 1):
            self.job.emit("checkpoint", step=step)
        if not begun.exists():
            begun.write_text("")
            raise ValueError("once more")
        self.save(1)


def test_what_a_resumable_body_told_before_it_failed_is_told_again_in_the_run_that_goes_on() -> None:
    told: list[Any] = []
    with dp.watch(Resumes, "checkpoint", lambda emission: told.append((emission.data["step"], emission.replayed))):
        assert not dp.run(Resumes(), abort=False)
        assert told == [(0, False), (1, False)]
        told.clear()
        assert dp.run(Resumes())
    assert told == [(0, True), (1, True), (2, False), (3, False)]


class Dies(dp.tasks.TaskPickle):
    def run(self) -> None:
        for step in range(3):
            self.job.emit("checkpoint", step=step)
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_body_has_emitted_is_told_once() -> None:
    told: list[Any] = []
    with dp.watch(Dies, "checkpoint", lambda emission: told.append(emission.data["step"])):
        result = dp.run(Dies(), workers=2, executor="processes", abort=False)
    assert isinstance(result.failures[0].error, CrashError) and told == [0, 1, 2]


def test_half_a_line_of_a_killed_body_is_passed_over() -> None:
    dp.run(Train(steps=1))
    with open(os.path.join(job_folder(Train(steps=1)), emissions.FILE), "ab") as stream:
        stream.write(b'{"name": "checkpoint", "da')
    told: list[Any] = []
    with dp.watch(Train, "checkpoint", told.append):
        dp.run(Train(steps=1))
    assert len(told) == 1


def test_what_a_callback_raises_is_a_warning() -> None:
    def breaks(emission: Any) -> None:
        raise KeyError("mail")

    told: list[Any] = []
    dp.watch(Train, "checkpoint", breaks)
    dp.watch(Train, "checkpoint", told.append)
    with pytest.warns(UserWarning, match=r"breaks raised KeyError: 'mail' when it was told that Train.* 'checkpoint'"):
        assert dp.run(Train(steps=1))
    assert len(told) == 1


class Values(dp.tasks.TaskPickle):
    wrong = dp.BoolParameter(default=False)

    def run(self) -> None:
        self.job.emit(
            "values", a=numpy.float64(1.5), b=numpy.arange(3), c={1, 2}, d=(1, [2]), e=None, f={"x": Path("y")}
        )
        if self.wrong:
            self.job.emit("values", model=object())
        self.save(1)


def test_values_are_as_json_has_them() -> None:
    told: list[Any] = []
    with dp.watch(Values, "values", lambda emission: told.append(dict(emission.data))):
        dp.run(Values())
        assert told == [{"a": 1.5, "b": [0, 1, 2], "c": [1, 2], "d": [1, [2]], "e": None, "f": {"x": "y"}}]
        failure = dp.run(Values(wrong=True), abort=False).failures[0]
    assert isinstance(failure.error, ParameterError)
    assert "Values(wrong=True)" in str(failure.error) and "model=<object" in str(failure.error)


def test_mistakes_are_told() -> None:
    for arguments, words in (
        ((3, "checkpoint", print), "watch() is about a task"),
        ((Train, "checkpoint", 3), "something to call"),
        ((Train, "", print), "the name of an emission"),
    ):
        with pytest.raises(ParameterError) as caught:
            dp.watch(*arguments)
        assert words in str(caught.value)


def test_nobody_who_does_not_watch_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(emissions, "Follower", lambda run_id: made.append(run_id))
    before = threading.active_count()
    dp.run(Train())
    assert not made and threading.active_count() == before


def test_a_session_is_asked_for_more_by_what_is_emitted(tmp_path: Path) -> None:
    def more(emission: Any) -> None:
        if emission.task.n == 0:
            session.submit(Train(n=10 + emission.data["step"]))
        (tmp_path / f"heard-{emission.task.n}-{emission.data['step']}").write_text("")

    for executor, workers in WORKERS[1:]:
        place = tmp_path / executor
        with dp.Session("night", workers, executor) as session, dp.watch(Train, "checkpoint", more):
            session.submit(Train(place=str(tmp_path), n=0))
            session.wait()
        assert all(Train(n=10 + step).complete() for step in range(3))
        dp.run([Train(n=10 + step) for step in range(3)])
        for task in (Train(place=str(tmp_path), n=0), *[Train(n=10 + step) for step in range(3)]):
            task.reset(confirm=False)
        for step in range(3):
            (tmp_path / f"heard-0-{step}").unlink()
        assert not place.exists()


class Shows(dp.tasks.TaskPickle):
    def run(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        class Html:
            def _repr_html_(self) -> str:
                return "<b>mine</b>"

        figure, axes = plt.subplots()
        axes.plot([1, 2])
        frame = pd.DataFrame({"x": range(1500)})
        paths = [
            self.job.report(figure, "Loss / epoch"), self.job.report(axes), self.job.report(frame, "Rows"),
            self.job.report(frame["x"].head(3)), self.job.report("It *went* well", "Words"), self.job.report(Html()),
        ]  # fmt: skip
        plt.close(figure)
        self.save([path.name for path in paths])


def test_figures_frames_and_texts_are_report_cards() -> None:
    dp.run(Shows())
    names = ["01-loss-epoch.png", "02.png", "03-rows.html", "04.html", "05-words.md", "06.html"]
    cards = cards_of(Shows())
    assert Shows().outputLoad() == names == [card.name for card in cards]
    assert cards[0].read_bytes().startswith(b"\x89PNG")
    table = cards[2].read_text()
    assert table.count("<tr") == 1001 and "The first 1000 of 1500 rows." in table
    assert cards[4].read_text() == "# Words\n\nIt *went* well" and cards[5].read_text() == "<b>mine</b>"
    Shows().reset(confirm=False)
    assert cards_of(Shows()) == []


def test_what_cannot_be_shown_is_told() -> None:
    class Wrong(dp.tasks.TaskPickle):
        def run(self) -> None:
            self.job.report(3)

    failure = dp.run(Wrong(), abort=False).failures[0]
    assert isinstance(failure.error, ParameterError) and "how to show this" in str(failure.error)
