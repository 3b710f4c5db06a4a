"""``on``: functions that are called when something happens to tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe import callbacks
from d6tpipe.errors import ParameterError


class Base(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def run(self) -> None:
        if self.n == 0:
            raise ValueError("zero")
        self.save(self.n)


class Special(Base):
    pass


class After(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    def requires(self) -> Any:
        return Base(n=self.n)

    def run(self) -> None:
        self.save(1)


class Binds(dp.tasks.TaskPickle):
    def requires(self) -> Any:
        return Base

    def run(self) -> None:
        self.save([self.input(n=n).load() for n in (5, 6)])


class Yields(dp.tasks.TaskPickle):
    def run(self) -> Any:
        yield [Base(n=7), Base(n=8)]
        self.save(1)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    dp.settings.execution_summary = False
    yield
    callbacks._handlers.clear()


@pytest.fixture
def told() -> list[str]:
    return []


def note(told: list[str]) -> Any:
    return lambda event: told.append(f"{event.kind} {event.task!r}")


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("dask", 2)])
def test_each_event_is_told_once_on_every_executor(executor: str, workers: int, told: list[str]) -> None:
    if executor == "dask":
        pytest.importorskip("distributed")
    for kind in ("started", "completed", "failed", "skipped"):
        for cls in (Base, After, Binds, Yields):
            dp.on(cls, kind, note(told))
    tasks = [After(n=0), After(n=2), Binds(), Yields()]
    dp.run(tasks, executor=executor, workers=workers, abort=False)
    numbers = [0, 2, 5, 6, 7, 8]
    assert sorted(one for one in told if "Base" in one) == sorted(
        [f"started Base(n={n})" for n in numbers]
        + [f"completed Base(n={n})" for n in numbers[1:]]
        + ["failed Base(n=0)"]
    )
    assert {"skipped After(n=0)", "completed After(n=2)", "completed Binds()", "completed Yields()"} <= set(told)
    assert all(told.count(one) == 1 for one in told if not one.startswith("started"))


def test_what_is_complete_tells_nothing(told: list[str]) -> None:
    dp.run(Base())
    dp.on(Base, "completed", note(told))
    dp.run(Base())
    assert told == []


def test_a_class_a_task_and_a_sweep_may_be_meant(told: list[str]) -> None:
    some = dp.sweep(Base, n=[3, 4])
    for what in (Base, Base(n=3), some, Special):
        dp.on(what, "completed", note(told))
    dp.run([*some.tasks, Special(n=3), Base(n=9)])
    assert told.count("completed Base(n=3)") == 3 and told.count("completed Base(n=4)") == 2
    assert told.count("completed Base(n=9)") == 1 and told.count("completed Special(n=3)") == 2


def test_a_handler_can_be_removed_and_be_a_decorator(told: list[str]) -> None:
    handler = dp.on(Base, "completed", note(told))
    with dp.on(Base, "completed", note(told)):
        dp.run(Base(n=2))
    handler.remove()
    handler.remove()
    dp.run(Base(n=3))
    assert told == ["completed Base(n=2)"] * 2

    @dp.on(Base, "completed")
    def tell(event: Any) -> None:
        told.append("decorated")

    dp.run(Base(n=4))
    assert told[-1] == "decorated" and callable(tell)


class Inner(dp.tasks.TaskPickle):
    n = dp.IntParameter()

    def run(self) -> None:
        if self.n == 2:
            raise ValueError("inner")
        self.save(self.n)


class Starts(dp.tasks.TaskPickle):
    def run(self) -> None:
        dp.run([Inner(n=1), Inner(n=2)], abort=False, execution_summary=False)
        dp.run([Inner(n=1), Inner(n=3)], execution_summary=False)
        self.save(1)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("loky", 2)])
def test_runs_that_bodies_start_are_told_once_wherever_they_are(executor: str, workers: int, told: list[str]) -> None:
    errors: list[BaseException] = []
    dp.on(Inner, "completed", note(told))
    dp.on(Inner, "failed", lambda event: errors.append(event.error))
    dp.run(Starts(), executor=executor, workers=workers)
    assert told == ["completed Inner(n=1)", "completed Inner(n=3)"]
    assert [str(error) for error in errors] == ["inner"] and isinstance(errors[0], ValueError)


def test_what_a_function_raises_is_a_warning_and_the_others_are_told(told: list[str]) -> None:
    def breaks(event: Any) -> None:
        raise KeyError("mail")

    dp.on(Base, "completed", breaks)
    dp.on(Base, "completed", note(told))
    with pytest.warns(
        UserWarning, match=r"breaks raised KeyError: 'mail' when it was told that .*Base\(n=1\) completed"
    ):
        assert dp.run(Base())
    assert told == ["completed Base(n=1)"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Base, "complete", print), "Did you mean 'completed'"),
        ((3, "failed", print), "a task, a task class or a sweep"),
        ((Base, "failed", 3), "needs something to call"),
    ],
)
def test_mistakes_are_told(arguments: Any, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        dp.on(*arguments)
    assert words in str(caught.value)
