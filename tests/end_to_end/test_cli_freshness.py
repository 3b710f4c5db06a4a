"""The command line about what has changed: plan, explain, accept, clean, results, and the options for stale tasks."""

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
from pathlib import Path

import pytest
from luigi.task_register import Register

import d6tpipe
from d6tpipe.cli import main

pytestmark = pytest.mark.slow

FLOW = """
import d6tpipe

def scale(numbers, by):
    return [n * by for n in numbers]

class GetData(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save([1, 2, 3])

@d6tpipe.requires(GetData)
class Scale(d6tpipe.tasks.TaskPickle):
    by = d6tpipe.IntParameter(default=2)
    def run(self):
        self.save(scale(self.inputLoad(), self.by))

@d6tpipe.requires(Scale)
class Report(d6tpipe.tasks.TaskJson):
    def run(self):
        self.save(sum(self.inputLoad()))

sweep = d6tpipe.WorkflowMulti(Report, {"a": {"by": 2}, "b": {"by": 3}})
"""
SAME_RESULT = ("[n * by for n in numbers]", "[by * n for n in numbers]")
OTHER_RESULT = ("[n * by for n in numbers]", "[n * by + 1 for n in numbers]")


@pytest.fixture
def fresh(run_python, isolated):
    """Return a function that runs ``d6tpipe <words>`` in a process of its own and returns it, finished."""
    return lambda *words: run_python("-m", "d6tpipe", *words, check=False)


@pytest.fixture
def cli(isolated, capsys, monkeypatch):
    """Return the same in this process, which forgets before each command what it has imported: much quicker."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def call(*words):
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
def project(isolated):
    (isolated / "flow.py").write_text(FLOW)
    return isolated


@pytest.fixture
def built(project, cli):
    done = cli("run", "flow.py:Report")
    assert 0 == done.returncode, done.stderr
    return project


def edit(change, file="flow.py"):
    text = Path(file).read_text()
    assert change[0] in text
    Path(file).write_text(text.replace(*change))


def built_tasks(done):
    """Return the tasks of which the progress says that they were built."""
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("[")]
    return [words[2].partition("(")[0] for words in lines if words[1] == "built"]


# ---- what would run


def test_a_dry_run_says_what_would_run_and_why_and_writes_nothing(cli, built, snapshot):
    edit(OTHER_RESULT)
    os.unlink(next(Path("data/Report").iterdir()))
    before = snapshot(built / "data")
    done = cli("run", "flow.py:Report", "--dry-run", "--stale", "rerun")
    assert (0, "") == (done.returncode, done.stderr)
    assert [
        "would run  Scale(by=2)  code of scale()",
        "would run  Report(by=2)  missing",
        "2 would run, 1 complete. A dry run: nothing was run or written.",
    ] == done.stdout.splitlines()
    assert before == snapshot(built / "data")


def test_a_dry_run_names_what_is_stale_and_what_only_may_run(cli, built):
    edit(OTHER_RESULT)
    assert [
        "stale  Scale(by=2)  code of scale()",
        "0 would run, 1 stale, 2 complete. A dry run: nothing was run or written.",
    ] == cli("run", "flow.py:Report", "--dry-run").stdout.splitlines()
    assert [
        "would run  Scale(by=2)   code of scale()",
        "may run    Report(by=2)  upstream",
        '"may run": only if what it needs comes out differently.',
        "1 would run, 1 may run, 1 complete. A dry run: nothing was run or written.",
    ] == [
        line.replace("  code", "   code")
        for line in cli("run", "flow.py:Report", "--dry-run", "--stale", "rerun").stdout.splitlines()
    ]


def test_a_dry_run_of_what_is_forced_says_so(cli, built):
    done = cli("run", "flow.py:Scale", "--dry-run", "--force")
    assert "would run  Scale(by=2)  forced" in done.stdout


def test_plan_is_a_table_with_the_reason_of_each_task(cli, built, snapshot):
    edit(OTHER_RESULT)
    before = snapshot(built / "data")
    done = cli("plan", "flow.py:Report")
    assert (0, "") == (done.returncode, done.stderr)
    rows = [[cell for cell in line.split("  ") if cell] for line in done.stdout.splitlines()]
    assert ["task", "state", "reasons", "because of"] == [cell.strip() for cell in rows[0]]
    assert ["GetData()", "fresh"] == [cell.strip() for cell in rows[1]]
    assert ["Scale(by=2)", "stale", "code of scale()"] == [cell.strip() for cell in rows[2]]
    assert before == snapshot(built / "data")


def test_a_plan_can_be_read_by_programs(cli, built):
    edit(OTHER_RESULT)
    read = list(csv.DictReader(io.StringIO(cli("plan", "flow.py:Report", "--format", "csv").stdout)))
    assert ["False", "True", "False"] == [row["code"] for row in read]
    loaded = json.loads(cli("plan", "flow.py:Report", "--format", "json", "--stale", "rerun").stdout)
    assert ["fresh", "pending", "pending"] == [row["state"] for row in loaded]


@pytest.mark.parametrize("words", [("explain", "flow.py:Report"), ("run", "flow.py:Report", "--explain")])
def test_explain_shows_what_has_changed_and_writes_nothing(cli, built, snapshot, words):
    edit(OTHER_RESULT)
    before = snapshot(built / "data")
    done = cli(*words, "--stale", "rerun")
    assert (0, "") == (done.returncode, done.stderr)
    assert "-    return [n * by for n in numbers]" in done.stdout
    assert "+    return [n * by + 1 for n in numbers]" in done.stdout
    assert ("nothing was run or written" in done.stdout) == (words[0] == "run")
    assert before == snapshot(built / "data")


def test_explain_answers_for_each_selected_task(cli, built):
    done = cli("explain", "flow.py")
    assert "Scale(by=2) is fresh" in done.stdout and "GetData() is fresh" in done.stdout
    assert "Report(by=3) is to be built" in done.stdout


def test_questions_before_the_first_run_make_nothing(cli, project):
    for words in (
        ("plan", "flow.py"), ("explain", "flow.py"), ("preview", "flow.py", "--stale", "rerun"), ("results",),
        ("accept", "flow.py"), ("accept", "flow.py", "--yes"), ("clean",), ("clean", "flow.py"),
        ("clean", "flow.py", "--yes"), ("run", "flow.py", "--explain"),
    ):  # fmt: skip
        done = cli(*words)
        assert (0, "") == (done.returncode, done.stderr), words
        assert not (project / "data").exists(), words


# ---- options for stale tasks


def test_by_default_stale_tasks_are_named_and_not_run(cli, built):
    edit(OTHER_RESULT)
    done = cli("run", "flow.py:Report")
    assert [] == built_tasks(done)
    assert "Scale(by=2)" in done.stdout and "stale" in done.stdout and "code of scale()" in done.stdout


def test_rerun_builds_stale_tasks_and_stops_where_nothing_has_changed(fresh, built):
    cli = fresh
    edit(SAME_RESULT)
    assert ["Scale"] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))
    edit(SAME_RESULT[::-1])
    edit(OTHER_RESULT)
    assert ["Scale", "Report"] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))
    assert [] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))


def test_ignore_says_nothing_of_stale_tasks(cli, built):
    edit(OTHER_RESULT)
    assert "stale" not in cli("run", "flow.py:Report", "--stale", "ignore").stdout


def test_frozen_for_one_run_is_accepted_for_good(cli, built):
    edit(OTHER_RESULT)
    done = cli("run", "flow.py:Report", "--stale", "rerun", "--freeze", "Scale(by=2)")
    assert [] == built_tasks(done) and "frozen" in done.stdout
    assert [] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))


def test_stale_ok_is_for_one_run_only(cli, built):
    edit(OTHER_RESULT)
    assert [] == built_tasks(
        cli("run", "flow.py:Report", "--stale", "rerun", "--stale-ok", "get", "--stale-ok", "scale")
    )
    assert ["Scale", "Report"] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))


def test_no_freeze_builds_what_its_class_has_frozen(cli, project):
    edit(("    by = d6tpipe", "    freeze = True\n    by = d6tpipe"))
    cli("run", "flow.py:Report")
    edit(OTHER_RESULT)
    plan = cli("plan", "flow.py:Report", "--stale", "rerun")
    assert "frozen" in plan.stdout and "pending" not in plan.stdout
    assert "pending" in cli("plan", "flow.py:Report", "--stale", "rerun", "--no-freeze").stdout
    assert "PENDING" in cli("preview", "flow.py:Report", "--stale", "rerun", "--no-freeze").stdout
    assert "frozen" in cli("preview", "flow.py:Report", "--stale", "rerun", "--freeze", "get").stdout
    assert ["Scale", "Report"] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun", "--no-freeze"))


@pytest.mark.parametrize("command", ["run", "preview", "plan", "explain"])
def test_a_wrong_mode_is_exit_2(cli, project, command):
    done = cli(command, "flow.py:Report", "--stale", "rebuild")
    assert 2 == done.returncode
    assert "rebuild" in done.stderr and "Traceback" not in done.stderr


# ---- accept


def test_accept_shows_what_it_would_record_and_records_it_with_yes(fresh, built, snapshot):
    cli = fresh
    edit(OTHER_RESULT)
    before = snapshot(built / "data")
    done = cli("accept", "flow.py:Report")
    assert (0, "") == (done.returncode, done.stderr)
    assert [
        "would accept  Scale(by=2)  (code of scale())",
        "1 task would be accepted as it is (2 fresh). Nothing was recorded: repeat with --yes.",
    ] == done.stdout.splitlines()
    assert before == snapshot(built / "data")
    done = cli("accept", "flow.py:Report", "--yes")
    assert [
        "accepted  Scale(by=2)  (code of scale())",
        "Accepted 1 task as it is (2 fresh).",
    ] == done.stdout.splitlines()
    assert [] == built_tasks(cli("run", "flow.py:Report", "--stale", "rerun"))
    assert "Nothing to accept (3 fresh).\n" == cli("accept", "flow.py:Report", "--yes").stdout


def test_accept_names_what_is_not_there(cli, built):
    done = cli("accept", "flow.py:Report", "--by", "3", "--yes")
    assert "cannot accept  Report(by=3)  (has no output)" in done.stdout
    assert "Nothing to accept (1 fresh, 2 to be built)." in done.stdout


def test_accept_without_upstream_leaves_what_is_needed_stale(cli, built):
    edit(OTHER_RESULT)
    assert "Nothing to accept (1 fresh)." in cli("accept", "flow.py:Report", "--no-upstream").stdout


HOLDER = """
    import d6tpipe, flow, sys
    from d6tpipe.stores import store_at
    assert store_at("data").locks.acquire(flow.Scale().task_id)
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_accept_of_what_is_being_built_is_exit_1_and_names_the_process(cli, built):
    edit(OTHER_RESULT)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(built), str(Path(d6tpipe.__file__).parents[1])])},
    ) as holder:  # fmt: skip
        assert "holding\n" == holder.stdout.readline()
        done = cli("accept", "flow.py:Report", "--yes")
        holder.communicate()
    assert 1 == done.returncode
    assert f"process {holder.pid}" in done.stderr and "nothing was accepted" in done.stderr
    assert "" == done.stdout
    assert "Traceback" not in done.stderr
    assert "1 task would" in cli("accept", "flow.py:Report").stdout


# ---- clean


def test_clean_deletes_what_no_target_makes_if_yes_is_said(fresh, built, snapshot):
    cli = fresh
    cli("run", "flow.py:Report", "--by", "7")
    before = snapshot(built / "data")
    done = cli("clean", "flow.py")
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert [f"would delete  data{os.sep}Report", f"would delete  data{os.sep}Scale"] == sorted(
        line.rpartition(os.sep)[0] for line in lines[:2]
    )
    assert lines[2].startswith("2 outputs (") and lines[2].endswith("Nothing was deleted: repeat with --yes.")
    assert before == snapshot(built / "data")
    done = cli("clean", "flow.py", "--yes")
    assert "Deleted 2 outputs (" in done.stdout
    assert 3 == len(list(Path("data").rglob("*-data.*")))
    assert "Nothing to delete.\n" == cli("clean", "flow.py", "--yes").stdout


def test_clean_takes_several_targets(cli, built):
    cli("run", "flow.py:Report", "--by", "7")
    Path("more.py").write_text("from flow import Report\nseven = Report(by=7)\n")
    assert "Nothing to delete.\n" == cli("clean", "flow.py:sweep", "more.py").stdout
    assert "would delete" in cli("clean", "more.py").stdout


def test_clean_without_a_target_deletes_what_no_class_makes_any_more(fresh, built):
    cli = fresh
    Path("flow.py").write_text(FLOW.partition("@d6tpipe.requires(Scale)")[0])
    Path("other.py").write_text(FLOW.partition("@d6tpipe")[0].replace("GetData", "Other"))
    cli("run", "other.py")
    Path("other.py").unlink()
    done = cli("clean")
    assert "(there is no class Report in flow any more)" in done.stdout
    assert "keep  " in done.stdout and "its module other cannot be imported" in done.stdout
    assert "1 would be kept" in done.stdout and "d6tpipe clean TARGET" in done.stdout
    assert "Deleted 1 output (" in cli("clean", "--yes").stdout
    assert ["GetData", "Other", "Scale"] == sorted(path.parent.name for path in Path("data").rglob("*-data.*"))


def test_clean_in_another_folder_leaves_this_one(cli, built):
    cli("run", "flow.py:Report", "--by", "7", "--dir", "elsewhere")
    done = cli("clean", "flow.py:Report", "--dir", "elsewhere", "--yes")
    assert "Deleted 2 outputs" in done.stdout
    assert 3 == len(list(Path("data").rglob("*-data.*")))


def test_what_was_changed_by_hand_is_kept_and_named(cli, built):
    cli("run", "flow.py:Report", "--by", "7")
    (path,) = Path("data/Report").glob("Report_7*")
    path.write_text("8")
    done = cli("clean", "flow.py", "--yes")
    assert f"keep  {path}  (has been changed since it was recorded)" in done.stdout
    assert "Deleted 1 output (" in done.stdout and "1 was kept" in done.stdout
    assert "8" == path.read_text()


# ---- results


def test_results_lists_what_is_recorded_the_latest_first(fresh, built, snapshot):
    cli = fresh
    before = snapshot(built / "data")
    done = cli("results")
    assert (0, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    assert ["built", "(UTC)", "task", "state", "seconds", "size", "output"] == lines[0].split()
    assert ["Report(by=2)", "Scale(by=2)", "GetData()"] == [line.split()[2] for line in lines[1:]]
    for line in lines[1:]:
        assert Path(line.split()[-1]).is_file()
    assert before == snapshot(built / "data")


def test_results_can_be_read_by_programs(cli, built):
    read = list(csv.DictReader(io.StringIO(cli("results", "--format", "csv").stdout)))
    assert [{"by": "2"}, {"by": "2"}, {}] == [json.loads(row["parameters"]) for row in read]
    loaded = json.loads(cli("results", "--format", "json").stdout)
    assert ["Report", "Scale", "GetData"] == [row["family"] for row in loaded]
    assert loaded[0]["exists"] is True and loaded[0]["built"].startswith("20")


def test_results_of_failures_and_of_outputs_that_are_gone_say_so(cli, built):
    os.unlink(next(Path("data/Report").iterdir()))
    Path("bad.py").write_text(
        "import d6tpipe\nclass Bad(d6tpipe.tasks.TaskPickle):\n    def run(self):\n        raise ValueError('oh no')\n"
    )
    cli("run", "bad.py")
    lines = cli("results").stdout.splitlines()
    assert "failed" in lines[1] and "ValueError: oh no" in lines[1]
    assert "gone: data" in lines[2]


def test_results_can_be_limited(cli, built):
    done = cli("results", "--limit", "1")
    assert 3 == len(done.stdout.splitlines()) and "... and 2 more: --limit 0 shows all." in done.stdout
    assert 4 == len(cli("results", "--limit", "0").stdout.splitlines())
    assert "Scale" not in cli("results", "--family", "Report").stdout


def test_results_of_nothing_say_where_was_looked(cli, project):
    assert "Nothing is recorded in data (there is no such folder)." in cli("results").stdout
    assert "Nothing is recorded of tasks X in elsewhere" in cli("results", "--dir", "elsewhere", "--family", "X").stdout


READ_ONLY = """
    d6tpipe.set_dir("data")
    class Built(d6tpipe.tasks.TaskPickle):
        version = "2"
        def run(self):
            self.save([1, 2])
    from d6tpipe.acceptance import survey
    print(list(d6tpipe.catalog().state), list(d6tpipe.plan(Built()).state), len(survey(Built()).nodes))
    print(len(d6tpipe.clean(Built())), list(d6tpipe.clean().why))
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_questions_about_records_work_in_a_read_only_folder(as_ordinary_user, common_folder, snapshot):
    class Built(d6tpipe.tasks.TaskPickle):
        version = "1"

        def run(self):
            self.save([1, 2])

    d6tpipe.set_dir(common_folder / "data")
    d6tpipe.run(Built(), execution_summary=False)
    for path in [*common_folder.rglob("*"), common_folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(common_folder)
    done = as_ordinary_user(READ_ONLY)
    assert "['finished'] ['stale'] 1\n0 [" in done.stdout
    assert before == snapshot(common_folder)


# ---- what all commands have in common


@pytest.mark.parametrize("words", [("plan",), ("explain",), ("accept",), ("clean",)])
def test_exit_codes_are_those_of_the_other_commands(cli, project, words):
    Path("broken.py").write_text("1 / 0\n")
    Path("empty.py").write_text("import d6tpipe\n")
    Path("circle.py").write_text(
        "import d6tpipe\nclass A(d6tpipe.tasks.TaskPickle):\n    def requires(self):\n        return A()\n"
        "    def run(self):\n        self.save(1)\n"
    )
    for target, code in (("broken.py", 3), ("nowhere.py", 3), ("circle.py", 4), ("empty.py", 5), ("flow.py:Reprt", 2)):
        done = cli(*words, target)
        assert code == done.returncode, (target, done.stderr)


def test_help_lists_the_commands(cli, project):
    said = cli("--help").stdout
    assert all(f"  {word} " in said for word in ("accept", "clean", "explain", "plan", "results"))
    assert "--stale-ok EXPR" in cli("run", "--help").stdout
