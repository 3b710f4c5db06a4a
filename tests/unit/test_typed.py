"""Typed declarations: `param` in a class body is the parameter that its annotation names."""

from __future__ import annotations

import enum
import functools
import importlib
import operator
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, List, Literal, NewType, Optional, Union  # noqa: UP035  (old spellings, too)

import luigi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from luigi.parameter import ParameterVisibility
from typing_extensions import TypeAliasType

import d6tpipe
from d6tpipe import parameters as ours
from d6tpipe import typed
from d6tpipe.definitions import definition
from d6tpipe.errors import DeclarationError, ParameterError
from d6tpipe.tasks import TaskPickle
from d6tpipe.typed import Declaration, param

for_any = settings(deadline=None, max_examples=15)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Prepare(TaskPickle):
    n = d6tpipe.IntParameter(default=1)


class Described:
    """A class that says itself which parameter it is a value of."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Described) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def __d6tpipe_parameter__(cls, **keywords: Any) -> luigi.Parameter:
        return DescribedParameter(**keywords)


class DescribedParameter(ours.Parameter):
    def normalize(self, x):
        if isinstance(x, str):
            return Described(x)
        if not isinstance(x, Described):
            raise ValueError("expected something described")
        return x

    def serialize(self, x):
        return x.text


UserId = NewType("UserId", int)
Mode = TypeAliasType("Mode", Literal["fast", "slow"])


def made(annotation, *args, name="Train", bases=(TaskPickle,), **keywords):
    """Return a class of that name with one parameter, x, declared by its annotation."""
    return type(name, bases, {"x": param(*args, **keywords), "__annotations__": {"x": annotation}})


def as_written(parameter, name="Train"):
    return type(name, (TaskPickle,), {"x": parameter})


# ------------------------------------------------------------------------------ the same as the parameter form

days = st.dates(date(1900, 1, 1), date(2100, 1, 1))
moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
numbers = st.integers(-(10**6), 10**6)
reals = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=8)
colours = st.sampled_from(Colour)

# annotation, arguments of param, keywords of param, the parameter form, values
SAME = {
    "int": (int, [3], {}, lambda: ours.IntParameter(default=3), numbers),
    "int from text": (int, [], {}, lambda: ours.IntParameter(), numbers.map(str)),
    "float": (float, [0.1], {}, lambda: ours.FloatParameter(default=0.1), reals | numbers),
    "float with a whole default": (float, [1], {}, lambda: ours.FloatParameter(default=1), reals),
    "str": (str, ["a"], {}, lambda: ours.StrParameter(default="a"), words | numbers),
    "bool": (bool, [], {}, lambda: ours.BoolParameter(), st.booleans()),
    "date": (date, [date(2020, 1, 1)], {}, lambda: ours.DateParameter(default=date(2020, 1, 1)), days | moments),
    "datetime": (datetime, [], {}, lambda: ours.DateSecondParameter(), moments),
    "timedelta": (timedelta, [timedelta(1)], {}, lambda: ours.TimeDeltaParameter(default=timedelta(1)),
                  numbers.map(lambda n: timedelta(seconds=n))),
    "Path": (Path, [Path("a")], {}, lambda: ours.PathParameter(default=Path("a")), st.sampled_from(["x", Path("y")])),
    "Enum": (Colour, [Colour.RED], {}, lambda: ours.EnumParameter(enum=Colour, default=Colour.RED),
             colours | st.sampled_from(["RED", "BLUE"])),
    "IntEnum": (Level, [], {}, lambda: ours.EnumParameter(enum=Level), st.just(Level.LOW)),
    "Literal of text": (Literal["a", "b"], ["a"], {}, lambda: ours.ChoiceParameter(choices=["a", "b"], default="a"),
                        st.sampled_from("ab")),
    "Literal of numbers": (Literal[1, 2], [], {}, lambda: ours.ChoiceParameter(choices=[1, 2], var_type=int),
                           st.sampled_from([1, 2, "1"])),
    "Literal with None": (Literal["a", None], [], {},
                          lambda: ours.OptionalChoiceParameter(choices=["a"], default=None),
                          st.sampled_from(["a", None])),
    "list": (list[int], [[1]], {}, lambda: ours.ListParameter(default=[1]), st.lists(numbers)),
    "bare list": (list, [], {}, lambda: ours.ListParameter(), st.lists(numbers | words)),
    "List": (List[int], [], {}, lambda: ours.ListParameter(), st.lists(numbers)),  # noqa: UP006
    "Sequence": (Sequence[str], [()], {}, lambda: ours.ListParameter(default=()), st.lists(words)),
    "tuple": (tuple[int, str], [(1, "a")], {}, lambda: ours.TupleParameter(default=(1, "a")),
              st.tuples(numbers, words)),
    "tuple of any length": (tuple[float, ...], [()], {}, lambda: ours.TupleParameter(default=()), st.lists(reals)),
    "tuple of an Enum": (tuple[Colour, ...], [()], {}, lambda: ours.EnumListParameter(enum=Colour, default=()),
                         st.lists(colours)),
    "list of Literal": (list[Literal["a", "b"]], [], {}, lambda: ours.ChoiceListParameter(choices=["a", "b"]),
                        st.lists(st.sampled_from("ab"))),
    "dict": (dict[str, int], [{"a": 1}], {}, lambda: ours.DictParameter(default={"a": 1}),
             st.dictionaries(words, numbers)),
    "Mapping": (Mapping[str, float], [], {}, lambda: ours.DictParameter(), st.dictionaries(words, reals)),
    "Any": (Any, [None], {}, lambda: ours.Parameter(default=None), words | numbers),
    "int or None": (int | None, [], {}, lambda: ours.OptionalIntParameter(), numbers | st.none()),
    "Optional": (Optional[float], [0.5], {}, lambda: ours.OptionalFloatParameter(default=0.5),  # noqa: UP045
                 reals | st.none()),
    "None or str": (Union[None, str], ["a"], {}, lambda: ours.OptionalStrParameter(default="a"),  # noqa: UP007
                    words.filter(bool) | st.none()),
    "bool or None": (bool | None, [], {}, lambda: ours.OptionalBoolParameter(), st.booleans() | st.none()),
    "Path or None": (Path | None, [], {}, lambda: ours.OptionalPathParameter(), st.none() | st.just(Path("a"))),
    "list or None": (list[int] | None, [], {}, lambda: ours.OptionalListParameter(), st.lists(numbers) | st.none()),
    "date or None": (date | None, [], {}, lambda: ours.DateParameter(default=None), days | st.none()),
    "date, also None": (date | None, [date(2020, 1, 1)], {}, lambda: ours.DateParameter(default=date(2020, 1, 1)),
                        days | st.none()),
    "task": (Prepare, [], {}, lambda: ours.TaskInstanceParameter(Prepare), numbers.map(Prepare)),
    "task or None": (Prepare | None, [], {}, lambda: ours.TaskInstanceParameter(Prepare, default=None),
                     numbers.map(Prepare) | st.none()),
    "any task": (luigi.Task, [], {}, lambda: ours.TaskInstanceParameter(), numbers.map(Prepare)),
    "choices": (float, [1], {"choices": [1, 2.5]},
                lambda: ours.ChoiceParameter(choices=[1.0, 2.5], var_type=float, default=1.0),
                st.sampled_from([1, 2.5])),
    "choices of text": (str, [], {"choices": ("a", "b")}, lambda: ours.ChoiceParameter(choices=["a", "b"]),
                        st.sampled_from("ab")),
    "choices or None": (int | None, [], {"choices": [1, 2]},
                        lambda: ours.OptionalChoiceParameter(choices=[1, 2], var_type=int, default=None),
                        st.sampled_from([1, 2, None])),
    "bounds": (float, [0.5], {"min": 0, "max": 1},
               lambda: ours.NumericalParameter(
                   var_type=float, min_value=0.0, max_value=1.0, right_op=operator.le, default=0.5),
               st.floats(0, 1)),
    "bounds or None": (int | None, [], {"min": 0},
                       lambda: ours.OptionalNumericalParameter(
                           var_type=int, min_value=0, max_value=float("inf"), right_op=operator.le, default=None),
                       st.integers(0, 100) | st.none()),
    "without an annotation": (None, [3], {}, lambda: ours.IntParameter(default=3), numbers),
    "Annotated": (Annotated[int, "of rows"], [3], {}, lambda: ours.IntParameter(default=3), numbers),
    "NewType": (UserId, [UserId(3)], {}, lambda: ours.IntParameter(default=3), numbers),
    "alias": (Mode, ["fast"], {}, lambda: ours.ChoiceParameter(choices=["fast", "slow"], default="fast"),
              st.sampled_from(["fast", "slow"])),
    "a class that decides itself": (Described, ["a"], {}, lambda: DescribedParameter(default="a"), words),
    "keywords": (int, [3], {"significant": False, "description": "why", "positional": False},
                 lambda: ours.IntParameter(default=3, significant=False, description="why", positional=False), numbers),
    "ignore_default": (int, [3], {"ignore_default": True}, lambda: ours.IntParameter(default=3, ignore_default=True),
                       st.sampled_from([3, 4])),
    "private": (str, ["a"], {"visibility": ParameterVisibility.PRIVATE},
                lambda: ours.StrParameter(default="a", visibility=ParameterVisibility.PRIVATE), words),
}  # fmt: skip


@functools.cache
def both(case):
    """Return the class of a case in both forms."""
    annotation, args, keywords, parameter, _values = SAME[case]
    if annotation is None:
        return as_written(param(*args, **keywords)), as_written(parameter())
    return made(annotation, *args, **keywords), as_written(parameter())


def assert_same(one, other):
    assert one.task_id == other.task_id
    assert repr(one) == repr(other)
    assert one.outputPath() == other.outputPath()
    assert one.to_str_params() == other.to_str_params()
    assert (one.x, type(one.x)) == (other.x, type(other.x))


def facts(parameter):
    """What a parameter object holds, without what differs from one object to the next."""
    return {name: value for name, value in vars(parameter).items() if name not in ("_counter", "_annotation")}


@pytest.mark.parametrize("case", SAME)
def test_the_parameter_is_the_one_that_would_be_written_out(case):
    one, other = both(case)
    one, other = dict(one.get_params())["x"], dict(other.get_params())["x"]
    assert type(one) is type(other)
    for key, value in facts(other).items():
        if key == "description" and value and "hoices" in value:  # of a set, in any order
            assert sorted(value) == sorted(one.description)
        else:
            assert value == facts(one)[key], key
    assert set(facts(one)) == set(facts(other))


@pytest.mark.parametrize("case", SAME)
@for_any
@given(data=st.data())
def test_ids_files_and_values_are_those_of_the_parameter_form(case, data):
    one, other = both(case)
    value = data.draw(SAME[case][-1])
    assert_same(one(x=value), other(x=value))
    if SAME[case][2].get("positional", True):
        assert one(value) is one(x=value)


@pytest.mark.parametrize("case", [case for case in SAME if SAME[case][1]])
def test_the_default_is_that_of_the_parameter_form(case):
    one, other = both(case)
    assert_same(one(), other())


def test_a_class_may_change_from_one_form_to_the_other_without_becoming_stale():
    def body(self):
        self.save(self.x)

    one = type("Train", (TaskPickle,), {"x": ours.IntParameter(default=3), "run": body})
    other = type("Train", (TaskPickle,), {"x": param(3), "run": body, "__annotations__": {"x": int}})
    assert definition(one).code == definition(other).code


# --------------------------------------------------------------------------------------------- class statements


class Train(TaskPickle):
    """Annotations of this file are text."""

    lr: float = param(0.1)
    rows = d6tpipe.IntParameter(default=100)
    prepare: Prepare = param()
    mode: Literal["fast", "slow"] = param("fast", significant=False)
    date: date = param(date(2020, 1, 1))  # a parameter that is called like its type
    seen: int = 3
    unset: int

    def run(self):
        self.save([self.lr, self.rows])


def names(cls):
    return [name for name, _ in cls.get_params()]


def kind(cls, name):
    return type(dict(cls.get_params())[name])


def test_parameters_of_both_forms_are_in_the_order_of_their_declaration():
    assert ["lr", "rows", "prepare", "mode", "date"] == names(Train)
    assert Train(0.5, 7, Prepare()) is Train(lr=0.5, rows=7, prepare=Prepare())


def test_an_annotated_value_stays_a_plain_attribute():
    assert 3 == Train.seen == Train(prepare=Prepare()).seen
    assert not hasattr(Train, "unset")


def test_a_typed_task_runs_and_is_built_after_the_task_that_it_has_as_a_value():
    task = Train(prepare=Prepare(n=5))
    assert [Prepare(n=5)] == list(task.deps())
    assert "Train(lr=0.1, rows=100, prepare=Prepare(n=5), date=2020-01-01)" == repr(task)
    with pytest.raises(ParameterError, match="lr"):
        Train(prepare=Prepare(), lr="x")
    with pytest.raises(ParameterError, match="needs a value for parameter 'prepare'"):
        Train()


def test_annotations_may_name_what_the_enclosing_functions_have():
    class Local(enum.Enum):
        ONE = 1

    def inner():  # names Local in annotations only: it is no variable of this function
        class Nested(TaskPickle):
            x: Local = param()
            y: list["Local"] = param([])  # noqa: UP037

        return Nested

    class Here(TaskPickle):
        x: Optional["Prepare"] = param()  # noqa: UP037, UP045
        y: "Local" = param(Local.ONE)  # noqa: UP037

    class Mixin:
        z: Local = param(Local.ONE)

    assert "Nested(x=ONE, y=ONE)" == repr(inner()(Local.ONE, ["ONE"]))
    assert "Mixed(z=ONE)" == repr(type("Mixed", (Mixin, TaskPickle), {})())
    assert "Here(x=, y=ONE)" == repr(Here())


def call_with(Colour, make):
    return make()


def test_annotations_do_not_see_the_names_of_callers():
    def make():
        class Painted(TaskPickle):
            colour: Colour = param(Colour.RED)

        return Painted

    assert make()().task_id == call_with(Level, make)().task_id


def test_annotations_may_name_what_the_class_body_has():
    class Outer(TaskPickle):
        class Inner(enum.Enum):
            ONE = 1

        x: Inner = param(Inner.ONE)

        class Deeper(TaskPickle):
            x: Colour = param(Colour.BLUE)

    assert ("ONE", "BLUE") == (Outer().x.name, Outer.Deeper().x.name)


def test_annotations_that_are_no_text(run_python):
    script = """if True:
        import enum
        from typing import Optional
        import d6tpipe
        from d6tpipe.typed import param

        def make():
            class Local(enum.Enum):
                ONE = 1

            class Train(d6tpipe.tasks.TaskPickle):
                local: Local = param(Local.ONE)
                maybe: Optional["Local2"] = param()
                lr: float = param(0.1)

            return Train

        class Local2(d6tpipe.tasks.TaskPickle):
            n: int = param(2)

        print(make()(maybe=Local2()))
    """
    assert "Train(local=ONE, maybe=Local2(n=2), lr=0.1)" == run_python("-c", script).stdout.strip()


# ------------------------------------------------------------------------------------------------- inheritance


def test_a_subclass_has_the_parameters_of_its_bases_and_may_replace_them():
    class Base(TaskPickle):
        lr: float = param(0.1)
        n: int = param(1)
        mode: str = param("a")

    class Child(Base):
        n: float = param(2.5)
        mode = "b"
        more: bool = param()

    assert ["lr", "n", "more"] == names(Child)
    assert "Child(lr=0.1, n=2.5, more=False)" == repr(Child())
    assert "b" == Child().mode
    assert "Base(lr=0.1, n=1, mode='a')" == repr(Base())


def test_a_new_default_keeps_the_type_that_a_base_class_gave():
    class Base(TaskPickle):
        lr: float | None = param(0.1)
        guessed = param(0.1)

    class Child(Base):
        lr = param(None)
        guessed = param(1)

    assert (ours.OptionalFloatParameter, ours.FloatParameter) == (kind(Child, "lr"), kind(Child, "guessed"))
    assert 1.0 == Child().guessed and type(Child().guessed) is float
    with pytest.raises(DeclarationError, match="expected a number"):
        type("Wrong", (Base,), {"lr": param("much")})


class Rates:
    """A mixin that is no task."""

    lr: float = param(0.1)
    first: Prepare | None = param()


def test_a_mixin_may_declare_parameters():
    class Fit(Rates, TaskPickle):
        n: int = param(1)

    class Other(Rates, TaskPickle):
        lr = 0.5

    class Both(Fit, Other):
        pass

    assert ["lr", "first", "n"] == names(Fit)
    assert ["first"] == names(Other)
    assert "Fit(lr=0.2, first=, n=1)" == repr(Fit(lr=0.2))
    assert ["first", "n"] == names(Both)
    assert 0.5 == Both().lr


def test_a_mixin_that_cannot_be_understood_is_told_with_the_first_task_that_has_it():
    class Wrong:
        good: int = param(1)
        lr: Later = param(Colour.RED)  # noqa: F821

    assert isinstance(vars(Wrong)["lr"], Declaration)
    for _ in range(2):
        with pytest.raises(DeclarationError, match=r"(?s)'lr' of Wrong.*Later.*not defined"):
            type("Fit", (Wrong, TaskPickle), {})
    Wrong.__annotations__["lr"] = Colour
    assert "Fit(good=1, lr=RED)" == repr(type("Fit", (Wrong, TaskPickle), {})())
    assert "Fit(good=2, lr=RED)" == repr(type("Fit", (Wrong, TaskPickle), {})(good=2))
    assert Wrong not in typed._waiting


def test_a_plain_luigi_task_may_declare_parameters():
    class Plain(luigi.Task):
        lr: float = param(0.1)
        n = luigi.IntParameter(default=1)

    class Ours(Plain, TaskPickle):
        pass

    assert ["lr", "n"] == names(Plain) == names(Ours)
    assert 0.2 == Plain(0.2).lr == Ours(lr=0.2).lr
    with pytest.raises((DeclarationError, RuntimeError)) as caught:  # the latter is Python's own before 3.12

        class Wrong(luigi.Task):
            lr: float = param("x")

    error = caught.value if isinstance(caught.value, DeclarationError) else caught.value.__cause__
    assert "expected a number" in str(error)


def test_requires_inherits_and_clone_hand_parameters_on():
    class Source(TaskPickle):
        n: int = param(1)
        lr: float = param(0.1)

    @d6tpipe.requires(Source)
    class Fit(TaskPickle):
        lr: float = param(0.5)

    @d6tpipe.inherits(Fit)
    class Report(TaskPickle):
        n = param(7)

    assert Source(n=3, lr=0.5) is Fit(n=3).requires()
    assert {"n", "lr"} == set(names(Fit)) == set(names(Report))
    assert Fit(n=7, lr=0.5) is Report().clone(Fit)
    assert Fit(n=1, lr=2.0) is Fit().clone(lr=2)


def test_a_parameter_may_be_set_later():
    class Local(enum.Enum):
        ONE = 1

    class Fit(TaskPickle):
        lr: float = param(0.1)
        n: int
        local: Local

    assert 0.1 == Fit().lr
    Fit.lr = param(2)
    Fit.n = param(3)
    Fit.mode = param("a")
    Fit.local = param()
    assert "Fit(lr=2.0, n=3, mode='a', local=ONE)" == repr(Fit(local=Local.ONE))
    with pytest.raises(DeclarationError, match=r"(?s)'other' of Fit.*neither an annotation nor a default"):
        Fit.other = param()
    with pytest.raises(DeclarationError, match="expected a whole number"):
        Fit.n = param("x")


def test_a_parameter_may_be_set_from_another_module(tmp_path, monkeypatch):
    shade = "import enum, d6tpipe\nclass Shade(enum.Enum):\n    DARK = 1\n"
    (tmp_path / "shades.py").write_text(f"{shade}class Fit(d6tpipe.tasks.TaskPickle):\n    x: 'Shade'\n")
    monkeypatch.syspath_prepend(tmp_path)
    fit = importlib.import_module("shades").Fit
    fit.x = param()
    assert "Fit(x=DARK)" == repr(fit(x="DARK"))


def test_one_declaration_may_serve_several_classes_and_names():
    rate = param(0.1)
    one = type("One", (TaskPickle,), {"lr": rate, "alpha": rate})
    other = type("Other", (TaskPickle,), {"lr": rate, "__annotations__": {"lr": float | None}})
    assert "One(lr=0.1, alpha=0.2)" == repr(one(alpha=0.2))
    assert ours.OptionalFloatParameter is kind(other, "lr")
    few = param("a", choices=iter("ab"))
    assert [{"a", "b"}] * 2 == [dict(as_written(few).get_params())["x"]._choices for _ in range(2)]


def test_classes_without_declarations_are_not_read(monkeypatch):
    monkeypatch.setattr(typed, "_Reading", None)
    assert "Train(x=1)" == repr(as_written(ours.IntParameter(default=1))())


def test_a_class_of_a_notebook_is_shipped(run_python, tmp_path):
    script = """if True:
        import enum, cloudpickle, d6tpipe
        from d6tpipe.typed import param

        class Colour(enum.Enum):
            RED = 1

        class Rates:
            lr: float = param(0.1)

        class Source(d6tpipe.tasks.TaskPickle):
            n: int = param(min=1)
            colour: Colour = param(Colour.RED)
            def run(self):
                return [self.n, self.colour.name]

        class Double(Rates, d6tpipe.tasks.TaskPickle):
            source: "Source | None" = param()
            def run(self):
                self.save(self.source.outputLoad() + [self.lr])

        open("task.pkl", "wb").write(cloudpickle.dumps(Double(source=Source(n=4))))
    """
    there = """if True:
        import pickle, d6tpipe

        task = pickle.load(open("task.pkl", "rb"))
        d6tpipe.run(task, execution_summary=False)
        print(task, task.outputLoad(), type(task)(lr=2).lr)
    """
    run_python("-c", script, cwd=tmp_path)
    found = run_python("-c", there, cwd=tmp_path).stdout.strip()
    assert "Double(lr=0.1, source=Source(n=4, colour=RED)) [4, 'RED', 0.1] 2.0" == found


# --------------------------------------------------------------------------------------------- values that fit


def test_both_bounds_are_allowed_values():
    cls = made(int, min=0, max=3)
    assert [0, 3] == [cls(x=0).x, cls(x="3").x]
    for value in (-1, 4, 1.5):
        with pytest.raises(ParameterError, match=r"in \[0, 3\]"):
            cls(x=value)
    assert 10**9 == made(int, min=0)(x=10**9).x
    assert -1e9 == made(float, max=0)(x=-(10**9)).x


def test_only_choices_are_allowed_values():
    cls = made(str, choices=(word for word in ["a", "b"]))
    assert "a" == cls(x="a").x
    with pytest.raises(ParameterError, match="one of 'a', 'b'"):
        cls(x="c")


def test_a_limit_does_not_rename_what_is_built():
    plain, bounded, chosen = made(float), made(float, min=0), made(float, choices=[0.5])
    assert plain(x=0.5).task_id == bounded(x=0.5).task_id == chosen(x=0.5).task_id


def test_a_class_that_decides_itself_gets_the_keywords_and_the_default():
    asked = []

    class Own:
        @staticmethod
        def __d6tpipe_parameter__(**keywords):
            asked.append(keywords)
            return ours.IntParameter(**keywords)

    class Fit(TaskPickle):
        one: Own = param()
        two: Own | None = param(significant=False)
        three: Own = param(3)
        four = param(4)

    assert [{}, {"significant": False, "default": None}, {"default": 3}] == asked
    assert ["one", "two", "three", "four"] == names(Fit)
    assert "Fit(one=1, three=3, four=4)" == repr(Fit(1))
    with pytest.raises(DeclarationError, match="limits that do not go with"):
        made(Own, min=1)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError, OverflowError])
def test_a_default_that_a_parameter_of_the_users_own_refuses_is_told(error):
    class Own(ours.Parameter):
        __d6tpipe_parameter__ = classmethod(lambda cls, **keywords: cls(**keywords))

        def normalize(self, x):
            raise error("not this one")

    with pytest.raises(DeclarationError, match="not this one"):
        made(Own, 3)


def test_a_default_that_shows_its_type_needs_no_annotation():
    values = [True, 1, 0.5, "a", date(2020, 1, 1), datetime(2020, 1, 1), timedelta(1), Path("a"), Colour.RED,
              Level.LOW, [1], (1,), {"a": 1}, Prepare()]  # fmt: skip
    expected = ["BoolParameter", "IntParameter", "FloatParameter", "StrParameter", "DateParameter",
                "DateSecondParameter", "TimeDeltaParameter", "PathParameter", "EnumParameter", "EnumParameter",
                "ListParameter", "TupleParameter", "DictParameter", "TaskInstanceParameter"]  # fmt: skip
    assert expected == [kind(as_written(param(value)), "x").__name__ for value in values]
    assert "DescribedParameter" == kind(as_written(param(Described("a"))), "x").__name__


# ---------------------------------------------------------------------------------------------------- mistakes

WRONG = {
    "misfit": (int, ["a"], {}, ["'x' of Train", "annotation  int", "'a' (str)", "expected a whole number"]),
    "misfit of bool": (bool, [2], {}, ["True or False", "2 (int)"]),
    "misfit of Literal": (Literal["a", "b"], ["c"], {}, ["one of 'a', 'b'", "'c' (str)"]),
    "misfit of Enum": (Colour, ["GREEN"], {}, ["one of RED, BLUE"]),
    "misfit of list": (list[int], [3], {}, ["list[int]", "3 (int)", "expected a sequence"]),
    "misfit of task": (Prepare, [3], {}, ["Prepare", "3 (int)"]),
    "misfit of own class": (Described, [3], {}, ["expected something described"]),
    "misfit of own class and None": (Described | None, [Described("a")], {}, ["takes None only as its default"]),
    "the class instead of a task": (Prepare, [Prepare], {}, ["add the parentheses"]),
    "time zone": (datetime, [datetime.now().astimezone()], {}, ["without a time zone"]),
    "out of bounds": (int, [5], {"max": 3}, ["5 (int)", "3]"]),
    "not among choices": (int, [5], {"choices": [3]}, ["5 (int)", "one of 3"]),
    "None for int": (int, [None], {}, ["None (NoneType)", "None is no value of it"]),
    "None for date": (date, [None], {}, ["None is no value of it"]),
    "None for a task": (Prepare, [None], {}, ["None is no value of it"]),
    "task or None, and another default": (Prepare | None, [Prepare()], {}, ["takes None only as its default"]),
    "unsupported": (complex, [1j], {}, ["complex", "int, float, str", "x = d6tpipe.Parameter(...)"]),
    "unsupported default": (None, [1j], {}, ["no parameter stands for", "complex", "timedelta"]),
    "an instance": (3, [], {}, ["no parameter stands for"]),
    "a list": ([int], [], {}, ["no parameter stands for"]),
    "two types": (int | str, [1], {}, ["int | str", "no parameter stands for"]),
    "two types and None": (int | str | None, [1], {}, ["no parameter stands for"]),
    "Enum or None": (Colour | None, [], {}, ["Colour | None", "no parameter stands for"]),
    "timedelta or None": (timedelta | None, [None], {}, ["no parameter stands for"]),
    "Literal of two types": (Literal[1, "a"], [1], {}, ["no parameter stands for"]),
    "Literal of an Enum": (Literal[Colour.RED], [], {}, ["no parameter stands for"]),
    "nothing": (None, [], {}, ["neither an annotation nor a default", "Write x: int = d6tpipe.param"]),
    "None": (None, [None], {}, ["neither an annotation nor a default"]),
    "unknown name": ("Nowhere", [], {}, ["annotation  Nowhere", "NameError", "above the class", "TYPE_CHECKING"]),
    "unknown attribute": ("enum.Nowhere", [], {}, ["annotation  enum.Nowhere", "above the class"]),
    "no Python": ("int or so ?", [], {}, ["SyntaxError"]),
    "unknown name inside": (Optional["Nowhere"], [], {}, ["NameError", "Nowhere"]),  # noqa: F821
    "choices of a bool": (bool, [], {"choices": [True]}, ["choices= goes with int, float and str"]),
    "choices of a Literal": (Literal["a"], [], {"choices": ["a"]}, ["choices= goes with"]),
    "choices and bounds": (int, [], {"choices": [1], "min": 0}, ["not both at once"]),
    "bounds of text": (str, [], {"min": 0}, ["min= and max= with int and float"]),
    "bounds of another type": (int, [], {"min": 0.5}, ["limit that does not fit", "expected a whole number, got 0.5"]),
    "choices of another type": (int, [], {"choices": [1, None]}, ["limit that does not fit", "got None"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_told_when_the_class_is_made(case):
    annotation, args, keywords, expected = WRONG[case]
    attributes = {} if annotation is None else {"__annotations__": {"x": annotation}}
    with pytest.raises(DeclarationError) as caught:
        type("Train", (TaskPickle,), {"x": param(*args, **keywords), "__module__": __name__, **attributes})
    assert "Train" == caught.value.task
    assert "Parameter 'x' of Train has" in str(caught.value)
    assert [] == [text for text in expected if text not in str(caught.value)], str(caught.value)


def test_a_wrong_keyword_is_told_in_the_line_that_has_it():
    with pytest.raises(TypeError, match="signficant"):
        param(1, signficant=True)


def test_a_reserved_name_is_refused_as_in_the_other_form():
    with pytest.raises(DeclarationError, match="'job'"):
        type("Train", (TaskPickle,), {"job": param(1)})
