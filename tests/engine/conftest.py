"""A world of names: the engine with everything around it scripted, no task and no disk."""

from __future__ import annotations

from typing import Any

import pytest

from d6tpipe.engine.build import build
from d6tpipe.engine.freshness import judge
from d6tpipe.engine.graph import Graph
from d6tpipe.engine.plan import Plan
from d6tpipe.interfaces import Failure
from d6tpipe.testing import OpenLedger, Recorder, ScriptedBodies, ScriptedExecutor, ScriptedView


class World:
    """One graph and one build of it; what a test wants to know afterwards is in the attributes."""

    def __init__(self, needs: Any, bodies: Any = None, **options: Any) -> None:
        self.view = ScriptedView(needs, **options)
        self.work = ScriptedBodies(bodies)
        self.told = Recorder()
        self.failures: list[Failure] = []
        self.graph = Graph(self.view)
        self.ledger = OpenLedger(self.view.outputs)

    def build(self, *goals: Any, forced: Any = (), order: Any = (), capacity: int = 1, **options: Any) -> World:
        nodes = self.graph.add(goals)
        judge(self.graph.order, self.view)
        again = frozenset(node for node in self.graph.order if node.task in forced)
        self.plan = Plan(self.graph.order, nodes, self.view, again)
        self.executor = ScriptedExecutor(self.work, order, capacity)
        build(
            self.graph, self.plan, self.view, self.executor, self.ledger, self.told, self._refuse,
            self._fail,
            self.failures.append, **options,
        )  # fmt: skip
        return self

    def _refuse(self, node: Any) -> Failure:
        return self._fail(node, FileNotFoundError(node.task))

    def _fail(self, node: Any, error: BaseException) -> Failure:
        return Failure(node.task, error, "", 0.0)

    @property
    def ran(self) -> list[Any]:
        return self.work.ran

    @property
    def states(self) -> dict[Any, str]:
        return {node.task: str(node.state) for node in self.graph.order if node.state is not None}

    def in_state(self, state: str) -> set[Any]:
        return {task for task, found in self.states.items() if found == state}


@pytest.fixture
def world() -> type[World]:
    return World
