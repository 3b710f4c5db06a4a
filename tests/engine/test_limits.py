"""What bodies use together stays within its limits, and nobody waits who need not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from d6tpipe.engine.build import build
from d6tpipe.engine.freshness import judge
from d6tpipe.engine.graph import Graph
from d6tpipe.engine.limits import Limits
from d6tpipe.engine.plan import Plan
from d6tpipe.errors import GraphError
from d6tpipe.interfaces import Failure
from d6tpipe.testing import OpenLedger, Recorder, ScriptedBodies, ScriptedExecutor, ScriptedView


class Watching(ScriptedExecutor):
    """Knows how much of each resource is in use, and how much was at most."""

    def __init__(self, view: ScriptedView, *args: Any) -> None:
        super().__init__(*args)
        self.view, self.busy = view, 0
        self.most: dict[str, float] = {}

    def _take(self, node: Any, work: Any) -> None:
        super()._take(node, work)
        in_use: dict[str, float] = {}
        for other, _ in self._taken.values():
            for name, amount in self.view.demand(other):
                in_use[name] = in_use.get(name, 0) + amount
        for name, amount in in_use.items():
            self.most[name] = max(amount, self.most.get(name, 0))
        self.busy = max(self.busy, len(self._taken))


def run(needs: Any, goals: Any, demands: Any, limits: Any, capacity: int = 4, bodies: Any = None, **more: Any) -> Any:
    view: Any = ScriptedView(needs, demands=demands, **more)
    graph = Graph(view)
    nodes = graph.add(goals)
    judge(graph.order, view)
    plan = Plan(graph.order, nodes, view, frozenset())
    plan.limit(Limits(limits))
    executor = Watching(view, ScriptedBodies(bodies), (), capacity)
    failures: list[Failure] = []

    def fail(node: Any, error: BaseException) -> Failure:
        return Failure(node.task, error, "", 0.0)

    build(
        graph, plan, view, executor, OpenLedger(), Recorder(), lambda node: fail(node, KeyError()), fail,
        failures.append,
    )  # fmt: skip
    return executor, {node.task: str(node.state) for node in graph.order}, failures


def test_no_more_run_together_than_the_limit_allows() -> None:
    tasks = [f"t{n}" for n in range(8)]
    executor, states, _ = run({}, tasks, {task: {"db": 1} for task in tasks}, {"db": 2})
    assert set(states.values()) == {"built"}
    assert executor.most == {"db": 2}


def test_others_go_on_meanwhile() -> None:
    tasks = [f"t{n}" for n in range(4)]
    executor, states, _ = run({}, [*tasks, "x", "y", "z"], {task: {"db": 1} for task in tasks}, {})
    assert set(states.values()) == {"built"}
    assert executor.most == {"db": 1}  # what nobody names there is one of
    assert executor.busy == 4


def test_the_more_important_comes_first_though_it_had_to_wait() -> None:
    order = [task for what, task in run(
        {}, ["a", "b", "c", "d"], {"a": {"db": 1}, "b": {"db": 1}}, {"db": 1}, 1, priority={"a": 5, "b": 4},
    )[0].log if what == "done"]  # fmt: skip
    assert order == ["a", "b", "c", "d"]


def test_what_can_never_run_is_an_error_before_anything_runs() -> None:
    with pytest.raises(GraphError, match="more of a resource than there is"):
        run({}, ["a", "b"], {"b": {"gpu": 3}}, {"gpu": 2})


def test_what_a_body_asks_for_and_can_never_run_fails_the_body() -> None:
    def asks() -> Any:
        yield "b"

    _, states, failures = run({}, ["a"], {"b": {"gpu": 3}}, {"gpu": 2}, bodies={"a": asks})
    assert states["a"] == "failed"
    assert isinstance(failures[0].error, GraphError)


def test_a_body_that_waits_uses_nothing() -> None:
    """Else it would wait for ever for what it has asked for."""

    def asks() -> Any:
        yield "b"
        yield "c"

    executor, states, _ = run({}, ["a", "d"], {task: {"db": 1} for task in "abcd"}, {"db": 1}, bodies={"a": asks})
    assert set(states.values()) == {"built"}
    assert executor.most == {"db": 1}


@pytest.mark.parametrize("seed", range(100))
def test_a_random_graph_is_built_within_its_limits(seed: int) -> None:
    dice = random.Random(seed)
    names = [f"t{n}" for n in range(dice.randint(1, 40))]
    needs = {name: dice.sample(names[:n], min(n, dice.randint(0, 3))) for n, name in enumerate(names)}
    limits = {"db": dice.randint(1, 3), "gpu": dice.randint(1, 2)}
    demands = {name: {what: dice.randint(1, limits[what]) for what in limits if dice.random() < 0.4} for name in names}
    priority = {name: dice.randint(0, 3) for name in names}
    executor, states, _ = run(needs, names, demands, limits, dice.randint(1, 6), priority=priority)
    assert set(states.values()) == {"built"}
    assert all(amount <= limits[what] for what, amount in executor.most.items())
