"""The name space of a task class belongs to its author: every word that we use may be a parameter."""

from __future__ import annotations

import inspect

import luigi
import luigi.util
import pytest

import d6tpipe

# Class options, and what a body finds in its context.
OPTION_WORDS = """
    version seed flows tags report schema freeze expires stale marks isolate hooks transient resumable after
    executor inputs retry_on retry_delay tolerance depends_on ignore_code dir label attempt run_id progress log env
    artifact emit remaining_time shared_dir
"""
COMMON_WORDS = """
    path task params tasks name key value values data children node state result args kwargs target parameters
    binding frame family id missing default config table text index model
"""
WORDS = f"{OPTION_WORDS} {COMMON_WORDS}".split()

# luigi's own attributes cannot be parameters anywhere in luigi's world: its constructor, scheduler or worker use them.
LUIGIS = {name for name in dir(luigi.Task) if not name.startswith("_")} | {
    "task_id",
    "param_kwargs",
    "set_tracking_url",
    "set_status_message",
    "set_progress_percentage",
}

D6TFLOWS = {
    # How d6tflow's users describe or reach outputs; d6tflow 0.2.8 has all of them on its task classes.
    "complete", "get_param_values", "get_pipe", "get_pipename", "inputLoad", "invalidate", "metaLoad", "metaSave",
    "metadata", "output", "outputLoad", "outputLoadAllMeta", "outputLoadMeta", "persist", "pull", "pull_preview",
    "push", "push_preview", "reset", "save", "saveMeta", "target_class", "target_ext",
}  # fmt: skip

OURS = {"outputPath", "job"}

EXCLUDED = {
    "job": "self.job is the context of a body; a parameter of this name is refused with a hint",
    "persist": "d6tflow: names of the outputs",
    "persists": "d6tflow: the same as persist",
    "external": "d6tflow: outputs are made elsewhere",
    "target_dir": "d6tflow: folder of the class",
    "target_ext": "d6tflow: extension of the files",
    "target_class": "d6tflow: how outputs are stored",
    "save_attrib": "d6tflow: whether the id is part of the file name",
    "task_group": "d6tflow: one more folder",
    "pipename": "d6tflow: where outputs are shared",
    "metadata": "d6tflow: what saveMeta was given last",
    "save": "d6tflow: a method of every task, as are reset, invalidate ...",
}


@pytest.mark.parametrize("base", [d6tpipe.tasks.TaskData, d6tpipe.tasks.TaskCache, d6tpipe.tasks.TaskPqPandas])
def test_tasks_have_no_public_names_but_luigis_and_d6tflows(base):
    public = {name for name in dir(base) if not name.startswith("_")}
    assert public - LUIGIS - D6TFLOWS - OURS == set()


def test_aggregators_have_no_public_names_but_luigis_and_d6tflows():
    public = {name for name in dir(d6tpipe.tasks.TaskAggregator) if not name.startswith("_")}
    assert public - LUIGIS - D6TFLOWS - OURS == set()


def test_a_task_has_no_public_names_but_its_parameters_and_luigis():
    class Some(d6tpipe.tasks.TaskCache):
        x = d6tpipe.IntParameter(default=1)

        def run(self):
            self.save(1)

    task = Some()
    d6tpipe.run(task, execution_summary=False)
    task.task_id
    public = {name for name in vars(task) if not name.startswith("_")}
    assert public - LUIGIS == {"x"}


def test_no_word_is_tested_that_is_excluded_or_luigis():
    assert not set(WORDS) & (set(EXCLUDED) | LUIGIS)
    assert len(set(WORDS)) == len(WORDS)


def pair(word, decorate, mark=""):
    """Return (Low, High) where both have a parameter `word`, High by way of `decorate(Low)`."""

    def run_low(self):
        self.save(getattr(self, word))

    def run_high(self):
        self.save([getattr(self, word), self.inputLoad()])

    base = d6tpipe.tasks.TaskPickle
    low = type(f"Low{mark}", (base,), {word: d6tpipe.Parameter(), "run": run_low})
    high = decorate(low)(type(f"High{mark}", (base,), {"run": run_high}))
    return low, high


def theirs(low):
    """luigi's inherits, with the requires() that luigi's documentation shows."""

    def decorate(cls):
        cls = luigi.util.inherits(low)(cls)
        cls.requires = lambda self: self.clone_parent()
        return cls

    return decorate


def ours_inherits(low):
    def decorate(cls):
        cls = d6tpipe.inherits(low)(cls)
        cls.requires = lambda self: self.clone(low)
        return cls

    return decorate


def ours_inherits_dict(low):
    def decorate(cls):
        cls = d6tpipe.inherits({"a": low})(cls)
        cls.requires = lambda self: self.clone_parents_dict()["a"]
        return cls

    return decorate


WAYS = {
    "requires": lambda low: d6tpipe.requires(low),
    "luigi requires": lambda low: luigi.util.requires(low),
    "luigi inherits": theirs,
    "inherits": ours_inherits,
    "inherits dict": ours_inherits_dict,
}


@pytest.mark.parametrize("word", [*WORDS, "cls", "self"])
def test_a_word_of_ours_is_a_parameter_that_travels_upstream(word):
    for number, (way, decorator) in enumerate(WAYS.items()):
        low, high = pair(word, decorator, str(number))
        task = high(**{word: "value"})
        assert getattr(task, word) == "value", way
        assert task.requires() is low(**{word: "value"}), way
        assert [name for name, _ in high.get_params()] == [word], way
        d6tpipe.run(task, execution_summary=False)
        assert task.outputLoad() == ["value", "value"], way
        assert high(**{word: "value"}).complete() and not high(**{word: "other"}).complete(), way


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_ours_is_a_parameter_in_a_dict_of_requirements(word):
    low = type(
        "Low", (d6tpipe.tasks.TaskPickle,), {word: d6tpipe.IntParameter(), "run": lambda self: getattr(self, word)}
    )

    @d6tpipe.requires({"one": low, "two": low})
    class High(d6tpipe.tasks.TaskPickle):
        def run(self):
            self.save([getattr(self, word), self.inputLoad()])

    task = High(**{word: "5"})
    d6tpipe.run(task, execution_summary=False)
    assert task.outputLoad() == [5, {"one": 5, "two": 5}]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_ours_can_be_cloned_and_comes_through_a_workflow(word):
    low, high = pair(word, WAYS["requires"])
    task = low(**{word: "value"})
    assert task.clone() is task
    assert getattr(task.clone(**{word: "other"}), word) == "other"
    assert task.clone(high) is high(**{word: "value"})

    flow = d6tpipe.Workflow(high, params={word: "flow"}, path="flow_path")
    flow.run(execution_summary=False)
    assert flow.outputLoad() == ["flow", "flow"]
    assert flow.outputLoad(low) == "flow"
    assert "flow_path" in str(flow.outputPath())
    flow.reset(low)
    assert not flow.complete()
    multi = d6tpipe.WorkflowMulti(high, {"a": {word: "m1"}, "b": {word: "m2"}})
    multi.run(execution_summary=False)
    assert multi.outputLoad() == {"a": ["m1", "m1"], "b": ["m2", "m2"]}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_ours_works_with_the_other_kinds_of_values_and_of_tasks(word, capsys):
    many = type(
        "Many",
        (d6tpipe.tasks.TaskData,),
        {
            word: d6tpipe.IntParameter(default=3),
            "persist": {"a": "pickle", "b": "json"},
            "run": lambda self: self.save({"a": getattr(self, word), "b": [getattr(self, word)]}),
        },
    )

    def spread(self):
        yield many(**{word: getattr(self, word)})
        yield many(**{word: getattr(self, word) + 1})

    every = type("Every", (d6tpipe.tasks.TaskAggregator,), {word: d6tpipe.IntParameter(default=1), "run": spread})
    assert d6tpipe.run(every(), execution_summary=False).ok
    assert every().outputLoad() == [[1, [1]], [2, [2]]]
    assert getattr(many(), word) == 3
    d6tpipe.preview(every())
    assert word in capsys.readouterr().out
    assert d6tpipe.run(every(), execution_summary=False).table()["family"].tolist()


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_ours_is_a_parameter_without_default_of_a_task_with_an_own_init(word):
    def init(self, *args, **kwargs):
        d6tpipe.tasks.TaskCache.__init__(self, *args, **kwargs)

    cls = type("Own", (d6tpipe.tasks.TaskCache,), {word: d6tpipe.Parameter(), "__init__": init})
    assert getattr(cls(**{word: 3}), word) == 3
    assert cls(**{word: 3}) is cls(3)
    with pytest.raises(d6tpipe.errors.ParameterError, match=word):
        cls()


@pytest.mark.parametrize("word", WORDS)
def test_without_such_a_parameter_luigis_clone_finds_no_attribute_to_copy(word):
    """luigi's clone copies any attribute of the name of a parameter, its inherits skips any that is there."""
    plain = type("Plain", (d6tpipe.tasks.TaskCache,), {})
    assert not hasattr(plain, word)
    theirs = type("Theirs", (luigi.Task,), {word: luigi.Parameter(default="default")})
    if word not in ("path", "flows"):  # d6tflow's tasks have these; our own clone knows that they are no parameters
        assert getattr(luigi.Task.clone(plain(), theirs), word) == "default"
    assert getattr(plain().clone(theirs), word) == "default"


@pytest.mark.parametrize("word", ["run", "output", "requires", "complete"])
def test_luigis_own_methods_are_no_parameters(word):
    """Nothing to promise: luigi calls them. They are what they are for luigi."""
    assert word in LUIGIS


def test_job_is_refused_as_a_parameter():
    with pytest.raises(d6tpipe.errors.DeclarationError, match="job"):
        type("Bad", (d6tpipe.tasks.TaskCache,), {"job": d6tpipe.Parameter()})


def test_every_exclusion_has_its_reason_and_is_really_used():
    source = inspect.getsource(d6tpipe.tasks.outputs) + inspect.getsource(d6tpipe.tasks.data)
    for name, reason in EXCLUDED.items():
        assert reason
        assert name == "job" or name in source or hasattr(d6tpipe.tasks.TaskData, name)
