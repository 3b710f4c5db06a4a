"""The expressions that select tasks: what they mean, what is wrong with a wrong one, what was nearly meant."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pickle
import random
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d6tpipe import interfaces
from d6tpipe import near_misses as near_misses_module
from d6tpipe.errors import ExpressionError, NothingSelectedError, PipeError
from d6tpipe.expressions import MISSING, STATES, Selection
from d6tpipe.grammar import parse, parse_marks
from d6tpipe.near_misses import near_misses

date, datetime_, timedelta = datetime.date, datetime.datetime, datetime.timedelta


class Colour(enum.Enum):
    RED = 1
    BLUE = "sky"


class Size(str, enum.Enum):
    BIG = "big"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class World:
    """Tasks as dictionaries; counts what is asked, and of which task."""

    def __init__(self, *tasks):
        self.tasks = tasks
        self.asked = collections.Counter()

    @property
    def size(self):
        return len(self.tasks)

    def of(self, item, name, default=()):
        self.asked[name] += 1
        return self.tasks[item].get(name, default)

    def words(self, item):
        tags = self.tasks[item].get("tags", {})
        return [self.of(item, "label"), *self.tasks[item].get("marks", ()), *[f"{n}={v}" for n, v in tags.items()]]

    def marks(self, item):
        return self.of(item, "marks")

    def ids(self, item):
        return self.of(item, "ids")

    def module(self, item):
        return self.of(item, "module", "flow")

    def family(self, item):
        return self.of(item, "family", "Fit")

    def parameter(self, item, path):
        value = self.of(item, "parameters", {})
        for name in path:
            if not isinstance(value, dict) or name not in value:
                return MISSING
            value = value[name]
        return value

    def parameter_names(self):
        return {name for task in self.tasks for name in task.get("parameters", {})}

    def state(self, item):
        return self.of(item, "state", "pending")

    def stale(self, item):
        return self.of(item, "stale", False)

    def downstream(self, items):
        self.asked["downstream"] += 1
        found = set()
        for item in range(self.size):  # a task needs only those before it
            if any(up in items or up in found for up in self.tasks[item].get("needs", ())):
                found.add(item)
        return found


class Indexed(World):
    def index_of_id(self, id):
        self.asked["index"] += 1
        return [item for item, task in enumerate(self.tasks) if id in task["ids"]]


def task(id, family="Fit", module="flow", **more):
    return {"label": f"{module}.{family}[{id}]", "ids": (id,), "family": family, "module": module, **more}


def with_values(*values):
    return World(*[task(f"t{n}", parameters={"x": value}) for n, value in enumerate(values)])


def holds(expression, value):
    """Whether a task whose parameter x has this value is selected."""
    return parse(expression).evaluate(with_values(value)) == {0}


DATA = World(*[task(f"data_{n}", "Prepare", parameters={"subset": f"s{n}"}) for n in (1, 10, 2)])


def ids(expression, world=DATA):
    return [world.tasks[item]["ids"][0] for item in sorted(parse(expression).evaluate(world))]


# ---- what an expression means


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[data_1]", ["data_1"]),
        ("data_1", ["data_1", "data_10"]),
        ("not data_2", ["data_1", "data_10"]),
        ("not (data_1 or data_2)", []),
        ("meta", []),
        ("subset=s1", ["data_1"]),
        ("subset=s1 or [data_2]", ["data_1", "data_2"]),
        ("prepare", ["data_1", "data_10", "data_2"]),
        ("DATA_2", ["data_2"]),
        ("flow.Prepare[data_1]", ["data_1"]),
        ('"Prepare[data_1]"', ["data_1"]),
        ("'data_1]'", ["data_1"]),
        ('"data_1" and "0]"', ["data_10"]),
        ("1 and 0", ["data_10"]),
    ],
)
def test_words_ids_and_values_select_as_the_acceptance_cases_say(expression, expected):
    assert ids(expression) == expected


def test_an_expression_finds_a_label_in_whatever_order_its_words_are():
    world = World(task("data_0_linear_probability"), task("data_1_linear_probability"), task("data_0_logistic"))
    assert ids("linear_probability and data_0", world) == ["data_0_linear_probability"]
    assert ids("linear_probability_data_0", world) == []


def test_a_word_is_found_in_label_marks_and_tags_and_in_nothing_else():
    world = World(
        task("a", marks={"costly"}, tags={"layers": 3}, parameters={"costly_parameter": "hidden"}, state="failed"),
        task("b", module="deep.folder"),
    )
    assert ids("COSTLY", world) == ["a"]
    assert ids("'layers=3'", world) == ["a"]
    assert ids("layers", world) == ["a"]
    assert ids("folder", world) == ["b"]
    for nowhere in ("hidden", "failed", "parameter", "ids", "dict", '"costlylayers"', "'a]costly'", "'a]\0costly'"):
        assert ids(nowhere, world) == []


def test_case_does_not_matter_beyond_ascii():
    world = World(task("Straße"), task("ÄRGER"))
    assert ids("STRASSE", world) == ["Straße"]
    assert ids("ärger", world) == ["ÄRGER"]


WORDS = World(*[{"label": word} for word in ("", "a", "b", "ab", "c", "ac", "bc", "abc")])


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("a or b and c", "a or (b and c)"),
        ("a and b or c", "(a and b) or c"),
        ("not a and b", "(not a) and b"),
        ("not a or b", "(not a) or b"),
        ("not not a", "a"),
        ("not not not a", "not a"),
        ("not a and not b", "not (a or b)"),
        ("((a))", "a"),
        ("not(a)or(b)and(c)", "not a or b and c"),
        ("\ta\nor\r\n  b ", "a or b"),
        ("'a'or\"b\"", "a or b"),
    ],
)
def test_not_binds_tighter_than_and_and_and_tighter_than_or(expression, same):
    assert parse(expression).evaluate(WORDS) == parse(same).evaluate(WORDS)


def test_keywords_are_lower_case_and_whole_words():
    world = World({"label": "and"}, {"label": "order"}, {"label": "knot"})
    assert parse("'and'").evaluate(world) == {0}
    assert parse("AND").evaluate(world) == {0}
    assert parse("order or knot").evaluate(world) == {1, 2}
    assert parse("not_").evaluate(world) == set()


def test_words_may_hold_what_paths_dates_and_times_hold():
    labels = ["a-b.c/d:e", "2020-01-01", "x\\y", "50%", "#1", "what?", "$h", "~me"]
    world = World(*[{"label": label} for label in labels])
    for item, label in enumerate(labels):
        assert parse(label).evaluate(world) == {item} or label == "~me"
    assert parse("me").evaluate(world) == {7}


def test_a_quoted_text_holds_anything_but_its_quote():
    labels = ["it's", 'say "no"', "a (b) or [c]", "back\\slash", "a + b", "*"]
    world = World(*[{"label": label} for label in labels])
    for item, label in enumerate(labels):
        quote = "'" if '"' in label else '"'
        assert parse(f"{quote}{label}{quote}").evaluate(world) == {item}


@pytest.mark.parametrize(
    ("id", "other"),
    [
        ("data_1", "data_10"),
        ("lr=0.1,model=logistic", "lr=0.1"),
        ("Fit[a]_b", "Fit[a]"),
        ("a and (b or c)", "a"),
        ("with 'one' \"quote\" + @more", "with"),
        ("[[]]", "[]"),
        ("Data_1", "data_1"),
        (" ", "  "),
    ],
)
def test_an_id_in_brackets_is_exact_whatever_it_holds(id, other):
    for world in (World(task(id), task(other)), Indexed(task(id), task(other))):
        assert parse(f"[{id}]").evaluate(world) == {0}
        assert parse(f"Fit[{id}] and not [{other}]").evaluate(world) == {0}


def test_a_class_in_front_of_an_id_is_exact_with_or_without_its_module():
    plain = World(task("x"), task("x", "Prepare"), task("x", module="pkg.sub"), task("x", "Refit"), task("y"))
    for world in (plain, Indexed(*plain.tasks)):
        assert parse("[x]").evaluate(world) == {0, 1, 2, 3}
        assert parse("Fit[x]").evaluate(world) == {0, 2}
        assert parse("flow.Fit[x]").evaluate(world) == {0}
        assert parse("pkg.sub.Fit[x]").evaluate(world) == {2}
        assert parse("sub.Fit[x]").evaluate(world) == {2}
        for none in ("fit[x]", "it[x]", "ub.Fit[x]", "pkg.Fit[x]", "Fit[X]"):
            assert parse(none).evaluate(world) == set()


def test_a_task_has_any_number_of_ids():
    world = World({"label": "flow.Fit", "ids": ()}, {"label": "flow.Fit[a]", "ids": ("a", "b")})
    assert parse("[a] and [b]").evaluate(world) == {1}


def test_a_keyword_in_front_of_a_bracket_is_no_class():
    assert ids("not[data_1]and[data_10]") == ["data_10"]


def test_states_and_staleness_are_asked_for_by_an_at_sign():
    world = World(*[task(state, state=state, stale=state == "fresh") for state in STATES])
    for state in STATES:
        assert ids(f"@state={state}", world) == [state]
        assert len(ids(f"@state != '{state.upper()}'", world)) == len(STATES) - 1
    assert ids("@stale", world) == ["fresh"]
    assert "fresh" not in ids("not @stale", world)
    assert ids("@state==failed or @state=pending", world) == ["pending", "failed"]


@pytest.mark.parametrize("state", sorted({str(state) for state in interfaces.State} - set(STATES)))
def test_a_state_that_comes_about_only_in_a_run_is_refused_with_those_that_can_match(state):
    with pytest.raises(ExpressionError, match=f"no task is '{state}' before a run") as caught:
        parse(f"a and @state={state}")
    assert caught.value.facts["expected"] == "fresh, stale, frozen, pending, failed, missing, removed"


GRAPH = World(
    task("a"), task("b", needs=[0]), task("c", needs=[1], marks={"costly"}), task("d"), task("e", needs=[3, 0])
)  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[a]+", "abce"),
        ("[b]+", "bc"),
        ("[c]+", "c"),
        ("[nothing]+", ""),
        ("[a] +", "abce"),
        ("[a]++", "abce"),
        ("([a]+)+", "abce"),
        ("([b] or [d])+", "bcde"),
        ("[b] or [d]+", "bde"),
        ("not [a]+", "d"),
        ("(not [a])+", "bcde"),
        ("[a]+ and [d]+", "e"),
        ("costly and [a]+", "c"),  # a itself is not costly
        ("'[b]'+ or 'd]'", "bcd"),
        ("not [b] and not [b]+", "ade"),
    ],
)
def test_a_plus_adds_everything_downstream_and_binds_tightest(expression, expected):
    assert "".join(ids(expression, GRAPH)) == expected


def test_nothing_is_selected_in_an_empty_world():
    for expression in ("a", "not a", "[a]+", "x=1", "not x=1", "@stale"):
        assert parse(expression).evaluate(World()) == set()


def test_an_evaluation_can_be_kept_to_some_tasks_and_still_sees_the_whole_graph():
    assert parse("[a]+").evaluate(GRAPH, among=[2, 3]) == {2}
    assert parse("not [a]").evaluate(GRAPH, among={0, 3}) == {3}
    marked = parse_marks("costly", ["costly"]).evaluate(GRAPH)
    assert parse("c or d").evaluate(GRAPH, marked) == {2}


def test_what_is_handed_in_is_never_changed():
    among = {0, 1, 2}
    found = parse("a or not a").evaluate(GRAPH, among)
    found.clear()
    assert among == {0, 1, 2}


# ---- comparisons


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x=0.10", 0.1),
        ("x=.1", 0.1),
        ("x=1e-1", 0.1),
        ("x==1E+2", 100.0),
        ("x=1e+2", 100),
        ("x=+5", 5),
        ("x=-5", -5),
        ("x = 5.0", 5),
        ("x='5'", 5),
        ("x=5", 5.0),
        ("x=5", np.int64(5)),
        ("x=0.5", np.float32(0.5)),
        ("x=0.5", fractions.Fraction(1, 2)),
        ("x=1/2", fractions.Fraction(1, 2)),
        ("x=0.10", decimal.Decimal("0.1")),
        ("x=nan", float("nan")),
        ("x=NaN", float("nan")),
        ("x=inf", float("inf")),
        ("x=9007199254740993", 2**53 + 1),
        ("x=true", True),
        ("x=False", False),
        ("x=1", True),
        ("x=none", None),
        ("x=Null", None),
        ("x=logistic", "logistic"),
        ("x='a b'", "a b"),
        ('x=""', ""),
        ("x=0.10", "0.10"),
        ("x=true", "true"),
        ("x=none", "none"),
        ("x='and'", "and"),
        ("x=a/b-c.d:e*", "a/b-c.d:e*"),
        ("x=me@home", "me@home"),
        ("x=RED", Colour.RED),
        ("x=Colour.RED", Colour.RED),
        ("x=1", Colour.RED),
        ("x=sky", Colour.BLUE),
        ("x=big", Size.BIG),
        ("x=2", Level.HIGH),
        ("x=HIGH", Level.HIGH),
        ("x=2020-01-31", date(2020, 1, 31)),
        ("x=2020-01", date(2020, 1, 1)),
        ("x=2020", date(2020, 1, 1)),
        ("x=2020-01-31", datetime_(2020, 1, 31)),
        ("x=2020-01-31T12", datetime_(2020, 1, 31, 12)),
        ("x=2020-01-31T1230", datetime_(2020, 1, 31, 12, 30)),
        ("x=2020-01-31T12:30:05.5", datetime_(2020, 1, 31, 12, 30, 5, 500000)),
        ("x='2020-01-31 12:30'", pd.Timestamp("2020-01-31 12:30")),
        ("x=2020-01-31T12", datetime_(2020, 1, 31, 12, tzinfo=datetime.timezone.utc)),
        ("x=90", timedelta(seconds=90)),
        ("x=0:01:30", timedelta(seconds=90)),
        ("x='(1, 2)'", (1, 2)),
        ("x=a/b", Path("a/b")),
        ("x=a/b/", PurePosixPath("a/b")),
        ("x!=1", 2),
        ("x!=1", "one"),
        ("x!=1", None),
        ("x!=true", False),
        ("x!=2020-01-01", date(2020, 1, 2)),
        ("x>=1e-3", 0.001),
        ("x<1", 0.5),
        ("x<=1", 1),
        ("x<=9007199254740993", 2**53 + 1),
        (f"x<{'9' * 5000}", 1),
        ("x<1e9999999999999999999999", decimal.Decimal(1)),
        ("x>-1", -0.5),
        ("x>1", 10**400),
        ("x<1e999", 10**400),
        ("x>1", decimal.Decimal("1.5")),
        ("x>1", fractions.Fraction(3, 2)),
        ("x>1", np.float32(1.5)),
        ("x>=2", Level.HIGH),
        ("x>b", "c"),
        ("x<'b'", "a"),
        ("x<'10'", "1"),
        ("x>'9'", "a"),
        ("x>big", "small"),
        ("x<=big", Size.BIG),
        ("x>a/a", PurePosixPath("a/b")),
        ("x>=2020", date(2020, 1, 1)),
        ("x<2020-02", date(2020, 1, 31)),
        ("x>2020-01-31", datetime_(2020, 1, 31, 0, 1)),
        ("x<2020-01-31T12", date(2020, 1, 31)),
        ("x>=2020-01-31", pd.Timestamp("2020-01-31")),
        ("x<2021", datetime_(2020, 1, 31, tzinfo=datetime.timezone.utc)),
        ("x<=90", timedelta(minutes=1)),
    ],
)
def test_a_comparison_goes_by_the_type_of_the_parameter(expression, value):
    assert holds(expression, value)
    assert not holds(f"not {expression}", value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x=0.1", 0.10001),
        ("x=9007199254740992", 2**53 + 1),
        ("x=1", "01"),
        ("x=0.1", "0.10"),
        ("x=Logistic", "logistic"),
        ("x=log", "logistic"),
        ("x=logist*", "logistic"),
        ("x=true", 1),
        ("x=yes", True),
        ("x=2", True),
        ("x=one", 1),
        ("x=GREEN", Colour.RED),
        ("x=2020-01-01", date(2020, 1, 2)),
        ("x=2020-13-01", date(2020, 1, 2)),
        ("x=soon", date(2020, 1, 2)),
        ("x=nan", 1.0),
        ("x=1", float("nan")),
        ("x!=1", 1.0),
        ("x!=nan", float("nan")),
        ("x!=none", None),
        ("x<1", 1),
        ("x>1", 1.0),
        ("x<1", float("nan")),
        ("x<1", decimal.Decimal("nan")),
        ("x>1", None),  # an optional parameter without a value is on no side
        ("x<=1", None),
        ("x<nan", 1),
    ],
)
def test_a_comparison_that_does_not_hold_selects_nothing(expression, value):
    assert not holds(expression, value)


def test_a_path_leads_through_tasks_and_dictionaries():
    world = World(
        task("a", parameters={"data": {"subset": "s1", "deep": {"er": 1}}}),
        task("b", parameters={"data": {"subset": "s2"}}),
        task("c", parameters={"data": 5}),
    )
    assert ids("data.subset=s1", world) == ["a"]
    assert ids("data.deep.er>=1", world) == ["a"]
    assert ids("data=5", world) == ["c"]


def test_a_task_without_the_parameter_is_not_selected_not_even_by_unequal():
    world = World(task("a", parameters={"x": 1}), task("b"))
    assert ids("x!=2", world) == ["a"]
    assert ids("not x=2", world) == ["a", "b"]


def test_a_parameter_that_some_task_has_is_no_error_for_those_that_lack_it():
    world = World(task("a", parameters={"x": 1}), task("b"))
    assert ids("[b] and x=1", world) == []


def test_a_parameter_that_no_task_has_is_an_error_with_the_nearest_name():
    with pytest.raises(ExpressionError) as caught:
        ids("[data_1] and subst=s1")
    assert caught.value.column == 14
    assert "no task has a parameter 'subst'" in caught.value.headline
    assert caught.value.hint == "Did you mean 'subset'?"
    assert caught.value.facts["parameters"] == "subset"


def test_a_parameter_far_from_every_other_lists_those_that_there_are():
    world = World(*[task(f"{n}", parameters={f"parameter_{n}": 1}) for n in range(20)])
    with pytest.raises(ExpressionError) as caught:
        ids("zzz=1", world)
    assert caught.value.facts["parameters"].endswith("... (20 in all)")
    assert 'put it in quotes: "zzz"' in caught.value.hint


@pytest.mark.parametrize(
    ("expression", "value", "kind", "by"),
    [
        ("x>=abc", 0.1, "0.1 (float)", "number"),
        ("x<abc", 3, "3 (int)", "number"),
        ("x<3", "deep", "'deep' (str)", 'in quotes: "3"'),
        ("x<2020", "deep", "'deep' (str)", 'in quotes: "2020"'),
        ("x<true", True, "True (bool)", "= and !="),
        ("x<1", (1, 2), "(1, 2) (tuple)", "= and !="),
        ("x<1", 1j, "1j (complex)", "= and !="),
        ("x<3.5", date(2020, 1, 1), "datetime.date(2020, 1, 1) (date)", "2020-01-31"),
        ("x<2020-02-31", date(2020, 1, 1), "datetime.date(2020, 1, 1) (date)", "2020-01-31"),
        ("x<soon", timedelta(1), "datetime.timedelta(days=1) (timedelta)", "seconds"),
        ("x<a", Level.LOW, "<Level.LOW: 1> (Level)", "number"),
    ],
)
def test_what_has_no_order_is_an_error_that_names_parameter_type_and_column(expression, value, kind, by):
    with pytest.raises(ExpressionError) as caught:
        parse(f"t0 and {expression}").evaluate(with_values(value))
    assert caught.value.column == 8
    assert "'x'" in caught.value.headline
    assert caught.value.facts["x"] == kind
    assert by in caught.value.facts["compared by"]


def test_tasks_of_another_type_can_be_kept_out_of_a_comparison():
    world = World(task("a", parameters={"x": 1}), task("b", "Other", parameters={"x": "text"}))
    with pytest.raises(ExpressionError):
        ids("x<3", world)
    assert ids("Fit and x<3", world) == ["a"]


# ---- what is asked of the world


def many(size, kind=World, **more):
    return kind(*[task(f"data_{n}", parameters={"lr": n / size}, marks={"slow"}, **more) for n in range(size)])


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("data", {"label": 100}),
        ("data_1 or data_2 or not data_3", {"label": 100}),
        ("lr<0.1", {"parameters": 100}),
        ("lr<0.1 and data_3", {"parameters": 100, "label": 10}),
        ("lr>=0.1 and not data_3", {"parameters": 100, "label": 90}),
        ("[data_3] and lr<0.1", {"ids": 100, "parameters": 1}),
        ("lr<0.1 or lr<0.5", {"parameters": 190}),
        ("data or lr<0.5", {"label": 100}),
        ("nowhere and lr<0.5 and @stale", {"label": 100}),
        ("@state=failed or @state=stale", {"state": 100}),
        ("@stale and @state=failed", {"stale": 100}),
        ("[nothing]+ and lr<1", {"ids": 100}),
        ("[data_1]+ and lr<1", {"ids": 100, "downstream": 1, "parameters": 1}),
        ("lr<0.1 and [data_1]+", {"ids": 100, "downstream": 1, "parameters": 100}),
        ("nowhere and [data_1]+", {"label": 100}),
        ("@stale or @stale", {"stale": 100}),
        ("lr<0.1 and [data_3]", {"parameters": 100, "ids": 10}),
        ("Fit[data_1]", {"ids": 100, "family": 1, "module": 1}),
        ("[data_1] or [data_2] or [data_3]", {"ids": 100}),
    ],
)
def test_the_world_is_asked_for_what_the_expression_uses_and_only_about_what_is_left(expression, asked):
    world = many(100)
    parse(expression).evaluate(world)
    assert asked == dict(world.asked)


def test_an_exact_id_costs_one_question_where_ids_are_indexed():
    world = many(100, Indexed)
    assert parse("[data_7] or [data_9]").evaluate(world) == {7, 9}
    assert dict(world.asked) == {"index": 2}


def test_marks_are_asked_for_only_by_expressions_of_marks():
    world = many(100)
    parse_marks("slow or not costly", ["slow", "costly"]).evaluate(world)
    assert dict(world.asked) == {"marks": 100}


def test_thousands_of_ids_do_not_cost_a_pass_each():
    world = many(3000)
    selection = parse(" or ".join(f"[data_{n}]" for n in range(0, 3000, 2)))
    assert len(selection.evaluate(world)) == 1500
    assert dict(world.asked) == {"ids": 3000}


# ---- the selection as an object


@pytest.mark.parametrize("expression", ["a", " a  and not ([b_1]+ or x.y>='q')", "@stale", "\"it's\" or 'a\"b'"])
def test_a_selection_is_immutable_and_its_repr_makes_it_again(expression):
    selection = parse(expression)
    again = eval(repr(selection))
    assert selection == again
    assert hash(selection) == hash(again)
    assert selection.text == again.text == expression
    assert pickle.loads(pickle.dumps(selection)) == selection
    with pytest.raises(AttributeError):
        selection.text = "b"


def test_the_repr_of_an_expression_of_marks_makes_it_again():
    selection = parse_marks("costly and not slow", {"slow", "costly", "other"})
    assert repr(selection) == "parse_marks('costly and not slow', ['costly', 'slow'])"
    assert eval(repr(selection)) == selection != parse("costly and not slow")


def test_selections_are_equal_if_the_same_is_asked_for():
    assert parse("a  and ( b )") == parse("a and b") == parse("'a' and b")
    assert parse("[a]++") == parse("[a]+")
    for other in ("b and a", "a or b", "a", "[a] and b", "a and not b"):
        assert parse("a and b") != parse(other)


def test_the_sign_of_a_missing_parameter_survives_pickling():
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
    assert repr(MISSING) == "MISSING"


# ---- expressions of marks


def test_marks_are_whole_names():
    world = World(task("a", marks={"heavy"}), task("b", marks={"heavy_2", "Heavy"}), task("heavy"))
    known = ["heavy", "heavy_2", "Heavy", "with blank"]
    for expression, expected in [
        ("heavy", {0}),
        ("Heavy", {1}),
        ("not heavy", {1, 2}),
        ("heavy or (heavy_2 and not heavy)", {0, 1}),
        ("'with blank'", set()),
    ]:
        assert parse_marks(expression, known).evaluate(world) == expected


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("^hevy", "Did you mean 'heavy'?"),
        ("heavy or not ^hevy", "no mark 'hevy'"),
        ("not ^HEAVY", "Did you mean 'heavy'?"),
        ("^zzz", "heavy, slow"),
        ("heavy^+", "among marks"),
        ("^[heavy]", "not a mark"),
        ("^Fit[heavy]", "not a mark"),
        ("heavy^=1", "not a mark"),
        ("^@stale", "not a mark"),
        ("slow and^", "the name of a mark, not or ("),
        ("slow ^heavy", "expected    and, or, the end"),
        ("^", "it is empty"),
    ],
)
def test_what_is_no_mark_is_an_error_with_column_and_nearest_mark(expression, says):
    with pytest.raises(ExpressionError) as caught:
        parse_marks(expression.replace("^", ""), ["slow", "heavy"])
    assert caught.value.column == expression.index("^") + 1
    assert says in str(caught.value)


# ---- what is wrong


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("^", "it is empty"),
        ("^  \n", "it is empty"),
        ("data_2 and^", "it ends here"),
        ("data_2 and  ^", "it ends here"),
        ("not^", "a word"),
        ("^and a", "unexpected 'and'"),
        ("a or ^or b", "unexpected 'or'"),
        ("a ^not not b", "unexpected 'not'"),
        ("a ^b", "expected    +, and, or, the end"),
        ("a ^'b'", "in quotes"),
        ("a ^AND b", "lower case: and"),
        ("NOT ^a", "lower case: not"),
        ("a ^(b)", "unexpected '('"),
        ("(a^", ") for the ( of column 1"),
        ("(a) ^b", "the end"),
        ("a and ((b) or (c^", ") for the ( of column 15"),
        ("a^)", "unexpected ')'"),
        ("^)", "unexpected ')'"),
        ("(^)", "a word"),
        ("^[]", "no id"),
        ("Fit^[]", "no id"),
        ("Fit^[a", "not closed"),
        ("a and ^[b[c]", "not closed"),
        ("a^]", "unexpected ']'"),
        ("Fit ^[a]", "no blank"),
        ("^'a", "' at the end"),
        ('a^"b', "not closed"),
        ('^""', "empty text"),
        ("a+^b", "and, or"),
        ("^+a", "unexpected '+'"),
        ("dat^*", "no * needed"),
        ("^*", "no * needed"),
        ("lr=^", "a value after ="),
        ("lr>=  ^", "a value after >="),
        ("lr=^)", "unexpected ')'"),
        ("lr=^[a]", "unexpected '[a]'"),
        ("x=^and y", '"and"'),
        ("lr^=>1", "unexpected '=>'"),
        ("lr^<>1", "=="),
        ("lr ^! 1", "Write not"),
        ("^!a", "Write not"),
        ("^=1", "unexpected '='"),
        ("'lr'^=1", "without quotes"),
        ("low<x^<high", "One comparison at a time"),
        ("lr=0.1^,model=a", "Write and"),
        ("^0.1<lr", "no name of a parameter"),
        ("a and ^x..y=1", "no name of a parameter"),
        ("^.x=1", "no name of a parameter"),
        ("a ^& b", "Write and"),
        ("a ^| b", "Write or"),
        ("a ^; b", "in quotes"),
        ("a ^{b}", "in quotes"),
        ("a or ^@staet=failed", "Did you mean '@state'?"),
        ("^@", "@state=... or @stale"),
        ("^@class=Fit", "@state=... or @stale"),
        ("@state=^faled", "Did you mean 'failed'?"),
        ("@state=^zzz", "frozen, pending, failed"),
        ("@state^", "=, == or !="),
        ("@state ^and a", "=, == or !="),
        ("@state^>failed", "=, == or !="),
        ("@stale^=true", "no value"),
        ("^@Stale", "Did you mean '@stale'?"),
    ],
)
def test_a_wrong_expression_names_the_column_and_what_was_expected(expression, says):
    text = expression.replace("^", "")
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    error = caught.value
    assert error.column == expression.index("^") + 1
    assert says in str(error)
    assert f"at column {error.column}:" in error.headline
    assert error.expression == text


def test_the_caret_stands_under_the_place():
    with pytest.raises(ExpressionError) as caught:
        parse("data_2 and (model=a or)")
    lines = str(caught.value).splitlines()
    at = next(n for n, line in enumerate(lines) if line.endswith("^"))
    assert lines[at - 1][lines[at].index("^")] == ")"
    assert lines[at - 1].endswith("data_2 and (model=a or)")


@pytest.mark.parametrize(
    ("text", "picture"),
    [
        ("a\tb", "a b\n  ^"),
        ("a\nb", "a b\n  ^"),
        ("日本 b", "日本 b\n     ^"),  # two columns each in a terminal
        ("e\u0301 b", "e\u0301 b\n  ^"),
        ("a \ud800", "a  \n  ^"),
    ],
)
def test_the_caret_counts_columns_of_the_terminal(text, picture):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.facts["expression"] == picture


def test_of_a_long_expression_the_part_around_the_place_is_shown():
    with pytest.raises(ExpressionError) as caught:
        parse(" or ".join(["x"] * 500) + " !y" + " or z" * 500)
    text, caret = caught.value.facts["expression"].splitlines()
    assert len(text) <= 106
    assert text[len(caret) - 1] == "!"
    assert text.startswith("...")
    assert text.endswith("...")


def test_parentheses_may_be_fifty_deep_and_chains_as_long_as_one_likes():
    assert parse("(" * 50 + "a" + ")" * 50) == parse("a")
    assert parse("not (" * 50 + "a" + ")" * 50).evaluate(WORDS) == parse("a").evaluate(WORDS)
    with pytest.raises(ExpressionError, match="more than 50") as caught:
        parse("(" * 5000)
    assert caught.value.column == 51
    assert parse("not " * 10_001 + "a") == parse("not a")
    assert len(parse(" or ".join(["a"] * 10_000)).evaluate(WORDS)) == 4
    assert parse("a" + "+" * 10_000) == parse("a+")


def test_the_errors_are_ours_and_survive_pickling():
    with pytest.raises(ValueError) as caught:
        parse("a and")
    assert isinstance(caught.value, PipeError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.expression, again.column, str(again)) == ("a and", 6, str(caught.value))
    assert issubclass(NothingSelectedError, PipeError)


# ---- near misses

LABELS = [
    f"flow.{family}[data_{n}_{model}]"
    for family in ("Fit", "Plot")
    for n in (0, 1, 10)
    for model in ("linear_probability", "logistic", "ridge")
]


def near(expression, labels=LABELS, **more):
    return near_misses(parse(expression), labels, **more)


def test_a_label_whose_words_were_given_in_another_order_is_suggested_and_so_is_the_right_expression():
    assert near("linear_probability_data_0") == [
        "linear_probability and data_0",
        "flow.Fit[data_0_linear_probability]",
        "flow.Plot[data_0_linear_probability]",
    ]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("Logistic_Data_1", "Logistic and Data_1"),
        ("logistic-data_1", "logistic and data_1"),
        ("Fit and logistic_data_1", "Fit and (logistic and data_1)"),
        ("not_here or ridge_data_10", "not_here or (ridge and data_10)"),
        ("ridge_data_0+", "(ridge and data_0)+"),
        ("ridge_data_0 or logistic_data_1", "(ridge and data_0) or (logistic and data_1)"),
        ("'ridge data 0'", "ridge and data and 0"),
        ("'0 ridge 0'", "0 and ridge"),
        ("ridge_data_0 and @state=failed", "flow.Fit[data_0_ridge]"),  # labels do not tell whether it would
        ("ridge_data_0 and not Fit", "flow.Fit[data_0_ridge]"),
        ("nowhere and ridge_data_0", "flow.Fit[data_0_ridge]"),  # it would still select nothing
        ("[ridge_data_0]", "flow.Fit[data_0_ridge]"),
        ("Plot[ridge_data_0]", "flow.Plot[data_0_ridge]"),
        ("logistik", "flow.Fit[data_0_logistic]"),
        ("data_10_rigde", "flow.Fit[data_10_ridge]"),
        ("linaer_probability", "flow.Fit[data_0_linear_probability]"),
        ("Plto", "flow.Plot[data_0_ridge]"),
        ("dta_1", "flow.Fit[data_1_ridge]"),
        ("[data_10_rigde]", "flow.Fit[data_10_ridge]"),
        ("[DATA_1_RIDGE]", "flow.Fit[data_1_ridge]"),
        ("Plot[data_10_rigde]", "flow.Plot[data_10_ridge]"),
        ("Fti[data_1_ridge]", "flow.Fit[data_1_ridge]"),
        ("Plott[data_1_ridge]", "flow.Plot[data_1_ridge]"),
        ("other.Plot[data_1_ridge]", "flow.Plot[data_1_ridge]"),
        ("logistik and lr>0.1", "flow.Fit[data_0_logistic]"),
    ],
)
def test_the_first_suggestion_is_what_was_meant(expression, first):
    assert near(expression)[0] == first


@pytest.mark.parametrize(
    "expression",
    ["xyz", "q", "'?!'", "[?]", "lr>0.1", "@state=failed", "not logistik", "x" * 1000, "[" + "x" * 1000 + "]",
     "logistic and ridge", "logarithm", "[data_zzzzzzzz]"],
)  # fmt: skip
def test_where_nothing_is_near_nothing_is_suggested(expression):
    assert near(expression) == []
    assert near(expression, []) == []


def test_the_same_id_of_another_class_is_near_however_short_it_is():
    assert near("Fitt[x]", ["flow.Fit[x]", "flow.Fit[y]"]) == ["flow.Fit[x]"]


def test_parts_that_are_keywords_are_suggested_in_quotes():
    assert near("black_or_white", ["flow.Fit[white_or_black]"])[0] == 'black and "or" and white'


def test_there_are_no_more_suggestions_than_asked_for_and_none_twice():
    assert len(near("logistik")) == 5
    assert len(near("logistik", limit=2)) == 2
    for expression in ("logistik", "ridge_data_0 or ridge_data_0", "[data_2_ridge] or [data_2_ridge]"):
        found = near(expression, LABELS * 2, limit=50)
        assert len(found) == len(set(found)) > 1


def test_what_is_missing_in_two_places_is_suggested_for_both():
    assert near("[data_0_rigde] and [data_1_logistik]", limit=2) == [
        "flow.Fit[data_0_ridge]",
        "flow.Fit[data_1_logistic]",
    ]


ODD = ["flow.Fit[a b]", "flow.Fit[it's]", "flow.Fit", "__main__.f.<locals>.Fit[long_name]", "flow.Fit[un]even_name]",
       "flow.Fit[Fit[a]_b]", "flow.Fit[ÄÖÜ_1]", """flow.Fit['"never_written]]"""]  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_every_suggestion_can_be_typed_and_selects_something(seed):
    rng = random.Random(seed)
    labels = [*LABELS, *ODD]
    world = World(*[{"label": label, "ids": (label[label.index("[") + 1 : -1],) if "[" in label else (),
                     "module": label.partition("[")[0].rpartition(".")[0],
                     "family": label.partition("[")[0].rpartition(".")[2]} for label in labels])  # fmt: skip
    label = rng.choice(labels).replace("'", "").replace('"', "")
    tokens = label.replace("[", "_").replace("]", "_").replace(".", "_").split("_")[2:]
    rng.shuffle(tokens)
    wrong = rng.choice(["_".join(tokens), label[: len(label) // 2] + label[len(label) // 2 + 1 :]]) or "x"
    for expression in (f"'{wrong}'", f"'{wrong}' or nowhere", f"[{wrong.strip('[]').partition('[')[2] or 'x'}]"):
        try:
            selection = parse(expression)
        except ExpressionError:  # a bracket is left alone
            continue
        if not selection.evaluate(world):
            for suggestion in near_misses(selection, labels):
                assert parse(suggestion).evaluate(world), (expression, suggestion)


def test_few_labels_are_compared_letter_by_letter(monkeypatch):
    calls = collections.Counter()
    ratio = near_misses_module._ratio

    def counted(one, other):
        calls["ratio"] += 1
        return ratio(one, other)

    monkeypatch.setattr(near_misses_module, "_ratio", counted)
    labels = [f"flow.Fit[data_{n}_logistic]" for n in range(3000)]
    assert near("data_7_logistik", labels)[0] == "flow.Fit[data_7_logistic]"
    assert near("Fitt[data_7_logistik]", labels)[0] == "flow.Fit[data_7_logistic]"
    assert 0 < calls["ratio"] < 3000
    calls.clear()
    for far in ("zzz", "[zzz]", "logistik" * 100):
        assert near(far, labels) == []
    assert not calls


# ---- against an oracle: trees that are evaluated task by task, without any of the above

VALUES = {  # parameter to values of one type
    "lr": [0.1, 0.25, 1e-05, 3.0, -1.5],
    "n": [0, 1, 2, -7],
    "model": ["a", "b", "logistic", "0.1", "and", "true"],
    "day": [date(2020, 1, 1), date(2020, 1, 2), date(1999, 12, 31)],
    "flag": [True, False],
    "data.subset": ["s1", "s2", "s10"],
}
IDS = ["data_1", "data_10", "a[b]c", "lr=0.1,x=2", "not (this)"]
FAMILIES = ["Fit", "Prepare"]
MARKS = ["costly", "slow"]
SOUGHT = ["data_1", "DATA", "Fit", "flow", "costly", "o", "and", "x=2", "]", "nowhere", "layers=3"]
ORDER = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}


def random_world(rng):
    tasks = []
    for n in range(rng.randint(1, 12)):
        values = {name: rng.choice(some) for name, some in VALUES.items() if n == 0 or rng.random() < 0.7}
        if "data.subset" in values:
            values["data"] = {"subset": values.pop("data.subset")}
        tasks.append(
            task(
                rng.choice(IDS),
                rng.choice(FAMILIES),
                rng.choice(["flow", "pkg.flow"]),
                parameters=values,
                marks={mark for mark in MARKS if rng.random() < 0.3},
                tags={"layers": rng.randint(2, 4)},
                state=rng.choice(["failed", "stale", "pending"]),
                stale=rng.random() < 0.3,
                needs=[up for up in range(n) if rng.random() < 0.2],
            )
        )
    return rng.choice([World, Indexed])(*tasks)


def random_tree(rng, depth):
    kind = rng.choice(["and", "or", "not", "plus"]) if depth and rng.random() < 0.75 else "atom"
    if kind in ("and", "or"):
        return (kind, *[random_tree(rng, depth - 1) for _ in range(rng.randint(2, 3))])
    if kind in ("not", "plus"):
        return (kind, random_tree(rng, depth - 1))
    kind = rng.choice(["word", "id", "value", "state", "stale"])
    if kind == "word":
        return (kind, rng.choice(SOUGHT))
    if kind == "id":
        return (kind, rng.choice(["", "", "flow.", "pkg.flow."]) + rng.choice(FAMILIES), rng.choice(IDS))
    if kind == "state":
        return (kind, rng.choice(["=", "==", "!="]), rng.choice(["failed", "stale", "frozen"]))
    if kind == "stale":
        return (kind,)
    name = rng.choice(list(VALUES))
    signs = ["=", "==", "!="] if name == "flag" else ["=", "==", "!=", *ORDER]
    return (kind, name, rng.choice(signs), rng.choice(VALUES[name]))


def selected(tree, world, item):
    """The oracle: whether one task is selected."""
    kind, task = tree[0], world.tasks[item]
    if kind == "and":
        return all(selected(part, world, item) for part in tree[1:])
    if kind == "or":
        return any(selected(part, world, item) for part in tree[1:])
    if kind == "not":
        return not selected(tree[1], world, item)
    if kind == "plus":
        return selected(tree[1], world, item) or any(selected(tree, world, up) for up in task["needs"])
    if kind == "word":
        texts = [task["label"], *task["marks"], *[f"{name}={value}" for name, value in task["tags"].items()]]
        return any(tree[1].lower() in text.lower() for text in texts)
    if kind == "id":
        family, dotted = task["family"], task["module"] + "." + task["family"]
        name = tree[1].split(".")
        return tree[2] in task["ids"] and (name == [family] or dotted.split(".")[-len(name) :] == name)
    if kind == "state":
        return (task["state"] != tree[2]) if tree[1] == "!=" else (task["state"] == tree[2])
    if kind == "stale":
        return task["stale"]
    _, name, sign, wanted = tree
    values = {**task["parameters"], "data.subset": task["parameters"].get("data", {}).get("subset")}
    value = values.get(name)
    if value is None:
        return False
    return ORDER[sign](value, wanted) if sign in ORDER else (value != wanted) == (sign == "!=")


STRENGTH = {"or": 0, "and": 1, "not": 2, "plus": 3}


def pieces(tree, rng, least=0):
    """The tokens of a tree, with parentheses where they are needed and here and there where they are not."""
    kind = tree[0]
    strength = STRENGTH.get(kind, 4)
    if strength < least or rng.random() < 0.2:
        return ["(", *pieces(tree, rng), ")"]
    if kind in ("and", "or"):
        found = pieces(tree[1], rng, strength + 1)
        for part in tree[2:]:
            found += [kind, *pieces(part, rng, strength + 1)]
        return found
    if kind == "not":
        return ["not", *pieces(tree[1], rng, strength)]
    if kind == "plus":
        return [*pieces(tree[1], rng, strength), "+"]
    if kind == "word":
        plain = tree[1].replace("_", "").isalnum() and tree[1] != "and" and rng.random() < 0.7
        return [tree[1] if plain else f"'{tree[1]}'"]
    if kind == "id":
        return [f"{tree[1]}[{tree[2]}]"]
    if kind == "state":
        return ["@state", tree[1], tree[2]]
    if kind == "stale":
        return ["@stale"]
    _, name, sign, value = tree
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, str) and (value in ("and", "0.1") or rng.random() < 0.3):
        text = f'"{text}"'  # a number without quotes has no order among texts
    return [name, sign, text]


def written(tokens, rng):
    """The tokens in one text, with blanks where they are needed and here and there where they are not."""
    text = tokens[0]
    for token in tokens[1:]:
        needed = (text[-1].isalnum() or text[-1] == "_") and (token[0].isalnum() or token[0] in "_@-")
        between = "".join(rng.choice([" ", " ", "\n", "\t"]) for _ in range(rng.choice([0, 0, 1, 1, 2])))
        text += between or (" " if needed else "")
        text += token
    return text


@pytest.mark.parametrize("start", range(0, 2000, 100))
def test_random_expressions_select_what_they_say(start):
    for seed in range(start, start + 100):
        rng = random.Random(seed)
        world, tree = random_world(rng), random_tree(rng, rng.randint(0, 5))
        expected = {item for item in range(world.size) if selected(tree, world, item)}
        for _ in range(2):
            text = written(pieces(tree, rng), rng)
            assert parse(text).evaluate(world) == expected, (seed, text)
            among = {item for item in range(world.size) if rng.random() < 0.5}
            assert parse(text).evaluate(world, among) == expected & among, (seed, text)


def random_marks(rng, depth):
    kind = rng.choice(["and", "or", "not", "word"]) if depth else "word"
    if kind == "word":
        return (kind, rng.choice(MARKS))
    return (kind, *[random_marks(rng, depth - 1) for _ in range(1 if kind == "not" else 2)])


def marked(tree, marks):
    """The oracle of `parse_marks`."""
    if tree[0] in ("and", "or"):
        return (all if tree[0] == "and" else any)(marked(part, marks) for part in tree[1:])
    return not marked(tree[1], marks) if tree[0] == "not" else tree[1] in marks


def test_random_expressions_of_marks_select_what_they_say():
    for seed in range(300):
        rng = random.Random(seed)
        world, tree = random_world(rng), random_marks(rng, 4)
        text = written(pieces(tree, rng), rng)
        expected = {item for item in range(world.size) if marked(tree, world.tasks[item]["marks"])}
        assert parse_marks(text, MARKS).evaluate(world) == expected, (seed, text)


# ---- any text at all

PIECES = ["a", "data_1", "lr", "x.y", "and", "or", "not", "(", ")", "[", "]", "[a]", "Fit[", "+", "=", "==", "!=",
          "<", ">=", "!", "1", "0.5", "1e", "-", ".", "*", "@", "@state", "@stale", "failed", "'", '"', " ", "  ", "\n",
          "\0", "\\", "é", "日", "\ud800", ",", "&", "|", "{", "true", "none", "2020-01-01", "9" * 5000]  # fmt: skip
FUZZED = World(
    task("data_1", parameters={"lr": 0.5, "a": "a", "data_1": date(2020, 1, 1), "x": {"y": None}, "é": Colour.RED}),
    task("a", parameters={"lr": 1, "true": True, "failed": decimal.Decimal(2), "1e": (1,)}, needs=[0]),
)


def check_any(text):
    for read in (parse, lambda text: parse_marks(text, ["a", "failed"])):
        try:
            selection = read(text)
            assert isinstance(selection, Selection)
            near_misses(selection, ["flow.Fit[data_1]", "flow.Fit[a]", "odd", text])
            assert selection.evaluate(FUZZED) <= {0, 1}
        except ExpressionError as error:
            assert 1 <= error.column <= len(text) + 1
            assert error.expression == text
            assert str(error)


@pytest.mark.parametrize("start", range(0, 10_000, 1000))
def test_random_pieces_raise_nothing_but_our_error_with_a_column(start):
    for seed in range(start, start + 1000):
        rng = random.Random(seed)
        check_any("".join(rng.choice(PIECES) for _ in range(rng.randint(0, 9))))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30))
def test_random_texts_raise_nothing_but_our_error_with_a_column(text):
    check_any(text)


def test_an_expression_cut_short_anywhere_raises_nothing_but_our_error():
    whole = """not ([data_1]+ or Fit[a[b]] and lr>=-1e-3) or "q t" and data.subset!='s 1' or @state=failed and @stale"""
    for cut in range(len(whole)):
        check_any(whole[:cut])
        check_any(whole[cut:])
        check_any(whole[:cut] + whole[cut + 1 :])
