"""Tasks whose outputs need not be there: which bodies run, and what is removed when."""

from __future__ import annotations

import pytest

REMOVE = {"t": "remove"}


def asking(*wishes):
    """Return a body that yields each list of wishes in turn."""

    def body():
        yield from wishes

    return body


def removed(found):
    return [task for what, task in found.ledger.log if what == "remove"]


def log_of(found):
    """Return bodies that ended and outputs that were removed, in that order of happening."""
    return [(what, task) for what, task in found.ledger.log if what in ("settle", "remove")]


# ---- what runs


def test_a_missing_transient_is_not_built_when_all_that_needs_it_is_there(world):
    found = world({"c": ["t"]}, present="c", transient={"t": True}).build("c")
    assert [] == found.ran
    assert {"c": "fresh", "t": "fresh"} == found.states


def test_without_the_option_it_is(world):
    assert ["t", "c"] == world({"c": ["t"]}, present="c").build("c").ran


def test_a_chain_of_missing_transients_is_not_built(world):
    found = world({"c": ["t"], "t": ["s"], "s": ["r"]}, present="c", transient=dict.fromkeys("rst", True)).build("c")
    assert [] == found.ran


def test_a_missing_transient_is_built_for_whoever_has_to_run(world):
    needs = {"c": ["t"], "d": ["t"], "t": ["s"], "s": ["a"]}
    found = world(needs, present="ca", transient={"t": True, "s": True}).build("c", "d")
    assert ["s", "t", "d"] == found.ran
    assert "fresh" == found.states["c"]


def test_what_was_asked_for_itself_is_built(world):
    assert ["t"] == world({"c": ["t"]}, present="c", transient={"t": True}).build("c", "t").ran


def test_what_is_forced_is_built(world):
    assert ["t"] == world({"c": ["t"]}, present="c", transient={"t": True}).build("c", forced="t").ran


def test_a_forced_user_calls_for_it(world):
    assert ["t", "c"] == world({"c": ["t"]}, present="c", transient={"t": True}).build("c", forced="c").ran


def test_what_needs_it_is_not_complete_if_something_below_it_is_missing(world):
    found = world({"c": ["t"], "t": ["a"]}, present="c", transient={"t": True}).build("c")
    assert ["a", "t", "c"] == found.ran


def test_without_cascade_nothing_below_it_counts(world):
    found = world({"c": ["t"], "t": ["a"]}, present="c", transient={"t": True}, cascade=False)
    assert [] == found.build("c").ran


def test_without_cascade_what_is_below_is_built_before_it(world):
    found = world({"c": ["t"], "t": ["a"]}, transient={"t": True}, cascade=False)
    assert ["a", "t", "c"] == found.build("c").ran


def test_an_aggregator_of_missing_transients_is_complete_as_long_as_nobody_loads_it(world):
    needs = {"g": ["t", "u"], "c": ["g"]}
    found = world(needs, present="c", transient={"t": True, "u": True}, aggregators="g").build("c")
    assert [] == found.ran


def test_who_loads_an_aggregator_calls_for_what_is_behind_it(world):
    needs = {"g": ["t", "u"], "h": ["g"], "c": ["h"]}
    found = world(needs, present="u", transient={"t": True, "u": True}, aggregators="gh").build("c")
    assert ["t", "g", "h", "c"] == found.ran


def test_to_ask_for_an_aggregator_is_to_ask_for_what_is_behind_it(world):
    found = world({"g": ["t"], "c": ["g"]}, present="c", transient={"t": True}, aggregators="g").build("g")
    assert ["t", "g"] == found.ran


def test_a_body_that_asks_for_one_while_it_runs_gets_it(world):
    bodies = {"x": asking(["t"])}
    found = world({"c": ["t"], "t": ["s"]}, bodies, present="c", transient={"t": True, "s": True}).build("c", "x")
    assert ["x", "s", "t"] == found.ran
    assert "built" == found.states["x"]


def test_what_is_asked_for_while_running_calls_only_for_what_has_to_be_there(world):
    bodies = {"x": asking(["c"], ["d"])}
    found = world({"c": ["t"], "d": ["u"]}, bodies, present="c", transient={"t": True, "u": True}).build("x")
    assert ["x", "u", "d"] == found.ran


def test_a_body_that_asks_for_one_that_needs_it_is_a_circle(world):
    bodies = {"x": asking(["t"])}
    found = world({"t": ["x"]}, bodies, transient={"t": True}, cascade=False).build("x")
    assert "failed" == found.states["x"]
    assert "CycleError" == type(found.failures[0].error).__name__


def test_a_failure_of_a_transient_stops_what_needs_it_and_nothing_else(world):
    found = world({"c": ["t"], "d": ["t"]}, {"t": ValueError()}, present="c", transient={"t": True}).build("c", "d")
    assert {"c": "fresh", "d": "upstream_failed", "t": "failed"} == found.states


# ---- what is removed


def test_outputs_go_when_all_that_needs_them_is_built(world):
    found = world({"c": ["t"], "d": ["t"]}, transient=REMOVE).build("c", "d")
    assert [("settle", "t"), ("settle", "c"), ("settle", "d"), ("remove", "t")] == log_of(found)
    assert {"built"} == set(found.states.values())


def test_of_a_chain_each_goes_as_soon_as_the_next_is_there(world):
    found = world({"c": ["t"], "t": ["s"]}, transient={"t": "remove", "s": "remove"}).build("c")
    order = [("settle", "s"), ("settle", "t"), ("remove", "s"), ("settle", "c"), ("remove", "t")]
    assert order == log_of(found)


def test_true_removes_nothing(world):
    assert [] == removed(world({"c": ["t"]}, transient={"t": True}).build("c"))


def test_what_was_asked_for_itself_stays(world):
    found = world({"c": ["t"]}, transient=REMOVE).build("c", "t")
    assert [] == removed(found)
    assert ("keep", "t") in found.ledger.log


def test_what_was_asked_for_through_an_aggregator_stays(world):
    assert [] == removed(world({"c": ["t"], "g": ["t"]}, transient=REMOVE, aggregators="g").build("c", "g"))


def test_what_was_forced_goes_all_the_same(world):
    assert ["t"] == removed(world({"c": ["t"]}, present="ct", transient=REMOVE).build("c", forced="t"))


@pytest.mark.parametrize("order", ["tcd", "tdc"])
def test_outputs_stay_if_one_that_needs_them_has_failed(world, order):
    found = world({"c": ["t"], "d": ["t"]}, {"d": ValueError()}, transient=REMOVE).build(
        "c", "d", order=order, capacity=2
    )
    assert [] == removed(found)


def test_outputs_stay_if_one_that_needs_them_did_not_start(world):
    found = world({"c": ["t", "a"]}, {"a": ValueError()}, transient=REMOVE).build("c")
    assert [] == removed(found)


def test_what_an_earlier_run_has_left_goes_in_the_next(world):
    found = world({"c": ["t"], "d": ["t"]}, present="tc", transient=REMOVE).build("c", "d")
    assert [("settle", "d"), ("remove", "t")] == log_of(found)


def test_what_nobody_needs_any_more_goes_at_once(world):
    assert ["t"] == removed(world({"c": ["t"]}, present="tc", transient=REMOVE).build("c"))


def test_outputs_go_after_who_loads_them_through_an_aggregator(world):
    found = world({"g": ["t"], "c": ["g"]}, transient=REMOVE, aggregators="g").build("c")
    assert ["t", "g", "c"] == found.ran
    assert [("settle", "c"), ("remove", "t")] == log_of(found)[-2:]


def test_what_a_body_asks_for_stays_until_it_has_ended(world):
    bodies = {"x": asking(["t"], ["a"])}
    found = world({"c": ["t"]}, bodies, transient=REMOVE).build("c", "x")
    assert ("settle", "x") in log_of(found)
    assert ("remove", "t") == log_of(found)[-1]
    assert 1 == len(removed(found))


def test_what_is_removed_is_built_again_for_one_that_asks_for_it_later(world):
    bodies = {"x": asking(["a"], ["t"])}
    found = world(
        {"c": ["t"], "t": ["s"]}, bodies, transient={"t": "remove", "s": "remove"}, priority={"c": 9, "t": 9, "s": 9}
    )
    found.build("c", "x")
    assert ["s", "t", "c", "x", "a", "s", "t"] == found.ran
    assert ["s", "t", "s", "t"] == removed(found)
    assert "built" == found.states["x"]


def test_of_parallel_users_the_last_one_counts(world):
    needs = {n: ["t"] for n in "abc"}
    found = world(needs, transient=REMOVE).build(*"abc", order=[*"tbca"], capacity=3)
    assert [("settle", "a"), ("remove", "t")] == log_of(found)[-2:]


def test_a_graph_without_such_tasks_is_not_watched(world):
    found = world({"c": ["t"]}, transient={"t": True}).build("c")
    assert [] == [task for what, task in found.ledger.log if what in ("keep", "remove")]


def test_a_chain_of_20_000_is_built_and_removed_without_recursion(world):
    count = 20_000
    needs = {n: [n - 1] for n in range(1, count)}
    found = world(needs, transient=dict.fromkeys(range(count - 1), "remove")).build(count - 1)
    assert list(range(count)) == found.ran
    assert list(range(count - 1)) == removed(found)
    again = world(needs, present=[count - 1], transient=dict.fromkeys(range(count - 1), "remove")).build(count - 1)
    assert [] == again.ran
