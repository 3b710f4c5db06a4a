"""Requirements that a body asks for while it runs."""

from __future__ import annotations

import pytest

from d6tpipe.errors import CycleError, GraphError
from d6tpipe.interfaces import State


def asking(*wishes):
    """Return a body that yields each list of wishes in turn."""

    def body():
        yield from wishes

    return body


def test_what_is_asked_for_is_built_before_the_body_goes_on(world):
    found = world({"x2": ["x1"]}, bodies={"a": asking(["x2"], ["y", "z"])}).build("a")
    assert ["a", "x1", "x2", "y", "z"] == found.ran
    assert {"built"} == set(found.states.values())
    assert ("done", "a") == found.executor.log[-1]


def test_what_is_complete_already_is_not_built(world):
    found = world({}, present="x", bodies={"a": asking(["x"])}).build("a")
    assert ["a"] == found.ran
    assert {"a": "built", "x": "fresh"} == found.states


def test_asking_for_nothing_goes_on_at_once(world):
    assert {"a": "built"} == world({}, bodies={"a": asking([], [])}).build("a").states


def test_asking_twice_for_the_same_builds_it_once(world):
    bodies = {"a": asking(["x"], ["x"], ["x", "x"]), "b": asking(["x"])}
    assert ["a", "b", "x"] == world({}, bodies=bodies).build("a", "b").ran


def test_asking_for_what_the_plan_holds_waits_for_it(world):
    found = world({"top": ["a", "x"]}, bodies={"a": asking(["x"])}).build("top")
    assert ["a", "x", "top"] == found.ran
    done = [task for what, task in found.executor.log if what == "done"]
    assert done.index("x") < len(done) - 1 - done[::-1].index("a")


def test_asking_for_what_was_built_goes_on_at_once(world):
    found = world({"a": ["x"]}, bodies={"a": asking(["x"])}).build("a")
    assert ["x", "a"] == found.ran
    assert "built" == found.states["a"]


def test_what_is_asked_for_may_ask_itself(world):
    bodies = {n: asking([n + 1]) for n in range(5)}
    found = world({}, bodies=bodies).build(0)
    assert list(range(6)) == found.ran
    assert {"built"} == set(found.states.values())


def test_a_very_deep_chain_of_asking_is_no_recursion(world):
    found = world({}, bodies={n: asking([n + 1]) for n in range(20_000)}).build(0)
    assert 20_001 == len(found.in_state("built"))


def test_a_failure_below_a_very_deep_chain_of_asking_is_no_recursion(world):
    bodies = {n: asking([n + 1]) for n in range(20_000)}
    found = world({}, bodies={**bodies, 20_000: ValueError()}).build(0)
    assert {20_000} == found.in_state("failed")
    assert 20_000 == len(found.in_state("upstream_failed")) == len(found.work.closed)


def test_a_body_is_given_up_when_what_it_asked_for_fails(world):
    found = world({"top": ["a", "b"]}, bodies={"a": asking(["x", "y"]), "x": ValueError()}).build("top")
    assert {"a": "upstream_failed", "x": "failed", "y": "built", "b": "built", "top": "upstream_failed"} == found.states
    assert ["a"] == found.work.closed
    assert ["x"] == [failure.task for failure in found.failures]


def test_asking_for_what_failed_already_gives_the_body_up(world):
    found = world({}, bodies={"x": ValueError(), "a": asking(["x"])}).build("x", "a")
    assert {"a": "upstream_failed", "x": "failed"} == found.states
    assert ["x", "a"] == found.ran


def test_asking_for_what_needs_a_failed_task_gives_the_body_up(world):
    found = world({"y": ["x"]}, bodies={"x": ValueError(), "a": asking(["y"])}).build("x", "a")
    assert {"a": "upstream_failed", "x": "failed", "y": "upstream_failed"} == found.states


def test_asking_for_what_was_disabled_gives_the_body_up(world):
    found = world({}, disabled="x", bodies={"a": asking(["x"])}).build("a")
    assert {"a": "upstream_failed", "x": "skipped"} == found.states


def test_asking_for_what_saved_nothing_is_a_failure_of_the_body_that_asked(world):
    found = world({}, bodies={"x": State.NO_OUTPUT, "a": asking(["x"])}).build("x", "a")
    assert "failed" == found.states["a"]
    assert ["a"] == [failure.task for failure in found.failures]
    assert "'x'" in str(found.failures[0].error)


def test_what_is_asked_for_counts_as_used(world):
    assert world({}, bodies={"a": asking(["x"])}).build("a").work.used["x"]


def test_asking_for_oneself_is_a_failure_with_the_chain(world):
    found = world({"y": ["a"]}, bodies={"a": asking(["y"])}).build("a")
    (failure,) = found.failures
    assert isinstance(failure.error, CycleError)
    assert ["'a'", "'y'", "'a'"] == failure.error.cycle
    assert ["a"] == found.work.closed
    assert "failed" == found.states["a"]


def test_a_longer_circle_names_its_tasks_in_the_order_of_needing(world):
    found = world({"z": ["y"], "y": ["a"]}, bodies={"a": asking(["z"])}).build("a")
    assert ["'a'", "'z'", "'y'", "'a'"] == found.failures[0].error.cycle


def test_asking_for_one_that_waits_for_the_asker_is_a_circle(world):
    found = world({"top": ["a"]}, bodies={"a": asking(["top"])}).build("top")
    assert ["'a'", "'top'", "'a'"] == found.failures[0].error.cycle
    assert {"a": "failed", "top": "upstream_failed"} == found.states


def test_bodies_that_wait_for_each_other_fail_instead_of_hanging(world):
    found = world({}, bodies={"a": asking(["b"]), "b": asking(["a"])}).build("a", "b", "c")
    assert "built" == found.states["c"]
    (failure,) = found.failures
    assert isinstance(failure.error, GraphError)
    assert "wait for each other" in str(failure.error)
    assert {"failed", "upstream_failed"} == {found.states["a"], found.states["b"]}
    assert ["a", "b"] == sorted(found.work.closed)


def test_a_circle_of_three_leaves_others_waiting_for_good_reasons_alone(world):
    bodies = {"a": asking(["b"]), "b": asking(["c"]), "c": asking(["a"]), "d": asking(["e"])}
    found = world({}, bodies=bodies).build("a", "d")
    assert {"d": "built", "e": "built"} == {name: found.states[name] for name in "de"}
    assert 1 == len(found.failures)
    assert {"failed", "upstream_failed"} == {found.states[name] for name in "abc"}


def test_a_body_that_only_waits_for_a_circle_is_not_blamed_for_it(world):
    # `outside` is suspended first, last, or in between
    for priority in ({"outside": 2}, {"b": 1}, {}):
        bodies = {"a": asking(["b"]), "b": asking(["link"]), "outside": asking(["way"])}
        found = world({"link": ["a2"], "way": ["a"]}, bodies={**bodies, "a2": asking(["a"])}, priority=priority)
        found.build("a", "outside")
        (failure,) = found.failures
        assert failure.task in {"a", "b", "a2"}
        assert "'outside'" not in str(failure.error)
        assert all(name in str(failure.error) for name in ("'a'", "'b'", "'a2'"))
        assert "upstream_failed" == found.states["outside"]


def test_asking_for_a_cycle_fails_the_asker_and_nobody_else(world):
    needs = {"p": ["q"], "q": ["p"], "ok": ["fine"]}
    bodies = {"a": asking(["p"]), "b": asking(["ok"]), "c": asking(["q"])}
    found = world(needs, bodies=bodies).build("a", "b", "c")
    assert {"a": "failed", "c": "failed", "b": "built"} == {name: found.states[name] for name in "abc"}
    assert [CycleError, CycleError] == [type(failure.error) for failure in found.failures]


def test_asking_for_a_task_that_cannot_say_what_it_needs_fails_the_asker_and_nobody_else(world):
    needs = {"x": ["bad"], "bad": ValueError("no")}
    bodies = {"a": asking(["fine", "x"]), "b": asking(["fine"]), "c": asking(["x"])}
    found = world(needs, bodies=bodies, present=["fine"]).build("a", "b", "c")
    assert {"a": "failed", "c": "failed", "b": "built"} == {name: found.states[name] for name in "abc"}
    assert "fine" not in found.ran


def test_asking_for_a_task_that_cannot_be_looked_at_fails_the_asker_and_nobody_else(world):
    found = world({"x": ["fine"]}, bodies={"a": asking(["x", "bad"]), "b": asking(["x"])}, present=["x", "fine"])
    answer = found.view.look

    def look(nodes):
        if any(node.task == "bad" for node in nodes):
            raise OSError("no such server")
        return answer(nodes)

    found.view.look = look
    found.build("a", "b")
    assert {"a": "failed", "b": "built", "x": "fresh"} == {name: found.states[name] for name in "abx"}
    assert ["no such server"] == [str(failure.error) for failure in found.failures]


def test_an_error_in_the_body_after_its_wishes_came_true_is_its_failure(world):
    def body():
        yield ["x"]
        raise ValueError("late")

    found = world({"top": ["a"]}, bodies={"a": body}).build("top")
    assert {"a": "failed", "x": "built", "top": "upstream_failed"} == found.states
    assert ["late"] == [str(failure.error) for failure in found.failures]


def test_a_body_that_cannot_be_closed_does_not_stop_the_run(world):
    def stubborn():
        try:
            yield ["x"]
        finally:
            raise OSError("cannot clean up")

    found = world({}, bodies={"a": stubborn, "x": ValueError()})
    with pytest.warns(UserWarning, match="cannot clean up"):
        found.build("a", "b")
    assert "built" == found.states["b"]


def test_new_tasks_start_by_priority_and_chain_too(world):
    found = world({"z3": ["z2"], "z2": ["z1"]}, priority={"y": 1}, bodies={"a": asking(["x", "y", "z3"])}).build("a")
    assert ["a", "y", "z1", "z2", "x", "z3"] == found.ran


def test_a_suspended_body_does_not_take_up_a_place_of_the_executor(world):
    found = world({}, bodies={"a": asking(["x"])}).build("a", capacity=1)
    assert ["a", "x"] == found.ran


def test_bodies_may_finish_in_any_order(world):
    bodies = {"a": asking(["x", "y"]), "b": asking(["y"])}
    found = world({}, bodies=bodies)
    found.build("a", "b", capacity=4, order=["b", "a", "y", "b", "x", "a"])
    assert {"built"} == set(found.states.values())
    assert ["b", "a", "y", "x"] == found.ran
