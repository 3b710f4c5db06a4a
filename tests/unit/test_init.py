"""``init=``: what runs before the body of a task, with its configs."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import d6tpipe as dp
from d6tpipe.errors import ParameterError


class Model(dp.Config):
    depth = dp.IntParameter(default=2)

    def predict(self, x: float) -> float:
        weight: float = self.weight  # type: ignore[attr-defined]
        return weight * x


class Learn(dp.tasks.TaskPickle):
    model = dp.ConfigParameter(Model, default={})
    rate = dp.FloatParameter(default=1.0)

    def run(self) -> None:
        self.save(self.model.depth * self.rate)


class Load(dp.Init):
    model = dp.ConfigParameter(Model)
    source = dp.TaskInstanceParameter(Learn)

    def run(self) -> None:
        self.model.weight = self.source.outputLoad()  # type: ignore[attr-defined]


class Evaluate(dp.tasks.TaskPickle):
    model = dp.ConfigParameter(Model, default={})
    x = dp.FloatParameter(default=10.0)

    def run(self) -> Any:
        self.save(self.model.predict(self.x))


class Steps(Evaluate):
    def run(self) -> Any:
        yield Learn(rate=7)
        self.save(self.model.predict(self.x))


def evaluate(rate: float = 1.0, cls: Any = Evaluate, **more: Any) -> Any:
    model = Model(depth=3)
    return cls(model=model, init=[Load(model=model, source=Learn(model=model, rate=rate))], **more)


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


@pytest.mark.parametrize("cls", [Evaluate, Steps])
@pytest.mark.parametrize(("executor", "workers"), [("serial", 1), ("threads", 2), ("processes", 2), ("dask", 2)])
def test_what_runs_first_changes_the_models_that_the_body_has(cls: Any, executor: str, workers: int) -> None:
    one, other = evaluate(1.0, cls), evaluate(2.0, cls)
    result = dp.run([one, other], executor=executor, workers=workers)
    assert result.counts["built"] == 4 + (cls is Steps)
    assert (one.outputLoad(), other.outputLoad()) == (30.0, 60.0)
    assert not hasattr(Model(depth=3), "weight")


def test_it_is_part_of_the_identity() -> None:
    plain, one, other = Evaluate(model=Model(depth=3)), evaluate(1.0), evaluate(2.0)
    assert len({plain, one, other}) == len({task.task_id for task in (plain, one, other)}) == 3
    assert one is evaluate(1.0) and one.task_id.startswith("Evaluate_Load_")
    assert Evaluate(init=[]) is Evaluate()
    assert "init=[Load(" in repr(one)


def test_it_travels_with_the_task() -> None:
    task = evaluate()
    assert pickle.loads(pickle.dumps(task)) is task
    assert Evaluate.from_str_params(task.to_str_params()) is task
    assert task.clone(x=3).to_str_params()["init"] == task.to_str_params()["init"]
    assert task.clone() is task


def test_what_it_needs_is_required() -> None:
    task = evaluate()
    assert dp.taskflow_upstream(task) == [task, Learn(model=Model(depth=3))]
    assert Learn(model=Model(depth=3)) in list(task.deps())


def test_a_failure_of_it_is_one_of_the_task_and_says_where() -> None:
    class Breaks(dp.Init):
        def run(self) -> None:
            raise ValueError("no weights")

    failure = dp.run(Evaluate(init=Breaks()), abort=False).failures[0]
    assert isinstance(failure.error, ValueError)
    assert "no weights" in failure.traceback and "Breaks()" in failure.traceback


@pytest.mark.parametrize("wrong", [[3], [Model()], Learn(), "load"])
def test_what_cannot_run_first_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError, match=r"init= of Evaluate"):
        Evaluate(init=wrong)


def test_a_parameter_may_be_called_init() -> None:
    class Own(dp.tasks.TaskPickle):
        init = dp.IntParameter(default=1)  # type: ignore[assignment]

        def run(self) -> None:
            self.save(self.init)

    assert Own(init=4).init == 4 and Own.from_str_params({"init": "5"}).init == 5
    assert dp.run(Own(init=4))


def test_a_changed_body_of_an_init_makes_the_task_stale_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [evaluate(), Learn(model=Model(depth=3))]
    dp.run(tasks)
    assert dp.run(tasks, stale="rerun").counts.keys() == {"fresh"}

    def run(self: Any) -> None:
        self.model.weight = self.source.outputLoad() * 2

    monkeypatch.setattr(Load, "run", run)
    result = dp.run(tasks)
    assert [str(result.states[task]) for task in tasks] == ["stale", "fresh"]
    assert "Load" in str(dp.explain(tasks[0]))
    dp.run(tasks, stale="rerun")
    assert tasks[0].outputLoad() == 60 and dp.run(tasks, stale="rerun").counts.keys() == {"fresh"}
