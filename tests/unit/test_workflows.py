"""Workflow and WorkflowMulti: which tasks they make, and whose result is whose."""

from __future__ import annotations

import functools
import sys
import types
from pathlib import Path

import pytest

import d6tpipe
from d6tpipe.errors import GraphError


@pytest.fixture(autouse=True)
def quiet(isolated):
    d6tpipe.settings.execution_summary = False


class Source(d6tpipe.tasks.TaskCache):
    n = d6tpipe.IntParameter(default=0)

    def run(self):
        if self.n < 0:
            raise ValueError(f"no {self.n}")
        self.save(self.n)


class Common(d6tpipe.tasks.TaskCache):
    def run(self):
        self.save("common")


@d6tpipe.requires({"source": Source, "common": Common})
class Model(d6tpipe.tasks.TaskCache):
    def run(self):
        self.save(self.inputLoad())


def test_each_flow_gets_the_result_of_its_own_tasks():
    flows = d6tpipe.WorkflowMulti(Model, {"good": {"n": 1}, "bad": {"n": -1}, "worse": {"n": -2}})
    results = flows.run(abort=False)
    assert ["good", "bad", "worse"] == list(results)
    assert {Source(n=1), Common(), Model(n=1)} == set(results["good"].states)
    assert {Source(n=-1): "failed", Common(): "built", Model(n=-1): "upstream_failed"} == results["bad"].states
    assert [True, False, False] == [result.ok for result in results.values()]
    assert [[], [Source(n=-1)], [Source(n=-2)]] == [[f.task for f in r.failures] for r in results.values()]


def test_flows_may_share_all_their_tasks():
    results = d6tpipe.WorkflowMulti(Common, {"a": {}, "b": {}}).run()
    assert {"a": {Common(): "built"}, "b": {Common(): "built"}} == {name: r.states for name, r in results.items()}


def test_flows_run_with_classes_of_a_cell_that_was_run_again(monkeypatch):
    cell = types.ModuleType("cell_with_flows")
    monkeypatch.setitem(sys.modules, cell.__name__, cell)
    source = (
        "import d6tpipe\n"
        "class Step(d6tpipe.tasks.TaskCache):\n"
        "    n = d6tpipe.IntParameter()\n"
        "    def run(self): self.save(({!r}, self.n))\n"
    )
    exec(source.format("old"), vars(cell))
    flows = d6tpipe.WorkflowMulti(cell.Step, {"n": [1, 2]})
    exec(source.format("new"), vars(cell))
    results = flows.run()
    assert [("new", 1), ("new", 2)] == list(flows.outputLoad().values())
    assert [{"built"}, {"built"}] == [set(result.states.values()) for result in results.values()]


def test_splitting_a_result_looks_only_at_the_tasks_of_each_flow():
    looked = []

    class Nodes(list):
        def __iter__(self):
            looked.append(self)
            return super().__iter__()

    flows = d6tpipe.WorkflowMulti(Model, {"n": list(range(20))})
    chosen = {name: [flow.get_task()] for name, flow in flows.workflow_objs.items()}
    result = d6tpipe.run([task for tasks in chosen.values() for task in tasks])
    result._nodes = Nodes(result._nodes)
    assert 20 == len(result.split(chosen))
    assert 1 == len(looked)


@pytest.mark.parametrize("call", ["run", "preview", "outputLoad", "complete", "reset"])
def test_a_workflow_without_a_default_task_says_how_to_give_one(call):
    with pytest.raises(GraphError, match="set_default"):
        getattr(d6tpipe.Workflow(), call)()


def test_a_name_that_no_task_of_the_flow_has_warns_once_at_the_users_line():
    flow = d6tpipe.Workflow(Model, {"n": 1, "m": 2})
    with pytest.warns(UserWarning, match="No task of the flow has a parameter 'm'") as warned:
        flow.run()
        flow.preview()
    assert [__file__] == [warning.filename for warning in warned]


def test_a_name_that_only_upstream_has_does_not_warn():
    @d6tpipe.requires(Common)
    class Low(d6tpipe.tasks.TaskCache):
        deep = d6tpipe.IntParameter(default=1)

        def run(self):
            self.save(self.deep)

    class High(d6tpipe.tasks.TaskCache):
        def requires(self):
            return Low()

        def run(self):
            self.save(self.inputLoad())

    assert d6tpipe.Workflow(High, {"deep": 1}).run().ok
    assert d6tpipe.WorkflowMulti(High, {"deep": [1, 2]}).run()


# ---------------------------------------------------------------------------- the folder reaches hand-written tasks


class Part(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def run(self):
        self.save(self.n)


class FromGenerator(d6tpipe.tasks.TaskPickle):
    def requires(self):
        yield Part(n=1)
        yield Part(n=2)

    def run(self):
        self.save(sum(self.inputLoad()))


class FromCachedMethod(d6tpipe.tasks.TaskPickle):
    @functools.lru_cache  # noqa: B019
    def requires(self):
        return [Part(n=1), Part(n=2)]

    def run(self):
        self.save(sum(self.inputLoad()))


class FromGeneratorWhileRunning(d6tpipe.tasks.TaskPickle):
    def run(self):
        targets = yield (Part(n=n) for n in (1, 2))
        self.save(sum(target.load() for target in targets))


class FromGeneratorOfAnAggregator(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield (Part(n=n) for n in (1, 2))


@pytest.mark.parametrize(
    "cls", [FromGenerator, FromCachedMethod, FromGeneratorWhileRunning, FromGeneratorOfAnAggregator]
)
def test_tasks_made_late_lie_in_the_folder_of_the_flow(cls, isolated):
    flow = d6tpipe.Workflow(cls, path="flow")
    flow.run()
    assert 2 == len(list(Path("flow/Part").iterdir()))
    assert not (isolated / "data").exists()
    loaded = flow.outputLoad()
    assert 3 == (sum(loaded) if isinstance(loaded, list) else loaded)


def test_a_flow_is_told_of_what_its_bodies_asked_for():
    class Asks(d6tpipe.tasks.TaskCache):
        n = d6tpipe.IntParameter()

        def run(self):
            yield Source(n=self.n)
            self.save(1)

    results = d6tpipe.WorkflowMulti(Asks, {"good": {"n": 1}, "bad": {"n": -1}}).run(abort=False)
    assert [] == results["good"].failures and Source(n=1) in results["good"].states
    assert [Source(n=-1)] == [failure.task for failure in results["bad"].failures]
