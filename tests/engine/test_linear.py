"""Ten times the tasks cost ten times the work, counted in operations; nothing recurses."""

from __future__ import annotations

import heapq
import sys
from collections import Counter

import pytest


def chain(count):
    return {n: [n - 1] for n in range(1, count)}, [count - 1]


def fan(count):
    return {"top": list(range(count))}, ["top"]


def ladder(count):
    layers = count // 2
    needs = {(layer, side): [(layer - 1, 0), (layer - 1, 1)] for layer in range(1, layers) for side in (0, 1)}
    return needs, [(layers - 1, 0), (layers - 1, 1)]


def asking_one_by_one(count):
    return {}, ["top"]


def operations(world, shape, count, present=False):
    """Count the lines that the engine executes for one build."""
    needs, goals = shape(count)
    bodies = {"top": lambda: iter([[n] for n in range(count)])} if shape is asking_one_by_one else None
    have = [*range(count), *needs] + [(0, 0), (0, 1)] if present else ()
    found = world(needs, bodies=bodies, present=have)
    counted: Counter[str] = Counter()

    def trace(frame, event, argument):
        if "d6tpipe/engine" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        counted[frame.f_code.co_name] += 1
        return local

    def local(frame, event, argument):
        counted["lines"] += 1
        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found.build(*goals)
    finally:
        sys.settrace(before)
    assert {1} == set(found.view.asked.values()) == set(found.view.looked.values())
    return counted["lines"]


@pytest.mark.slow
@pytest.mark.parametrize("present", [False, True], ids=["cold", "complete"])
@pytest.mark.parametrize("shape", [chain, fan, ladder, asking_one_by_one])
def test_ten_times_the_tasks_are_ten_times_the_operations(world, shape, present):
    small = operations(world, shape, 200, present)
    large = operations(world, shape, 2000, present)
    assert 8 * small < large < 10.5 * small


@pytest.mark.slow
def test_many_bodies_that_ask_for_one_large_graph_walk_it_once(world):
    def cost(askers):
        needs, (top,) = chain(500)
        needs["end"] = [f"asker {n}" for n in range(askers)]
        bodies = {f"asker {n}": (lambda: iter([[top]])) for n in range(askers)}
        found = world(needs, bodies=bodies, priority={f"asker {n}": 1 for n in range(askers)})
        lines = 0

        def local(frame, event, argument):
            nonlocal lines
            lines += 1
            return local

        def trace(frame, event, argument):
            return local if "d6tpipe/engine" in frame.f_code.co_filename.replace("\\", "/") else None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            found.build("end")
        finally:
            sys.settrace(before)
        return lines

    assert cost(100) < 2 * cost(10)


@pytest.mark.slow
def test_a_chain_of_100_000_is_built_without_recursion(world):
    needs, goals = chain(100_000)
    first = world(needs).build(*goals)
    assert list(range(100_000)) == first.ran
    second = world(needs, present=first.ran).build(*goals)
    assert [] == second.ran
    assert 100_000 == len(second.in_state("fresh"))


@pytest.mark.slow
def test_a_failure_at_the_start_of_a_chain_of_100_000_blocks_the_rest_without_recursion(world):
    needs, goals = chain(100_000)
    found = world(needs, bodies={0: ValueError()}).build(*goals)
    assert 99_999 == len(found.in_state("upstream_failed"))


def test_a_ladder_of_1_000_layers_visits_each_task_once(world):
    needs, goals = ladder(2000)
    found = world(needs).build(*goals)
    assert 2000 == len(found.ran) == len(set(found.ran))
    assert {1} == set(found.view.asked.values()) == set(found.view.looked.values())


def test_walking_upstream_and_between_visits_each_task_of_a_ladder_once(world):
    needs, goals = ladder(2000)
    graph = world(needs).graph
    roots = graph.add(goals)
    assert 2000 == len(graph.upstream(roots))
    assert 1999 == len(graph.between([graph.find((0, 0))], roots[0])) + 1


def test_the_ready_queue_compares_no_nodes(world, monkeypatch):
    # Nodes have no order; two entries that tie on everything would raise TypeError.
    pushed = []
    push = heapq.heappush
    monkeypatch.setattr(heapq, "heappush", lambda heap, entry: (pushed.append(entry[:-1]), push(heap, entry)))
    world({"top": list(range(100))}).build("top")
    assert len(pushed) == len(set(pushed))
