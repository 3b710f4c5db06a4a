"""Parameter classes: the same names and signatures as luigi's."""

from __future__ import annotations

import datetime
import enum
import inspect
import pickle

import cloudpickle
import luigi
import pytest

import d6tpipe
from d6tpipe import parameters as ours

date = datetime.date
OURS = {"ConfigParameter", "TaskInstanceParameter"}  # without a counterpart in luigi
NAMES = [name for name in ours.__all__ if name.endswith("Parameter") and name not in OURS]


class Colour(enum.Enum):
    RED = 1


def make(name, **keywords):
    """A parameter of the class with this name; what it cannot do without is filled in."""
    if "Enum" in name:
        keywords["enum"] = Colour
    if "Choice" in name:
        keywords["choices"] = ["a", "b"]
    if "Numerical" in name:
        keywords.update(var_type=int, min_value=0, max_value=10)
    return getattr(ours, name)(**keywords)


def test_every_parameter_class_of_luigi_is_here_under_its_name():
    theirs = {
        name
        for name, value in vars(luigi.parameter).items()
        if inspect.isclass(value) and issubclass(value, luigi.Parameter) and not name.startswith("_")
    }
    assert theirs == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_subclass_of_luigis_and_of_our_parameter(name):
    assert issubclass(getattr(ours, name), getattr(luigi.parameter, name))
    assert issubclass(getattr(ours, name), ours.Parameter)


@pytest.mark.parametrize(
    ("derived", "base"),
    [
        ("MonthParameter", "DateParameter"),
        ("TupleParameter", "ListParameter"),
        ("ChoiceListParameter", "ChoiceParameter"),
        ("OptionalIntParameter", "IntParameter"),
        ("OptionalPathParameter", "PathParameter"),
    ],
)
def test_classes_derive_from_each_other_as_luigis_do(derived, base):
    assert issubclass(getattr(ours, derived), getattr(ours, base))


@pytest.mark.parametrize("name", NAMES)
def test_each_takes_ignore_default(name):
    assert make(name).ignore_default is False
    parameter = make(name, default=None, ignore_default=True, significant=False, description="why")
    assert (parameter.ignore_default, parameter.significant) == (True, False)
    assert parameter.description.startswith("why")


@pytest.mark.parametrize("name", NAMES)
def test_wrong_keyword_is_refused(name):
    with pytest.raises(TypeError, match="ignore_defaults"):
        make(name, ignore_defaults=True)


def test_luigis_positional_arguments_keep_working():
    day = ours.DateParameter(date(2020, 1, 1), 7, date(2020, 1, 1))
    assert (day.interval, day.normalize(date(2020, 1, 9))) == (7, date(2020, 1, 8))
    assert ours.BoolParameter(True, "explicit").parsing == "explicit"


def test_bool_parsing_set_on_a_class_holds_for_later_instances(monkeypatch):
    assert ours.BoolParameter().parsing == ours.BoolParameter.IMPLICIT_PARSING
    monkeypatch.setattr(ours.BoolParameter, "parsing", ours.BoolParameter.EXPLICIT_PARSING)
    assert ours.BoolParameter().parsing == "explicit"


def test_they_work_on_a_plain_luigi_task():
    members = {
        name: make(name, default=value)
        for name, value in {
            "Parameter": "x",
            "IntParameter": 1,
            "BoolParameter": True,
            "DateParameter": date(2020, 1, 1),
            "EnumParameter": Colour.RED,
            "DictParameter": {"b": 1, "a": [2]},
            "ListParameter": [1, 2],
            "NumericalParameter": 3,
            "ChoiceParameter": "a",
            "OptionalIntParameter": None,
        }.items()
    }
    task = type("Plain", (luigi.Task,), members)()
    assert task.IntParameter == 1
    assert task.ListParameter == (1, 2)
    assert task.OptionalIntParameter is None
    again = type(task).from_str_params(task.to_str_params())
    assert again.task_id == task.task_id


@pytest.mark.parametrize("name", NAMES)
def test_parameters_can_be_sent_to_other_processes(name):
    again = pickle.loads(cloudpickle.dumps(make(name, ignore_default=True)))
    assert type(again) is getattr(ours, name)
    assert again.ignore_default is True


def test_the_package_exports_the_classes_and_nothing_else_of_the_module():
    exported = {name for name in d6tpipe.__all__ if getattr(d6tpipe, name, None) is getattr(ours, name, ours)}
    assert exported == {*ours.__all__, "parameters"}
