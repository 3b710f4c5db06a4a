"""Configs: immutable values with parameters, part of the identity of what holds them."""

from __future__ import annotations

import copy
import datetime
import pickle
from typing import Any

import cloudpickle
import pytest

import d6tpipe as dp
from d6tpipe.errors import DeclarationError, ParameterError


class Optimizer(dp.Config):
    lr = dp.FloatParameter(default=0.1)
    steps = dp.IntParameter(default=3)
    note = dp.Parameter(default="", significant=False)

    def validate(self) -> None:
        if self.lr < 0:
            raise ValueError("lr must not be negative")

    def step(self) -> float:
        return self.lr * 2


class Model(dp.Config):
    optimizer = dp.ConfigParameter(Optimizer, default={})
    name = dp.Parameter(default="m")
    day = dp.DateParameter(default=datetime.date(2024, 1, 1))


class Small(Model):
    size = dp.IntParameter(default=1)


class Prepare(dp.tasks.TaskPickle):
    rows = dp.IntParameter(default=5)

    def run(self) -> None:
        self.save(self.rows)


class Source(dp.Config):
    task = dp.TaskInstanceParameter(Prepare)


class Fit(dp.tasks.TaskPickle):
    model = dp.ConfigParameter(Model, default={})
    source = dp.ConfigParameter(Source, default=None)
    more = dp.DictParameter(default={})
    many = dp.ListParameter(default=[])

    def run(self) -> None:
        rows = self.source.task.outputLoad() if self.source else 0
        self.save((self.model.optimizer.step(), rows, repr(self.more), repr(self.many)))


@pytest.fixture(autouse=True)
def quiet() -> None:
    dp.settings.execution_summary = False


# ---- values


def test_equal_configs_are_one_object_and_have_one_id() -> None:
    assert Optimizer(lr=1) is Optimizer(lr=1.0)
    assert Optimizer(lr=1).config_id == Optimizer(lr="1").config_id
    assert Optimizer(lr=1) != Optimizer(lr=2) and Optimizer(lr=1).config_id != Optimizer(lr=2).config_id
    assert Optimizer(lr=1) in {Optimizer(lr=1): 0}
    assert (
        repr(Model(optimizer=Optimizer(lr=2)))
        == "Model(optimizer=Optimizer(lr=2.0, steps=3), name='m', day=2024-01-01)"
    )


def test_values_are_checked_as_those_of_tasks_are() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'steps'"):
        Optimizer(step=3)
    with pytest.raises(ParameterError, match="does not fit"):
        Optimizer(lr="fast")
    with pytest.raises(ParameterError, match="lr must not be negative") as caught:
        Optimizer(lr=-1)
    assert "validate() of Optimizer" in str(caught.value)
    with pytest.raises(ParameterError, match="needs a value for parameter 'task'"):
        Source()
    with pytest.raises(ParameterError, match="has no parameter 'path'"):
        Optimizer(path="somewhere")


def test_validate_is_called_once_for_each_config() -> None:
    calls = []

    class Counted(dp.Config):
        number = dp.IntParameter()

        def validate(self) -> None:
            calls.append(self.number)

    kept = [Counted(number=1), Counted(number=1), Counted(number=2)]
    assert calls == [1, 2] and kept[0] is kept[1]


def test_a_config_cannot_be_changed() -> None:
    optimizer = Optimizer()
    for change in (
        lambda: setattr(optimizer, "lr", 2),
        lambda: delattr(optimizer, "lr"),
        lambda: setattr(optimizer, "x", 1),
    ):
        with pytest.raises(ParameterError, match="cannot be"):
            change()
    assert optimizer.clone(lr=2) == Optimizer(lr=2) and optimizer.lr == 0.1
    with pytest.raises(ParameterError, match="Did you mean 'lr'"):
        optimizer.clone(lrs=2)


def test_a_config_is_a_value_of_a_task_as_object_dict_or_text() -> None:
    task = Fit(model=Model(optimizer=Optimizer(lr=2)))
    assert task is Fit(model={"optimizer": {"lr": 2}})
    assert task is Fit(model='{"optimizer": {"lr": 2}}')
    assert task == Fit.from_str_params(task.to_str_params())
    assert Fit(model=Small(size=2)).model == Small(size=2)
    with pytest.raises(ParameterError, match="expected a config of the class Model"):
        Fit(model=Optimizer())
    with pytest.raises(ParameterError, match="add the parentheses"):
        Fit(model=Model)
    with pytest.raises(ParameterError, match="Did you mean 'optimizer'"):
        Fit(model={"optimiser": {}})


def test_only_significant_values_are_part_of_the_identity() -> None:
    quiet, loud = Fit(model={"optimizer": {"note": "a"}}), Fit(model={"optimizer": {"note": "b"}})
    assert quiet.task_id == loud.task_id
    assert quiet.task_id != Fit(model={"optimizer": {"lr": 3}}).task_id


def test_ids_are_readable_and_tell_classes_of_one_name_apart() -> None:
    assert Fit(model=Model(name="big")).task_id.startswith(f"Fit____{Model(name='big').config_id[:64]}_")
    assert Fit(model=Model()).task_id != Fit(model=Small()).task_id


def test_configs_may_be_in_dicts_and_lists() -> None:
    task = Fit(more={"a": [Optimizer(lr=5)]}, many=[Model(), 3])
    assert task.more["a"][0] is Optimizer(lr=5)
    assert task is Fit(more={"a": [Optimizer(lr=5)]}, many=[Model(), 3])
    assert task is not Fit(more={"a": [Optimizer(lr=6)]}, many=[Model(), 3])
    assert task.task_id != Fit(more={"a": [Optimizer(lr=6)]}, many=[Model(), 3]).task_id
    assert task == Fit.from_str_params(task.to_str_params())
    assert dp.run(task)


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_in_configs_are_built_before(workers: int) -> None:
    task = Fit(source=Source(task=Prepare(rows=7)), many=[Prepare(rows=8)], more={"deep": {"er": Prepare(rows=9)}})
    result = dp.run(task, workers=workers)
    assert result.counts["built"] == 4
    assert task.outputLoad()[:2] == (0.2, 7)
    assert [one.rows for one in dp.taskflow_upstream(task)[1:]] == [7, 9, 8]


def test_a_changed_method_of_a_config_makes_the_task_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Fit()
    dp.run(task)
    assert dp.run(task).counts["fresh"] == 1
    monkeypatch.setattr(Optimizer, "step", lambda self: self.lr * 3)
    assert dp.run(task).counts["stale"] == 1
    assert "code of Optimizer" in str(dp.explain(task))
    assert dp.run(task, stale="rerun").counts["built"] == 1


def test_a_changed_method_of_a_subclass_makes_those_stale_that_hold_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Momentum(Optimizer):
        def step(self) -> float:
            return self.lr * 2

    class Plain(Optimizer):
        pass

    tasks = [Fit(model=Model(optimizer=Momentum(lr=3))), Fit(model=Model(optimizer=Plain(lr=3)))]
    tasks += [Fit(more={"a": [Momentum()]}), Fit()]
    assert dp.run(tasks).counts["built"] >= 4
    assert dp.run(tasks, stale="rerun").counts.keys() == {"fresh"}
    monkeypatch.setattr(Momentum, "step", lambda self: self.lr * 5)
    result = dp.run(tasks)
    assert [str(result.states[task]) for task in tasks] == ["stale", "fresh", "stale", "fresh"]
    assert "code of Momentum" in str(dp.explain(tasks[0])) or "Momentum" in str(dp.explain(tasks[0]))
    again = dp.run(tasks, stale="rerun")
    assert [str(again.states[task]) for task in tasks] == ["built", "fresh", "built", "fresh"]
    assert dp.run(tasks, stale="rerun").counts.keys() == {"fresh"}


def test_an_insignificant_config_does_not_count() -> None:
    plain, other = Fit(model=dp.insignificant(Model())), Fit(model=dp.insignificant(Small(size=9)))
    assert plain.task_id == other.task_id and plain == other
    assert plain.model == Model() and other.model == Small(size=9)
    assert plain.task_id != Fit(model=Model()).task_id
    assert pickle.loads(pickle.dumps(other)).task_id == other.task_id
    with pytest.raises(DeclarationError, match="takes a config"):
        dp.insignificant(3)  # type: ignore[type-var]


def test_a_parameter_at_its_default_may_be_left_out_of_the_identity() -> None:
    class First(dp.Config):
        a = dp.IntParameter(default=1)

    before = First().config_id

    class First(dp.Config):  # type: ignore[no-redef]
        a = dp.IntParameter(default=1)
        b = dp.IntParameter(default=2, ignore_default=True)

    assert First().config_id == before != First(b=3).config_id


# ---- as a class


def test_configs_are_inherited_and_may_have_mixins() -> None:
    class Named:
        label = dp.Parameter(default="x")

    class Both(Named, Small):
        name = dp.Parameter(default="n")  # type: ignore[assignment]

    assert [name for name, _ in Both.get_params()] == ["optimizer", "day", "size", "label", "name"]
    assert Both(size=2).size == 2 and isinstance(Both(), Model)


def test_mistakes_in_a_class_are_told() -> None:
    with pytest.raises(DeclarationError, match="cannot have an __init__"):

        class Bad(dp.Config):
            def __init__(self) -> None: ...

    with pytest.raises(DeclarationError, match="Add the parentheses"):

        class Worse(dp.Config):
            lr = dp.FloatParameter

    with pytest.raises(DeclarationError, match="needs a subclass of Config"):
        dp.ConfigParameter(Prepare)  # type: ignore[type-var]


def test_a_parameter_set_later_counts() -> None:
    class Late(dp.Config):
        a = dp.IntParameter(default=1)

    assert Late().param_kwargs == {"a": 1}
    Late.b = dp.IntParameter(default=2)  # type: ignore[attr-defined]
    assert Late(b=3).param_kwargs == {"a": 1, "b": 3}


def test_configs_can_be_pickled_and_copied() -> None:
    model = Model(optimizer=Optimizer(lr=4))
    for again in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert again is model

    class Local(dp.Config):
        a = dp.IntParameter(default=1)

    there: Any = cloudpickle.loads(cloudpickle.dumps(Local(a=2)))
    assert there.a == 2


# ---- in sweeps


def test_configs_vary_in_sweeps_by_dotted_names_keys_and_short_texts() -> None:
    some = dp.sweep(Fit, {"slow": {"model.optimizer.lr": 0.01}, "fast": {"model.name": "f"}})
    assert some["slow"].model.optimizer.lr == 0.01 and some["fast"].model == Model(name="f")
    named = dp.sweep(Fit, model={"small": Small(), "plain": Model()})
    assert list(named) == ["model=small", "model=plain"]
    assert list(named.select("model=small")) == ["model=small"]
    assert list(named.select("model.optimizer.lr>0.05 and plain")) == ["model=plain"]
    assert list(named.table()["model"]) == ["small", "plain"]
    plain = dp.sweep(Fit, model=[Model(name="a"), Model(name="b")])
    assert len(set(plain)) == 2 and all(len(name) < 80 for name in plain)
    assert list(plain.table()["model"]) == [repr(Model(name="a")), repr(Model(name="b"))]


# ---- in bodies


class Weights(dp.Config):
    name = dp.Parameter(default="w")
    inner = dp.ConfigParameter(Optimizer, default={})


def demand(holds: bool) -> None:
    """Do what assert does: pytest writes that anew, and a worker would find other code."""
    if not holds:
        raise ValueError("does not hold")


class Uses(dp.tasks.TaskPickle):
    one = dp.ConfigParameter(Weights, default={})
    two = dp.ConfigParameter(Weights, default={})
    listed = dp.ListParameter(default=[Weights()])

    def run(self) -> None:
        demand(not hasattr(self.one, "loaded"))
        self.one.loaded = 3
        self.one.inner.state = "deep"
        demand(self.two is self.one and self.listed[0] is self.one)
        demand(self.one == Weights() and self.task_id == type(self)().task_id)
        try:
            self.one.name = "x"
        except ParameterError:
            self.save(self.two.loaded)


class Steps(Uses):
    def run(self) -> Any:
        self.one.loaded = 4
        yield Prepare(rows=3)
        self.save(self.two.loaded)


@pytest.mark.parametrize("cls", [Uses, Steps])
@pytest.mark.parametrize("executor", ["serial", "threads", "processes", "dask"])
def test_a_body_has_copies_that_can_hold_what_it_loads(cls: Any, executor: str) -> None:
    before = Weights()
    assert dp.run(cls(), executor=executor, workers=2)
    assert cls().outputLoad() in (3, 4)
    assert not hasattr(before, "loaded") and cls().one is before


def test_a_failing_body_leaves_the_configs_as_they_were() -> None:
    class Failing(dp.tasks.TaskPickle):
        one = dp.ConfigParameter(Weights, default={})

        def run(self) -> None:
            self.one.loaded = 1
            raise ValueError("no")

    task = Failing()
    assert not dp.run(task, abort=False)
    assert task.one is Weights() and not hasattr(task.one, "loaded")


# ---- what methods keep


class Terms(dp.Config):
    n = dp.IntParameter()
    hint = dp.Parameter(default="", significant=False)

    @dp.cached("terms.pkl")
    def load(self) -> Any:
        CALLS.append(self.n)
        return list(range(self.n))


CALLS: list[int] = []


def test_methods_of_configs_keep_what_they_return() -> None:
    CALLS.clear()
    assert Terms(n=3).load() == Terms(n=3, hint="x").load() == [0, 1, 2]
    assert Terms(n=4).load() == [0, 1, 2, 3]
    assert CALLS == [3, 4] and Terms(n=3).load.exists() and not Terms(n=5).load.exists()
    assert Terms(n=3).load.invalidate() and Terms(n=3).load() == [0, 1, 2]
    assert CALLS == [3, 4, 3]


# ---- typed


def test_annotations_make_config_parameters() -> None:
    class Run(dp.Config):
        optimizer: Optimizer = dp.param(Optimizer(lr=2))
        size: int = dp.param(3)

    class Train(dp.tasks.TaskPickle):
        run_config: Run = dp.param(Run())

    assert Train(run_config={"size": 5}).run_config == Run(size=5)
    assert Train().run_config.optimizer.lr == 2


def test_tags_of_configs_are_tags_of_what_holds_them() -> None:
    model = Model(name=dp.tag("tagged"), optimizer=Optimizer(lr=dp.tag(0.7)))
    assert dp.tags(Fit(model=model)) == {"name": "tagged", "lr": 0.7}
    source = Source(task=Prepare(rows=dp.tag(77)))
    assert dp.tags(Fit(source=source))["rows"] == 77


# ---- what a review found


class Threads(dp.Config):
    size = dp.IntParameter(default=1)
    threads = dp.IntParameter(default=1, significant=False)


class Holds(dp.Config):
    inner = dp.ConfigParameter(Threads, default={})


class OnThreads(dp.tasks.TaskPickle):
    one = dp.ConfigParameter(Threads, default={})
    two = dp.ConfigParameter(Threads, default={})
    listed = dp.ListParameter(default=[])
    held = dp.ConfigParameter(Holds, default={})

    def run(self) -> None:
        self.save([self.one.threads, self.two.threads, self.held.inner.threads])


def test_values_that_do_not_count_are_those_that_were_given() -> None:
    first = OnThreads(one=Threads(threads=2), listed=[Threads(threads=3)], held={"inner": {"threads": 4}})
    second = OnThreads(one=Threads(threads=5), listed=[Threads(threads=6)], held={"inner": {"threads": 7}})
    assert first == second and first.task_id == second.task_id
    assert [task.one.threads for task in (first, second)] == [2, 5]
    assert [task.listed[0].threads for task in (first, second)] == [3, 6]
    assert [task.held.inner.threads for task in (first, second)] == [4, 7]
    both = OnThreads(one=Threads(threads=8), two=Threads(threads=9))
    dp.run(both)
    assert both.outputLoad()[:2] == [8, 9]
    assert OnThreads(one=Threads(threads=8)) is OnThreads(one=Threads(threads=8))


def test_a_config_that_does_not_count_may_be_in_another_and_in_what_runs_first() -> None:
    class First(dp.Init):
        inner = dp.ConfigParameter(Threads)

        def run(self) -> None: ...

    one, other = [Holds(inner=dp.insignificant(Threads(size=size))) for size in (1, 2)]
    assert one == other and one.config_id == other.config_id and (one.inner.size, other.inner.size) == (1, 2)
    assert dp.run(OnThreads(init=First(inner=dp.insignificant(Threads(size=3)))))


def test_a_config_of_a_cell_that_was_run_again_gets_the_code_of_now() -> None:
    def cell(result: int) -> Any:
        class Cell(dp.Config):
            d = dp.IntParameter(default=1)

            def f(self) -> int:
                return result

        Cell.__qualname__ = "Cell"
        return Cell

    class NewCell(dp.tasks.TaskPickle):
        m = dp.ConfigParameter(cell(2))

    assert NewCell(m=cell(1)(d=7)).m.f() == 2 and NewCell(m=cell(1)(d=7)).m.d == 7


def test_a_default_that_is_left_out_keeps_the_id_of_the_holder() -> None:
    def holder(more: bool) -> Any:
        body: dict[str, Any] = {"d": dp.IntParameter(default=1)}
        if more:
            body["late"] = dp.IntParameter(default=0, ignore_default=True)
        inner = type(dp.Config)("Grows", (dp.Config,), {**body, "__module__": __name__})
        task = type(dp.tasks.TaskPickle)("GrowsTask", (dp.tasks.TaskPickle,), {**body, "__module__": __name__})
        parameters = {"c": dp.ConfigParameter(inner, default={}), "t": dp.TaskInstanceParameter(task, default=task())}
        made = type(dp.tasks.TaskPickle)("HoldsThem", (dp.tasks.TaskPickle,), {**parameters, "__module__": __name__})
        return made()

    assert holder(more=False).task_id == holder(more=True).task_id
