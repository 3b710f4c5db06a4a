"""Which task is which: the text of ids and file names for parameters of every kind, and equality."""

import datetime
import enum

import luigi
from observe import attempt, files, main, named, observation, plain, ran, taken

import d6tflow


class Color(enum.Enum):
    RED = 1
    DARK_BLUE = "two"


class Saves(d6tflow.tasks.TaskPickle):
    def run(self):
        ran(self)
        self.save(named(self))


class AnyValue(Saves):
    value = d6tflow.Parameter(default="v")


class Numbers(Saves):
    i = d6tflow.IntParameter(default=1)
    f = d6tflow.FloatParameter(default=0.5)
    b = d6tflow.BoolParameter(default=False)


class Times(Saves):
    day = d6tflow.DateParameter(default=datetime.date(2020, 2, 29))
    month = d6tflow.MonthParameter(default=datetime.date(2020, 3, 1))
    year = d6tflow.YearParameter(default=datetime.date(2021, 1, 1))
    hour = d6tflow.DateHourParameter(default=datetime.datetime(2020, 1, 2, 3))
    minute = d6tflow.DateMinuteParameter(default=datetime.datetime(2020, 1, 2, 3, 4))
    second = d6tflow.DateSecondParameter(default=datetime.datetime(2020, 1, 2, 3, 4, 5))
    span = d6tflow.TimeDeltaParameter(default=datetime.timedelta(days=1, hours=2))
    interval = d6tflow.DateIntervalParameter(default=luigi.date_interval.Month(2020, 5))


class Structures(Saves):
    words = d6tflow.ListParameter(default=["a", "b c"])
    pairs = d6tflow.TupleParameter(default=((1, 2), (3, 4)))
    options = d6tflow.DictParameter(default={"depth": 3, "name": "ü"})
    nested = d6tflow.DictParameter(default={"a": {"b": [1, None, True]}})


class Choices(Saves):
    color = d6tflow.EnumParameter(enum=Color, default=Color.RED)
    choice = d6tflow.ChoiceParameter(choices=["x", "y"], default="y")
    ranged = d6tflow.NumericalParameter(var_type=int, min_value=0, max_value=10, default=4)
    maybe = d6tflow.OptionalParameter(default=None)
    task = d6tflow.TaskParameter(default=Saves)


class Insignificant(Saves):
    a = d6tflow.IntParameter(default=1)
    threads = d6tflow.IntParameter(default=1, significant=False)


Many = type("Many", (Saves,), {f"p{n:02}": d6tflow.IntParameter(default=n) for n in range(25)})


class With_Under_Score(Saves):
    p = d6tflow.Parameter(default="x")


class _Private(Saves):
    pass


class Namespaced(Saves):
    task_namespace = "space"
    p = d6tflow.IntParameter(default=1)


class Empty(Saves):
    pass


class FromLuigi(Saves):
    """Parameters imported from luigi itself, as most d6tflow code does."""

    n = luigi.IntParameter(default=3)
    s = luigi.Parameter(default="text")
    on = luigi.BoolParameter()
    d = luigi.DateParameter(default=datetime.date(2020, 1, 1))
    o = luigi.OptionalIntParameter(default=None)
    fl = luigi.OptionalFloatParameter(default=1.5)


def facts(task):
    """Return id, text, family and the file of a task."""
    return {
        "id": task.task_id,
        "text": named(task),
        "family": task.task_family,
        "parameters": task.to_str_params(),
        "file": task.output().path,
    }


@observation
def numbers():
    return {
        "default": facts(Numbers()),
        "set": facts(Numbers(i=-7, f=1e-05, b=True)),
        "large": facts(Numbers(i=10**20, f=1.5e300)),
        "positional": facts(Numbers(2, 0.25, True)),
    }


@observation
def texts():
    texts = {
        "plain": "v",
        "spaces": "two words",
        "quotes": 'it\'s "quoted"',
        "slashes": "a/b\\c",
        "not ascii": "Ünïcødé 日本",
        "empty": "",
        "dots": "../up",
        "newline": "a\nb",
        "long": "x" * 200,
        "number": "17",
        "brackets": "[1, 2]",
        "emoji": "\N{GRINNING FACE}",
    }
    return {name: facts(AnyValue(value=text)) for name, text in texts.items()}


@observation
def any_object_in_a_plain_parameter():
    values = {
        "int": 5,
        "float": 0.1,
        "bool": True,
        "none": None,
        "list": [1, "a"],
        "tuple": (1, 2),
        "dict": {"k": "v"},
        "date": datetime.date(2020, 1, 1),
    }
    return {name: attempt(lambda value=value: facts(AnyValue(value=value))) for name, value in values.items()}


@observation
def times():
    return {
        "default": facts(Times()),
        "kinds": {name: plain(value) for name, value in times_of(Times()).items()},
    }


def times_of(task):
    return {name: getattr(task, name) for name in ("day", "month", "year", "hour", "minute", "second", "span")}


@observation
def structures():
    task = Structures(words=("q",), options={"y": [1, 2], "z": 1})
    return {
        "default": facts(Structures()),
        "kinds": [type(Structures().words).__name__, type(Structures().pairs).__name__],
        "values": [list(task.words), dict(task.options), plain(task.pairs)],
    }


@observation
def dictionaries_in_another_order():
    one, two = Structures(options={"a": 1, "b": 2}), Structures(nested={"b": 2, "a": 1})
    return {"sorted": facts(one), "not sorted": facts(two)}


@observation
def choices():
    return {
        "default": facts(Choices()),
        "set": facts(Choices(color=Color.DARK_BLUE, choice="x", ranged=9, maybe="given", task=Empty)),
        "wrong choice": attempt(Choices, choice="z"),
        "out of range": attempt(Choices, ranged=50),
        "not a member": attempt(Choices, color="GREEN"),
    }


@observation
def insignificant_parameters():
    one, two = Insignificant(threads=1), Insignificant(threads=8)
    d6tflow.run(one)
    d6tflow.run(two)
    return {
        "facts": facts(two),
        "same id": one.task_id == two.task_id,
        "ran": len(taken()),
        "complete": two.complete(),
    }


@observation
def twenty_five_parameters():
    return {
        "default": facts(Many()),
        "last changed": facts(Many(p24=99)),
        "first changed": facts(Many(p00=99)),
    }


@observation
def names_of_classes():
    tasks = [With_Under_Score(), _Private(), Namespaced(), Empty()]
    d6tflow.run(tasks)
    return {
        "facts": {type(task).__name__: facts(task) for task in tasks},
        "files": files(),
        "loaded": [task.outputLoad() for task in tasks],
    }


@observation
def parameters_of_luigi():
    return {"default": facts(FromLuigi()), "set": facts(FromLuigi(n=4, s="é", on=True, o=2, fl=None))}


@observation
def values_that_need_no_change():
    task = Numbers(i=5, f=2.0, b=True)
    return {"values": [task.i, task.f, task.b], "types": [type(v).__name__ for v in (task.i, task.f, task.b)]}


@observation
def text_where_a_number_belongs():
    return {"int": attempt(lambda: plain(Numbers(i="7").i)), "id": attempt(lambda: Numbers(i="7").task_id)}


@observation
def a_whole_number_for_a_float():
    return {"facts": facts(Numbers(f=5)), "value": Numbers(f=5).f}


@observation
def nonsense_where_a_number_belongs():
    return {
        "int": attempt(lambda: Numbers(i="seven").task_id),
        "bool": attempt(lambda: Numbers(b="perhaps").task_id),
    }


@observation
def equality():
    return {
        "equal": Numbers(i=3) == Numbers(i=3),
        "same object": Numbers(i=3) is Numbers(i=3),
        "different": Numbers(i=3) == Numbers(i=4),
        "other class": AnyValue() == Empty(),
        "hash": hash(Numbers(i=3)) == hash(Numbers(i=3)),
        "in a set": len({Numbers(i=3), Numbers(i=3), Numbers(i=4)}),
        "repr": repr(Numbers(i=3)),
    }


@observation
def the_text_of_a_task():
    return {
        "str": str(AnyValue(value="two words")),
        "repr": repr(AnyValue(value="it's")),
        "number": str(Numbers()),
    }


@observation
def what_a_task_tells():
    task = Numbers(i=3)
    return {
        "get_param_names": sorted(Numbers.get_param_names()),
        "get_params": [name for name, _ in Numbers.get_params()],
        "param_kwargs": task.param_kwargs,
        "family": [Numbers.get_task_family(), Numbers.task_family, task.get_task_family()],
        "from text": named(Numbers.from_str_params({"i": "4", "f": "2.5", "b": "true"})),
        "insignificant": sorted(Insignificant.get_param_names()),
        "all": sorted(Insignificant.get_param_names(include_significant=True)),
    }


if __name__ == "__main__":
    main()
