"""Deep and wide flows of real tasks: no recursion, and work that grows with the tasks and not faster.

Growth is counted in calls of requires() and in looks at outputs; nothing is timed.
"""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter
from contextlib import redirect_stdout

import pytest

import d6tpipe
from d6tpipe import errors
from d6tpipe.storage.files import LocalFiles

pytestmark = pytest.mark.slow

calls: Counter[str] = Counter()


class Link(d6tpipe.tasks.TaskCache):
    n = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return Link(n=self.n - 1) if self.n else []

    def run(self):
        calls["run"] += 1
        self.save(self.n)


class FileLink(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return FileLink(n=self.n - 1) if self.n else []

    def run(self):
        calls["run"] += 1
        self.save(self.inputLoad() + 1 if self.n else 0)


class Rung(d6tpipe.tasks.TaskPickle):
    layer = d6tpipe.IntParameter()
    side = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return [Rung(layer=self.layer - 1, side=side) for side in (0, 1)] if self.layer else []

    def run(self):
        calls["run"] += 1
        self.save(sum(self.inputLoad()) % 1000 if self.layer else 1)


class MemoryRung(d6tpipe.tasks.TaskCache):
    layer = d6tpipe.IntParameter()
    side = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return [MemoryRung(layer=self.layer - 1, side=side) for side in (0, 1)] if self.layer else []

    def run(self):
        calls["run"] += 1
        self.save(0)


class Top(d6tpipe.tasks.TaskCache):
    """Needs the end of a ladder, so that there is one root."""

    layers = d6tpipe.IntParameter()
    memory = d6tpipe.BoolParameter(default=False)

    def requires(self):
        cls = MemoryRung if self.memory else Rung
        return [cls(layer=self.layers - 1, side=side) for side in (0, 1)]

    def run(self):
        self.save(0)


@pytest.fixture(autouse=True)
def counted():
    calls.clear()


def run(task, **options):
    return d6tpipe.run(task, execution_summary=False, progress=False, **options)


def previewed(task) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        d6tpipe.preview(task)
    return printed.getvalue()


LONG = 100_000
DEEP = 20_000  # twenty times as deep as Python's stack, where the size itself is not the claim


def test_a_chain_of_100_000_is_built_once_and_then_left_alone():
    end = Link(n=LONG - 1)
    assert run(end).counts == {"built": LONG}
    assert {"requires": LONG, "run": LONG} == calls
    calls.clear()
    assert run(end).counts == {"fresh": LONG}
    assert {"requires": LONG} == calls
    assert LONG - 1 == end.outputLoad()


def test_a_chain_of_100_000_is_previewed_in_linear_space():
    text = previewed(Link(n=LONG - 1))
    assert LONG == text.count("[Link-") == calls["requires"]
    assert "'n': '0'" in text
    assert len(text) < 300 * LONG
    assert f"(level {LONG - 1})" in text


def test_questions_about_a_chain_of_20_000_do_not_recurse():
    end = Link(n=DEEP - 1)
    assert not end.complete()
    run(end)
    calls.clear()
    assert end.complete()
    assert DEEP == calls["requires"]
    assert DEEP == len(d6tpipe.taskflow_upstream(end))
    assert DEEP == len(d6tpipe.taskflow_upstream(end, only_complete=True))
    assert DEEP == len(d6tpipe.taskflow_downstream(Link(n=0), end))
    assert end == pickle.loads(pickle.dumps(end))


def test_resetting_upstream_of_a_chain_of_20_000_leaves_nothing():
    end = Link(n=DEEP - 1)
    run(end)
    assert DEEP == len(d6tpipe.cache.data)
    d6tpipe.invalidate_upstream(end)
    assert {} == d6tpipe.cache.data
    assert not end.complete()


def test_resetting_the_first_of_a_chain_of_20_000_rebuilds_all_of_it():
    end = Link(n=DEEP - 1)
    run(end)
    Link(n=0).reset(confirm=False)
    assert run(end).counts == {"built": DEEP}


def test_a_failure_at_the_start_of_a_chain_of_100_000_blocks_the_rest(monkeypatch):
    def fail(self):
        if self.n == 0:
            raise ValueError("broken")
        self.save(self.n)

    end = Link(n=LONG - 1)
    monkeypatch.setattr(Link, "run", fail)
    result = run(end, abort=False)
    assert {"failed": 1, "upstream_failed": LONG - 1} == result.counts
    assert len(result.summary_text) < 5000
    with pytest.raises(errors.BuildError, match="broken") as caught:
        result.raise_failure()
    assert len(str(caught.value)) < 2000


def test_3_000_files_in_a_chain_are_built_loaded_and_reset():
    end = FileLink(n=2999)
    run(end)
    assert 2999 == end.outputLoad()
    calls.clear()
    assert run(end).counts == {"fresh": 3000}
    assert {"requires": 3000} == calls
    d6tpipe.invalidate_upstream(end)
    assert [] == [
        name for place, _, names in os.walk(d6tpipe.settings.dirpath) for name in names if ".d6tpipe" not in place
    ]


def test_a_no_op_over_3_000_files_lists_the_folder_once_and_opens_nothing(monkeypatch):
    end = FileLink(n=2999)
    run(end)
    looks: Counter[str] = Counter()
    for name in ("exists", "listing", "stat", "stats", "digest"):
        real = getattr(LocalFiles, name)
        monkeypatch.setattr(
            LocalFiles,
            name,
            lambda self, *given, real=real, name=name: (looks.update([name]), real(self, *given))[1],
        )
    run(end)
    assert {"stats": 1} == looks, "the records' times and sizes come from the one listing"


LAYERS = 1000


def test_a_ladder_of_1_000_layers_is_built_once_and_then_left_alone():
    top = Top(layers=LAYERS)
    assert run(top).counts == {"built": 2 * LAYERS + 1}
    assert {"requires": 2 * LAYERS, "run": 2 * LAYERS} == calls
    calls.clear()
    assert run(top).counts == {"fresh": 2 * LAYERS + 1}
    assert {"requires": 2 * LAYERS} == calls


def test_the_preview_of_a_ladder_shows_each_subtree_once():
    text = previewed(Top(layers=LAYERS))
    lines = [line for line in text.splitlines() if "[Rung-" in line]
    # Each of the 2 x 999 tasks above the bottom opens its subtree once: 2 lines each, and 2 below the top.
    assert 2 * 2 * (LAYERS - 1) + 2 == len(lines)
    assert 2 * (LAYERS - 1) == sum(line.endswith("missing") and "'layer': '0'" not in line for line in lines)
    assert 2 * LAYERS == calls["requires"]
    assert len(text) < 400 * len(lines)


def test_questions_about_a_ladder_ask_each_task_once():
    top = Top(layers=LAYERS, memory=True)
    run(top)
    for ask in (
        top.complete,
        lambda: d6tpipe.taskflow_upstream(top),
        lambda: d6tpipe.taskflow_downstream(MemoryRung(layer=0, side=0), top),
        lambda: run(top, dry_run=True),
    ):
        calls.clear()
        ask()
        assert 2 * LAYERS == calls["requires"]


def test_resetting_upstream_of_a_ladder_resets_each_task_once():
    top = Top(layers=LAYERS)
    run(top)
    d6tpipe.invalidate_upstream(top)
    assert run(top).counts == {"built": 2 * LAYERS + 1}


def test_forcing_the_bottom_of_a_ladder_runs_all_that_needs_it():
    top = Top(layers=LAYERS, memory=True)
    run(top)
    calls.clear()
    result = run(top, forced=MemoryRung(layer=0, side=0))
    assert {"built": 2 * LAYERS, "fresh": 1} == result.counts
    assert 2 * LAYERS - 1 == calls["run"]


@pytest.mark.parametrize("ask", ["complete", "run", "upstream"])
def test_ten_times_the_layers_ask_ten_times_as_often(ask):
    def cost(layers):
        top = Top(layers=layers, memory=True)
        run(top)
        calls.clear()
        {"complete": top.complete, "run": lambda: run(top), "upstream": lambda: d6tpipe.taskflow_upstream(top)}[ask]()
        return calls["requires"]

    assert [20, 200, 2000] == [cost(layers) for layers in (10, 100, 1000)]


class Countdown(d6tpipe.tasks.TaskCache):
    n = d6tpipe.IntParameter()

    def run(self):
        if self.n:
            yield Countdown(n=self.n - 1)
        if self.n == 0 and calls["broken"]:
            raise ValueError("broken")
        self.save(self.n)


def test_bodies_that_ask_for_each_other_10_000_deep_do_not_recurse():
    assert run(Countdown(n=10_000)).counts == {"built": 10_001}


def test_a_failure_below_bodies_that_ask_10_000_deep_does_not_recurse():
    calls["broken"] = 1
    assert run(Countdown(n=10_000), abort=False).counts == {"failed": 1, "upstream_failed": 10_000}


class Many(d6tpipe.tasks.TaskAggregator):
    n = d6tpipe.IntParameter()

    def run(self):
        if self.n:
            yield Many(n=self.n - 1)
        yield MemoryRung(layer=0, side=self.n)


def test_aggregators_nested_5_000_deep_do_not_recurse():
    top = Many(n=5_000)
    assert run(top).counts == {"built": 10_002}
    assert top.complete()


class Guarded(d6tpipe.tasks.TaskCache):
    n = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return [Guarded(n=self.n - 1)] if self.n else []

    def complete(self, cascade=True):
        calls["complete"] += 1
        return super().complete(cascade)

    def run(self):
        self.save(self.n)


def test_a_complete_of_ones_own_is_asked_once_per_task_however_long_the_chain():
    length = 1_000
    for state in ("built", "fresh"):
        calls.clear()
        result = d6tpipe.run(Guarded(n=length), execution_summary=False)
        assert result.counts == {state: length + 1}
        assert calls["complete"] <= 2 * (length + 1)  # once before, once after the body
        assert calls["requires"] == length + 1


class GuardedFile(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter()

    def requires(self):
        calls["requires"] += 1
        return [GuardedFile(n=self.n - 1)] if self.n else []

    def complete(self, cascade=True):
        return super().complete(cascade)

    def run(self):
        self.output().path.write_bytes(b"written past save()")


def test_checking_a_body_that_does_not_save_asks_nothing_upstream_again():
    length = 200
    calls.clear()
    result = d6tpipe.run(GuardedFile(n=length), execution_summary=False)
    assert result.counts == {"built": length + 1}
    assert calls["requires"] == length + 1
