"""Class options and marks: what is read from a class, and what is left to its author."""

from __future__ import annotations

import copy
import pickle
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import cloudpickle
import luigi
import pytest

import d6tpipe
from d6tpipe.declared import OPTIONS, Env, class_option, class_options, env, mark
from d6tpipe.errors import DeclarationError

SAID = {
    "version": ("2", "2"),
    "depends_on": (["numpy"], ("numpy",)),
    "ignore_code": (True, True),
    "freeze": (True, True),
    "expires": (timedelta(days=1), timedelta(days=1)),
    "stale": ("rerun", "rerun"),
    "transient": ("remove", "remove"),
    "marks": ({"costly"}, frozenset({"costly"})),
}
UNSAID = {"version": "", "depends_on": (), "ignore_code": False, "freeze": False, "expires": None, "stale": None,
          "transient": False, "marks": frozenset()}  # fmt: skip
BASES = [d6tpipe.tasks.TaskPickle, d6tpipe.tasks.TaskAggregator, luigi.Task]


def make(*bases, name="Train", **attributes):
    bases = bases or (d6tpipe.tasks.TaskPickle,)
    return type(bases[-1])(name, bases, attributes)


def clean():
    return 1


def test_the_tables_of_this_test_are_complete():
    assert set(SAID) == set(UNSAID) == set(OPTIONS)


# ---- reading


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", SAID)
def test_an_option_is_read_here_and_from_a_base_class(base, name):
    value, expected = SAID[name]
    parent = make(base, **{name: value})
    child = make(parent, name="Child")
    assert expected == class_option(parent, name) == class_option(child, name)
    assert expected == getattr(class_options(child), name)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", SAID)
def test_a_class_that_says_nothing_has_no_options(base, name):
    cls = make(base)
    assert class_option(cls, name) is None
    assert class_option(cls, name, "otherwise") == "otherwise"
    assert UNSAID[name] == getattr(class_options(cls), name)
    assert not class_options(cls).names


@pytest.mark.parametrize("name", SAID)
def test_none_takes_back_what_a_base_class_says_except_marks_which_add_up(name):
    cls = make(make(**{name: SAID[name][0]}), name="Child", **{name: None})
    assert class_option(cls, name, "otherwise") == (SAID[name][1] if name == "marks" else "otherwise")
    assert {name} == class_options(cls).names


def test_the_nearest_class_decides_and_an_explicit_no_is_an_answer():
    base = make(version="1", freeze=True, ignore_code=True, stale="rerun")
    child = make(base, name="Child", version=2, freeze=False, ignore_code=False, stale="warn")
    found = [class_option(child, name, "unsaid") for name in ("version", "freeze", "ignore_code", "stale")]
    assert ["2", False, False, "warn"] == found


def test_an_option_of_a_mixin_that_is_no_task_is_read():
    mixin = type("Mixin", (), {"version": "7", "depends_on": [clean]})
    found = class_options(make(mixin, d6tpipe.tasks.TaskPickle))
    assert ("7", (clean,), mixin) == (found.version, found.depends_on, found.owner)


def test_a_single_thing_to_depend_on_needs_no_list():
    for item in ("numpy", Path("f.csv"), env("X"), {"a": 1}, clean, Env):
        assert (item,) == class_option(make(depends_on=item), "depends_on")


def test_what_luigi_s_classes_and_ours_say_is_not_read():
    for word in ("priority", "resources", "target_ext", "persist", "task_namespace"):
        assert all(class_option(make(base), word) is None for base in BASES)
    assert class_option(make(luigi.Task, priority=3), "priority") == 3


def test_a_word_that_has_no_rules_yet_is_returned_as_it_is():
    assert class_option(make(isolate=3), "isolate") == 3
    assert class_option(make(), "isolate", "no") == "no"
    assert class_option(make(isolate=lambda self: 3), "isolate") is None


# ---- words that are taken


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("kind", [lambda function: function, property, classmethod, staticmethod, cached_property])
def test_a_method_or_property_of_that_name_is_no_option(base, name, kind):
    cls = make(base, **{name: kind(lambda *self: 1)})
    assert class_option(cls, name) is None
    assert not class_options(cls).names
    child = make(cls, name="Child", **{name: SAID[name][0]})  # a plain value in its place is
    assert SAID[name][1] == class_option(child, name)
    shadowed = make(make(base, **{name: SAID[name][0]}), name="Child", **{name: kind(lambda *self: 1)})
    assert class_option(shadowed, name) is None


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", SAID)
def test_a_parameter_of_that_name_is_no_option(base, name):
    cls = make(base, **{name: d6tpipe.Parameter(default="x")})
    assert getattr(cls(), name) == "x"
    below = make(make(base, **{name: SAID[name][0]}), name="Child", **{name: luigi.Parameter(default="x")})
    above = make(cls, name="Fixed", **{name: date(2020, 1, 1)})  # a parameter that a subclass has settled
    for one in (cls, below, above):
        assert class_option(one, name) is None
        assert not class_options(one).names


@pytest.mark.parametrize("name", SAID)
def test_parameters_of_that_name_come_through_requires_and_clone(name):
    up = make(name="Up", **{name: d6tpipe.Parameter(default="x")})
    down = d6tpipe.requires(up)(make(name="Down"))
    assert getattr(down(**{name: "y"}).requires(), name) == "y"
    assert class_option(down, name) is None


# ---- values that do not fit


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("version", 1.5, "text or a whole number"), ("version", True, "text or a whole number"),
        ("ignore_code", 1, "True or False"), ("freeze", "yes", "True or False"), ("expires", 3600, "timedelta(days=1)"),
        ("stale", "rebuild", "'rerun'"), ("stale", True, "'rerun'"), ("marks", 3, "a set of words"),
        ("marks", {"a", 3}, "a set of words"), ("marks", [""], "a set of words"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_an_error_that_says_what_does(name, value, said):
    parent = make(name="Parent", **{name: value})
    with pytest.raises(DeclarationError) as caught:
        class_option(make(parent, name="Child"), name)
    text = str(caught.value)
    assert "Child" in text and "Parent" in text and repr(value) in text
    assert said in text
    assert f"{name} = " in text or "Did you mean" in text


def test_a_misspelt_mode_is_told_the_nearest():
    with pytest.raises(DeclarationError, match="Did you mean 'ignore'"):
        class_options(make(stale="ignored"))


@pytest.mark.parametrize(
    ("name", "value"), [("version", 1.5), ("expires", 3600), ("stale", 3), ("marks", 3), ("freeze", date)]
)
def test_a_plain_luigi_class_may_mean_something_else_by_the_word(name, value):
    cls = make(luigi.Task, **{name: value})
    assert class_option(cls, name) is None
    assert not class_options(cls).names


# ---- marks


def test_marks_by_decorator_and_by_attribute_add_up_over_base_classes():
    @mark.costly
    class Base(d6tpipe.tasks.TaskPickle):
        marks = {"nightly"}

    @mark.gpu
    @mark.big()
    class Child(Base):
        marks = "own"

    assert {"costly", "nightly"} == class_option(Base, "marks")
    assert {"costly", "nightly", "gpu", "big", "own"} == class_option(Child, "marks")


def test_marking_returns_the_class_and_adds_no_public_name():
    cls = make()
    before = {name for name in dir(cls) if not name.startswith("_")}
    assert mark.costly(cls) is cls
    assert before == {name for name in dir(cls) if not name.startswith("_")}
    assert not hasattr(cls, "marks") and not hasattr(cls, "costly")


def test_a_class_whose_parameter_is_called_marks_can_be_marked():
    cls = mark.costly(mark.freeze(make(marks=d6tpipe.Parameter(default="m"), freeze=d6tpipe.Parameter(default="f"))))
    assert ("m", "f") == (cls().marks, cls().freeze)
    assert {"costly", "freeze"} == class_options(cls).marks
    assert class_options(cls).freeze
    assert not class_options(cls).names


@pytest.mark.parametrize("base", BASES)
def test_the_mark_freeze_and_the_option_freeze_are_one_thing(base):
    for cls in (mark.freeze(make(base)), make(base, marks={"freeze"}), make(base, freeze=True)):
        child = make(cls, name="Child")
        thawed = make(child, name="Thawed", freeze=False)
        for one in (cls, child):
            assert class_option(one, "freeze") is True
            assert {"freeze"} == class_option(one, "marks")
        assert class_option(thawed, "freeze") is False
        assert not class_option(thawed, "marks")
        assert class_option(mark.freeze(make(thawed, name="Again")), "freeze") is True


def test_marks_are_shipped_with_a_class_that_is_pickled_by_value():
    @mark.costly
    class Local(d6tpipe.tasks.TaskPickle):
        depends_on = [env("X")]

    again = cloudpickle.loads(cloudpickle.dumps(Local))
    assert {"costly"} == class_option(again, "marks")
    assert (env("X"),) == class_option(again, "depends_on")


def test_marking_something_else_is_an_error():
    for wrong in (clean, make()(), 3):
        with pytest.raises(DeclarationError, match="not a task class"):
            mark.costly(wrong)
    with pytest.raises(DeclarationError, match="not a task class"):
        mark.costly(make(), "reason")
    with pytest.raises(DeclarationError, match="reason='slow'"):
        mark.costly(reason="slow")


def test_what_python_and_notebooks_ask_of_any_object_is_no_mark():
    for name in ("__wrapped__", "_repr_html_", "_ipython_display_", "__deepcopy__"):
        with pytest.raises(AttributeError):
            getattr(mark, name)
    copy.deepcopy(mark)
    assert "mark.costly" == repr(mark.costly)


# ---- env


def test_env_is_a_value():
    assert env("X") == env("X") != env("Y")
    assert {env("X")} == {env("X")}
    assert env("X") == pickle.loads(pickle.dumps(env("X")))
    with pytest.raises(AttributeError):
        env("X").name = "Y"


@pytest.mark.parametrize("wrong", ["", "A=1", 3, None, "A\0"])
def test_env_needs_the_name_of_a_variable(wrong):
    with pytest.raises(DeclarationError, match="REGION"):
        env(wrong)
