"""``d6tpipe results TARGET``: the table of a target's tasks, selected, sorted, for people and for programs."""

from __future__ import annotations

import csv
import importlib
import io
import json
import linecache
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.cli import main

pytestmark = pytest.mark.slow

FLOW = """
import datetime
import d6tpipe

class Prepare(d6tpipe.tasks.TaskPickle):
    subset = d6tpipe.Parameter()
    day = d6tpipe.DateParameter(default=datetime.date(2024, 2, 29))
    def run(self):
        self.save(self.subset)

class Fit(d6tpipe.tasks.TaskPickle):
    data = d6tpipe.TaskInstanceParameter(Prepare)
    model = d6tpipe.Parameter(default="ols")
    def run(self):
        self.saveMeta({"score": len(self.model) + ord(self.data.subset) / 1000, "size": {"rows": 3}})
        self.save(1)

class Both(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield FITS["north_ols"], FITS["south_tree"]

class Lone(d6tpipe.tasks.TaskPickle):
    n = d6tpipe.IntParameter(default=1)
    def run(self):
        self.saveMeta({"score": float("nan")})
        self.save(self.n)

PREPARED = d6tpipe.sweep(Prepare, {"north": {"subset": "n"}, "south": {"subset": "s"}})
FITS = d6tpipe.sweep(Fit, d6tpipe.product(data=PREPARED, model=["ols", "tree"]), id="{data}_{model}",
                     marks={"north_tree": "slow"})
flows = d6tpipe.WorkflowMulti(Lone, {"small": {"n": 1}, "large": {"n": 9}})
"""


@pytest.fixture
def cli(
    isolated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ``d6tpipe <words>`` here, with modules forgotten before each command."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(f"{isolated}{os.sep}"):
                del sys.modules[name]
                Register._reg[:] = [cls for cls in Register._reg if cls.__module__ != name]
        importlib.invalidate_caches()
        linecache.checkcache()
        d6tpipe.set_dir("data")
        code = main(words)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, printed.out, printed.err)

    return call


@pytest.fixture
def built(isolated: Path, cli: Callable[..., Any]) -> Path:
    (isolated / "flow.py").write_text(FLOW)
    assert 0 == cli("run", "flow.py:FITS").returncode
    return isolated


def rows(done: Any) -> list[list[str]]:
    assert (0, "") == (done.returncode, done.stderr)
    return [line.split() for line in done.stdout.splitlines()]


def ids(done: Any) -> list[str]:
    return [row[0] for row in rows(done)[1:]]


def test_a_sweep_is_a_table_with_its_ids_in_order(cli, built, snapshot):
    before = snapshot(built / "data")
    header, *found = rows(cli("results", "flow.py:FITS"))
    assert ["id", "data", "model", "score", "size.rows", "state", "seconds"] == header
    assert ["north_ols", "north", "ols", "3.11", "3", "fresh"] == found[0][:-1]
    assert ["north_ols", "north_tree", "south_ols", "south_tree"] == [row[0] for row in found]
    assert before == snapshot(built / "data")


def test_it_is_the_same_in_a_process_of_its_own(built, run_python):
    done = run_python("-m", "d6tpipe", "results", "flow.py:FITS", "--limit", "1")
    header, row, more = done.stdout.splitlines()
    assert "north_ols" in row and "... and 3 more: --limit 0 shows all." == more and header.startswith("id")


def test_flows_of_a_workflow_are_called_by_their_names(cli, built):
    header, *found = rows(cli("results", "flow.py:flows"))
    assert ["flow", "n", "state", "seconds"] == header
    assert [["small", "1", "missing"], ["large", "9", "missing"]] == found


def test_a_task_is_a_table_of_one_with_the_parameters_given(cli, built):
    assert [["task", "n", "state", "seconds"], ["Lone(n=4)", "4", "missing"]] == rows(
        cli("results", "flow.py:Lone", "--n", "4")
    )


def test_an_aggregator_stands_for_its_tasks(cli, built):
    assert ["north_ols", "south_tree"] == ids(cli("results", "flow.py:Both"))


def test_a_file_is_a_table_of_all_its_tasks(cli, built):
    done = cli("results", "flow.py", "--format", "json")
    found = json.loads(done.stdout)
    assert {"flow.Fit[north_ols]", "flow.Prepare[north]", "Lone(n=1)"} < {row["task"] for row in found}
    assert {"day", "subset", "data", "model", "n", "score", "state"} < set(found[0])


def test_programs_get_all_rows_and_typed_values(cli, built):
    read = list(csv.DictReader(io.StringIO(cli("results", "flow.py:FITS", "--format", "csv", "--limit", "1").stdout)))
    assert 4 == len(read) and ("north_ols", "3.11") == (read[0]["id"], read[0]["score"])
    loaded = json.loads(cli("results", "flow.py:PREPARED", "--format", "json").stdout)
    assert {"id": "south", "subset": "s", "state": "fresh"} == {
        name: loaded[1][name] for name in ("id", "subset", "state")
    }
    assert loaded[0]["day"].startswith("2024-02-29")
    assert "2024-02-29" == rows(cli("results", "flow.py:PREPARED"))[1][2]


def test_rows_are_sorted_by_a_column_either_way_and_what_has_no_value_comes_last(cli, built):
    assert ["south_tree", "north_tree", "south_ols", "north_ols"] == ids(
        cli("results", "flow.py:FITS", "--sort", "score")
    )
    assert "north_ols" == ids(cli("results", "flow.py:FITS", "--sort", "-score"))[0]
    assert ["ols", "ols", "tree", "tree"] == [
        row[2] for row in rows(cli("results", "flow.py:FITS", "--sort", "model"))[1:]
    ]
    cli("reset", "flow.py:FITS", "--yes", "-k", "[south_tree] or [north_ols]")
    for column in ("score", "-score"):
        assert {"south_tree", "north_ols"} == set(ids(cli("results", "flow.py:FITS", "--sort", column))[2:])


def test_an_unknown_column_is_a_usage_error_with_the_nearest(cli, built):
    done = cli("results", "flow.py:FITS", "--sort", "scroe")
    assert 2 == done.returncode and "Did you mean score?" in done.stderr


def test_expressions_select_among_the_tasks_of_the_target_alone(cli, built):
    assert ["south_ols", "south_tree"] == ids(cli("results", "flow.py:FITS", "-k", "data.subset=s"))
    assert ["north_tree"] == ids(cli("results", "flow.py:FITS", "-m", "slow"))
    done = cli("results", "flow.py:FITS", "-k", "[north]")  # needed by the tasks, but not one of them
    assert 5 == done.returncode and "No task is selected" in done.stderr


def test_a_wrong_expression_is_told(cli, built):
    assert 4 == cli("results", "flow.py:FITS", "-k", "score >").returncode


def test_only_tasks_of_a_class(cli, built):
    assert ["Lone(n=1)"] == ids_of_family(cli, "Lone")
    done = cli("results", "flow.py:FITS", "--family", "Lone")
    assert 5 == done.returncode and "Fit" in done.stderr


def ids_of_family(cli: Any, family: str) -> list[str]:
    found = json.loads(cli("results", "flow.py", "--family", family, "--format", "json").stdout)
    return [row["task"] for row in found if row["n"] == 1]


def test_values_of_parameters_make_changed_copies(cli, built):
    found = rows(cli("results", "flow.py:FITS", "--model", "new"))
    assert ["task", "data", "model", "state", "seconds"] == found[0] and 3 == len(found)


def test_without_a_target_the_folder_is_listed_and_can_be_sorted(cli, built):
    done = cli("results", "--sort", "family", "--limit", "0")
    assert ["Fit"] * 4 + ["Prepare"] * 2 == [row[2].partition("(")[0] for row in rows(done)[1:]]
    assert 2 == cli("results", "--sort", "nothing").returncode


def test_options_that_need_a_target_or_do_not_exist_are_usage_errors(cli, built):
    done = cli("results", "-k", "ols")
    assert 2 == done.returncode and "TARGET" in done.stderr
    done = cli("results", "--famly", "Fit")
    assert 2 == done.returncode and "--famly" in done.stderr
    done = cli("results", "flow.py:FITS", "--modle", "x")
    assert 2 == done.returncode and "Did you mean --model?" in done.stderr


def test_a_sweep_is_listed_as_a_target(cli, built):
    found = {row[0]: row[1:] for row in rows(cli("list", "flow.py"))[1:]}
    assert "sweep" == found["FITS"][0] and ["4", "x", "Fit"] == found["FITS"][-3:]


def test_the_command_line_tolerates_what_a_sweep_tolerates_and_takes_lists_of_sweeps(cli, isolated):
    (isolated / "tolerant.py").write_text(
        textwrap.dedent("""\
            import d6tpipe as dp

            class Odd(dp.tasks.TaskPickle):
                n = dp.IntParameter()

                def run(self):
                    if self.n == 0:
                        raise ValueError("zero")
                    self.save(self.n)

            SOME = dp.sweep(Odd, n=[0, 1, 2], tolerance=1)
            STRICT = dp.sweep(Odd, n=[0, 3])
            LIST = [SOME, Odd(n=9)]
            NONE = dp.sweep(Odd, {})
        """)
    )
    assert 0 == cli("run", "tolerant.py:SOME").returncode
    assert 0 == cli("run", "tolerant.py:LIST").returncode
    assert 1 == cli("run", "tolerant.py:STRICT").returncode
    done = cli("run", "tolerant.py:NONE")
    assert 5 == done.returncode and "tolerant.py:NONE holds no tasks" in done.stderr
