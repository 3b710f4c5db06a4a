"""What a failure stops, and what it does not."""

from __future__ import annotations

import pytest

from d6tpipe.engine.graph import Graph
from d6tpipe.errors import CycleError
from d6tpipe.interfaces import State
from d6tpipe.testing import Recorder

TWO_BRANCHES = {
    "top": ["left2", "right2"],
    "left2": ["left1"],
    "left1": ["base"],
    "right2": ["right1"],
    "right1": ["base"],
}


def test_a_failure_blocks_only_what_needs_it(world):
    found = world(TWO_BRANCHES, bodies={"left1": ValueError("no")}).build("top")
    assert {"base", "left1", "right1", "right2"} == set(found.ran)
    assert {"left2", "top"} == found.in_state("upstream_failed")
    assert ["left1"] == [failure.task for failure in found.failures]


def test_what_is_blocked_is_reported_once(world):
    found = world(TWO_BRANCHES, bodies={"left1": ValueError(), "right1": ValueError()}).build("top")
    assert ["left2", "right2", "top"] == sorted(found.told.of("skipped"))


def test_after_a_failure_a_second_build_does_only_the_rest(world):
    first = world(TWO_BRANCHES, bodies={"left1": ValueError()}).build("top")
    second = world(TWO_BRANCHES, present=first.in_state("built")).build("top")
    assert ["left1", "left2", "top"] == second.ran


def test_an_external_task_without_output_fails_without_a_body(world):
    found = world({"b": ["a"]}, external="a").build("b")
    assert [] == found.ran
    assert {"a": "failed", "b": "upstream_failed"} == found.states


def test_a_disabled_task_and_what_needs_it_are_skipped_without_failure(world):
    found = world({"c": ["b", "x"], "b": ["a"]}, disabled="b").build("c")
    assert {"a", "x"} == set(found.ran)
    assert {"a": "built", "b": "skipped", "c": "upstream_failed", "x": "built"} == found.states
    assert [] == found.failures


def test_after_max_failures_nothing_more_starts(world):
    needs = {"top": list("abcdef")}
    found = world(needs, bodies={"b": ValueError(), "d": ValueError()}).build("top", max_failures=2)
    assert list("abcd") == found.ran
    assert {"e", "f"} == found.in_state("cancelled")


def test_after_max_failures_what_runs_may_finish(world):
    found = world({"top": list("abcd")}, bodies={"b": ValueError()})
    found.build("top", capacity=2, order=["b", "a"], max_failures=1)
    assert {"a": "built", "b": "failed", "c": "cancelled", "d": "cancelled"} == {
        task: state for task, state in found.states.items() if task != "top"
    }
    assert ["b", "a"] == found.ran
    assert "a" not in found.told.of("skipped")


def test_after_max_failures_a_body_that_asks_for_more_is_given_up(world):
    def asks():
        yield ["more"]

    found = world({"top": list("ab")}, bodies={"a": asks, "b": ValueError()})
    found.build("top", capacity=2, order=["b", "a"], max_failures=1)
    assert ["b", "a"] == found.ran
    assert ["a"] == found.work.closed
    assert "cancelled" == found.states["a"]


def test_an_interrupt_cancels_all_that_is_not_settled(world):
    found = world({"c": ["b"], "b": ["a"]}, bodies={"b": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        found.build("c")
    assert {"a": "built", "b": "cancelled", "c": "cancelled"} == found.states
    assert ["b", "c"] == found.told.of("skipped")


def test_an_interrupt_while_waiting_closes_suspended_bodies(world):
    def asks():
        yield ["more"]

    found = world({}, bodies={"a": asks, "more": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        found.build("a")
    assert ["a"] == found.work.closed
    assert {"a": "cancelled", "more": "cancelled"} == found.states


def test_no_output_is_a_state_of_its_own(world):
    assert {"a": "no_output"} == world({}, bodies={"a": State.NO_OUTPUT}).build("a").states


@pytest.mark.parametrize(
    ("needs", "chain"),
    [
        ({"a": ["a"]}, ["a", "a"]),
        ({"a": ["b"], "b": ["a"]}, ["a", "b", "a"]),
        ({"top": ["x", "a"], "a": ["b"], "b": ["c", "x"], "c": ["a"]}, ["a", "b", "c", "a"]),
    ],
)
def test_a_cycle_is_an_error_that_holds_the_chain(world, needs, chain):
    with pytest.raises(CycleError) as caught:
        world(needs).build(next(iter(needs)))
    assert [repr(name) for name in chain] == caught.value.cycle
    assert " -> ".join(map(repr, chain)) in str(caught.value)
    assert "Break the circle" in str(caught.value)


def test_a_long_cycle_is_found_and_shown_short(world):
    needs = {n: [(n + 1) % 50_000] for n in range(50_000)}
    with pytest.raises(CycleError) as caught:
        world(needs).build(0)
    assert 50_001 == len(caught.value.cycle)
    assert len(str(caught.value)) < 1000


def test_a_graph_can_be_asked_again_after_an_error(world):
    # A body may ask for something impossible; others of the same run must not suffer.
    view = world({"a": ["bad"], "bad": ValueError("no"), "ok": ["x"]}).view
    graph = Graph(view)
    for _ in range(2):
        with pytest.raises(ValueError):
            graph.add(["ok", "a"])
    view.graph["bad"] = ()
    graph.add(["a", "ok"])
    assert ["bad", "a", "x", "ok"] == [node.task for node in graph.order]


def test_an_interrupt_is_not_hidden_by_a_callback_that_raises(world):
    class Fussy(Recorder):
        def __call__(self, event):
            super().__call__(event)
            if event.kind == "skipped":
                raise ValueError("callback")

    found = world({"b": ["a"]}, bodies={"a": KeyboardInterrupt()})
    found.told = Fussy()
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="ValueError: callback"):
        found.build("b")
    assert {"cancelled"} == set(found.states.values())


def test_a_callback_that_raised_is_not_called_again(world):
    class Fussy(Recorder):
        def __call__(self, event):
            super().__call__(event)
            raise ValueError(str(event.task))

    found = world({"b": ["a"]})
    found.told = Fussy()
    with pytest.raises(ValueError, match=r"^a$"):
        found.build("b")
    assert 1 == len(found.told.events) and {"cancelled"} == set(found.states.values())
