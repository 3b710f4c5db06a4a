"""Folders that tasks share, one at a time."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import DeclarationError

BOTH_RUN = threading.Barrier(2, timeout=0.3)


class Train(dp.tasks.TaskPickle):
    lr = dp.FloatParameter(default=0.1)
    max_iter = dp.IntParameter(default=10)
    threads = dp.IntParameter(default=1, significant=False)
    checkpoints = dp.SharedDir(ignore=["max_iter"])

    def run(self) -> None:
        log = self.checkpoints / "log"
        begun = time.monotonic_ns()
        before = log.read_text().split() if log.exists() else []
        log.write_text(" ".join([*before, str(self.max_iter)]))
        self.save((str(self.checkpoints), before, begun, time.monotonic_ns()))


class Steps(Train):
    def run(self) -> Any:
        assert_there(self.checkpoints)
        yield Other()
        assert_there(self.checkpoints)
        self.save(1)


def assert_there(path: Path) -> None:
    if not path.is_dir():
        raise ValueError(f"{path} is not there")


class Other(dp.tasks.TaskPickle):
    def run(self) -> None:
        self.save(1)


class Meets(dp.tasks.TaskPickle):
    """Two of these would meet if both were let into the folder."""

    number = dp.IntParameter()
    place = dp.SharedDir(only=[])

    def run(self) -> None:
        try:
            BOTH_RUN.wait()
            met = True
        except threading.BrokenBarrierError:
            BOTH_RUN.reset()
            met = False
        self.save(met)


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("dask", 2)])
def test_tasks_that_differ_in_what_is_ignored_share_a_folder_and_never_overlap(executor: str, workers: int) -> None:
    some = [Train(max_iter=n) for n in range(6)]
    dp.run([*some, Train(lr=7)], executor=executor, workers=workers)
    found = sorted([task.outputLoad() for task in some], key=lambda one: one[2])
    assert len({place for place, *_ in found}) == 1 and Train(lr=7).outputLoad()[0] != found[0][0]
    assert [len(before) for _, before, *_ in found] == [0, 1, 2, 3, 4, 5]  # each has seen all before it
    assert all(end <= begin for (*_, end), (*_, begin, _) in itertools.pairwise(found))


def test_two_bodies_are_not_in_one_folder_together() -> None:
    dp.run([Meets(number=1), Meets(number=2)], executor="threads", workers=2)
    assert not Meets(number=1).outputLoad() and not Meets(number=2).outputLoad()


def test_a_body_that_yields_keeps_its_folder() -> None:
    assert dp.run([Steps(), Steps(max_iter=11)], workers=2, executor="threads")


def test_what_counts_are_significant_parameters() -> None:
    assert Train(threads=4).checkpoints == Train(threads=8).checkpoints
    assert Meets(number=1).place == Meets(number=2).place
    assert Train(lr=1).checkpoints != Train(lr=2).checkpoints
    assert not os.path.exists(Train(lr=1).checkpoints)
    assert pickle.loads(pickle.dumps(Train(lr=3))).checkpoints == Train(lr=3).checkpoints


def test_a_folder_stays_when_a_task_is_reset() -> None:
    dp.run(Train())
    Train().reset(confirm=False)
    assert (Train().checkpoints / "log").exists()


def test_a_subclass_may_replace_it_and_mistakes_are_told() -> None:
    class Plain(Train):
        checkpoints = None  # type: ignore[assignment]

        def run(self) -> None:
            self.save(self.checkpoints)

    assert dp.run(Plain())

    class Wrong(Train):
        checkpoints = dp.SharedDir(ignore=["max_itr"])

    with pytest.raises(DeclarationError, match="Did you mean 'max_iter'"):
        Wrong().checkpoints
    with pytest.raises(DeclarationError, match="not both"):
        dp.SharedDir(ignore=["a"], only=["b"])


class ShorterFirst(Train):
    def run(self) -> Any:
        if self.max_iter > 10:
            yield ShorterFirst(max_iter=self.max_iter - 10)
        (self.checkpoints / "last").write_text(str(self.max_iter))
        self.save(self.max_iter)


class RunsAnother(Train):
    def run(self) -> None:
        if self.max_iter > 10:
            dp.run(RunsAnother(max_iter=10), executor="serial", workers=1)
        self.save(1)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2)])
def test_a_body_that_waits_lets_others_in(executor: str, workers: int) -> None:
    assert dp.run([ShorterFirst(max_iter=n) for n in (30, 25, 12)], executor=executor, workers=workers)


@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2)])
def test_a_body_that_runs_another_in_its_folder_is_told_so_instead_of_waiting_for_ever(
    executor: str, workers: int
) -> None:
    result = dp.run(RunsAnother(max_iter=20), executor=executor, workers=workers, abort=False)
    assert not result and "needs the folder it is in itself" in str(result.failures[0].error)


class Load(dp.Init):
    n = dp.IntParameter()

    def run(self) -> None: ...


def test_what_runs_first_counts_for_the_folder_unless_it_is_ignored() -> None:
    class Any_(Train):
        checkpoints = dp.SharedDir(ignore=["max_iter", "init"])

    assert Train(init=Load(n=1)).checkpoints != Train(init=Load(n=2)).checkpoints
    assert Any_(init=Load(n=1)).checkpoints == Any_(init=Load(n=2)).checkpoints
