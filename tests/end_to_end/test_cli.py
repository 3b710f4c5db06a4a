"""The command line in fresh processes: targets, parameters, what is printed where, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import d6tpipe
from d6tpipe.cli import main

pytestmark = pytest.mark.slow

FLOW = '''
import d6tpipe

class GetData(d6tpipe.tasks.TaskPickle):
    """The numbers."""
    def run(self):
        self.save([1, 2, 3])

@d6tpipe.requires(GetData)
class Scale(d6tpipe.tasks.TaskPickle):
    """The numbers, multiplied."""
    by = d6tpipe.IntParameter(default=2)
    do_round = d6tpipe.BoolParameter(default=False)
    def run(self):
        print("scaling by", self.by)
        self.save([n * self.by for n in self.inputLoad()])

@d6tpipe.requires(Scale)
class Label(d6tpipe.tasks.TaskPickle):
    label = d6tpipe.Parameter()
    def run(self):
        self.save((self.label, self.inputLoad()))

class Given(d6tpipe.tasks.TaskPickle):
    external = True

class All(d6tpipe.tasks.TaskAggregator):
    def run(self):
        yield Scale(by=2)
        yield Scale(by=3)

class _Hidden(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(0)

flow = d6tpipe.Workflow(Scale, {"by": 5})
sweep = d6tpipe.WorkflowMulti(Label, {"a": {"label": "a"}, "b": {"label": "b"}})
one = Scale(by=7)
some = [Scale(by=8), Scale(by=9)]
nothing = 3
'''

BROKEN = """
import d6tpipe

class Works(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(1)

class Breaks(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.helper()
    def helper(self):
        raise ValueError("the user's own mistake")

class BreaksToo(d6tpipe.tasks.TaskPickle):
    def run(self):
        raise KeyError("second")

@d6tpipe.requires(Breaks)
class Needs(d6tpipe.tasks.TaskPickle):
    def run(self):
        self.save(2)
"""


@pytest.fixture
def cli(run_python, isolated):
    """Return a function that runs ``d6tpipe <words>`` and returns the finished process."""

    def call(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None):
        return run_python("-m", "d6tpipe", *words, cwd=cwd, env=env, check=False)

    return call


@pytest.fixture
def here(capsys):
    """Return the same as `cli`, but in this process: for what needs no process of its own, and much quicker."""

    def call(*words: str):
        code = main(words)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, printed.out, printed.err)

    return call


@pytest.fixture
def project(isolated):
    (isolated / "flow.py").write_text(FLOW)
    (isolated / "broken.py").write_text(BROKEN)
    return isolated


def outputs(folder: Path) -> list[str]:
    """Return task id of every output, without the hashes."""
    return sorted(p.name.rsplit("_", 1)[0] for p in (folder / "data").rglob("*.pkl"))


# ---- the program itself


def test_version_is_printed(cli):
    done = cli("--version")
    assert (done.returncode, done.stdout) == (0, f"d6tpipe, version {d6tpipe.__version__}\n")


def test_help_names_the_commands_and_exit_codes(cli):
    done = cli("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("demo", "run", "list", "preview", "reset", "5 nothing selected"))
    assert "path/to/flow.py:Name" in cli("run", "--help").stdout


@pytest.mark.parametrize("words", [(), ("runn", "flow.py"), ("run",), ("run", "flow.py", "--max-failures", "0")])
def test_wrong_usage_is_exit_2(here, project, words):
    assert here(*words).returncode == 2


# ---- run


def test_a_task_is_run_and_a_second_run_does_nothing(cli, project):
    first = cli("run", "flow.py:Scale")
    assert first.returncode == 0, first.stderr
    assert "[1/2] built GetData()" in first.stderr
    assert "[2/2] built Scale(by=2, do_round=False)" in first.stderr
    assert "2 built" in first.stdout
    assert "\x1b" not in first.stdout + first.stderr
    second = cli("run", "flow.py:Scale")
    assert second.returncode == 0
    assert second.stderr == ""
    assert "nothing was run" in second.stdout
    assert "scaling" not in second.stdout


def test_a_file_runs_everything_in_it_and_says_what_is_left_out(cli, project):
    done = cli("run", "flow.py")
    assert done.returncode == 0, done.stderr
    assert "left out: Label (needs --label)" in done.stderr
    assert "left out: Given (external: its data is made elsewhere)" in done.stderr
    assert "_Hidden" not in done.stdout + done.stderr
    assert outputs(project) == [
        "GetData_", "Label_2_False_a", "Label_2_False_b", "Scale_2_False", "Scale_3_False", "Scale_5_False",
        "Scale_7_False",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("All", ["Scale_2_False", "Scale_3_False"]),
        ("flow", ["Scale_5_False"]),
        ("sweep", ["Label_2_False_a", "Label_2_False_b", "Scale_2_False"]),
        ("one", ["Scale_7_False"]),
        ("some", ["Scale_8_False", "Scale_9_False"]),
    ],
)
def test_whatever_holds_tasks_can_be_named(here, project, name, expected):
    done = here("run", f"flow.py:{name}")
    assert done.returncode == 0, done.stderr
    assert outputs(project) == ["GetData_", *expected]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--by", "4"], "Scale_4_False"),
        (["--by=-4"], "Scale__4_False"),
        (["--by", "-4"], "Scale__4_False"),
        (["--do-round", "true", "--by", "4"], "Scale_4_True"),
        (["--do_round", "--by", "4"], "Scale_4_True"),
        (["--by", "4", "--do-round"], "Scale_4_True"),
        (["--do-round=False"], "Scale_2_False"),
        (["--", "--by", "4"], "Scale_4_False"),
    ],
)
def test_parameters_are_read_as_their_class_reads_them(here, project, words, expected):
    done = here("run", "flow.py:Scale", *words)
    assert done.returncode == 0, done.stderr
    assert expected in outputs(project)


def test_parameters_reach_workflows_and_sweeps(here, project):
    assert here("run", "flow.py:sweep", "--by", "6").returncode == 0
    assert outputs(project) == ["GetData_", "Label_6_False_a", "Label_6_False_b", "Scale_6_False"]


def test_given_parameters_bring_in_what_needs_them(here, project):
    done = here("run", "flow.py", "--label", "mine")
    assert done.returncode == 0, done.stderr
    assert "Label_2_False_mine" in outputs(project)
    assert "left out: Label" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bye", "4"], "Did you mean --by?"),
        (["--do-rond"], "Did you mean --do-round?"),
        (["--forse"], "Did you mean --force?"),
        (["--by"], "--by needs a value"),
        (["--by", "four"], "--by of Scale cannot be read from 'four'"),
        (["--by", "four"], "expected a whole number, got 'four'"),
        (["--by", "1", "--by", "2"], "--by is given twice: 1 and 2"),
        (["stray"], "'stray' is not expected here"),
        (["-z"], "'-z' is not expected here"),
        (["-n", "0"], "a whole number, 1 or more, or 'auto'"),
        (["-n", "-1"], "a whole number, 1 or more, or 'auto'"),
        (["-n", "1.5"], "a whole number, 1 or more, or 'auto'"),
        (["-n", "abc"], "a whole number, 1 or more, or 'auto'"),
        (["--executor", "procesess"], "Did you mean 'processes'?"),
        (["-x", "--max-failures", "2"], "give one of them"),
    ],
)
def test_wrong_parameters_are_exit_2_and_run_nothing(here, project, words, message):
    done = here("run", "flow.py:Scale", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert outputs(project) == []


def test_a_target_after_its_parameters_says_so(here, project):
    done = here("run", "--by", "4", "flow.py:Scale")
    assert done.returncode == 2
    assert "TARGET comes first" in done.stderr


def test_a_missing_parameter_is_exit_2_with_the_call(here, project):
    done = here("run", "flow.py:Label")
    assert done.returncode == 2
    assert "Label needs --label. Write: flow.py:Label --label VALUE" in done.stderr


def test_a_parameter_called_like_an_option_goes_behind_two_dashes(here, project):
    (project / "named.py").write_text(
        "import d6tpipe\nclass T(d6tpipe.tasks.TaskPickle):\n    workers = d6tpipe.IntParameter(default=1)\n"
        "    def run(self):\n        self.save(self.workers)\n"
    )
    assert here("run", "named.py:T", "-n", "1", "--", "--workers", "5").returncode == 0
    assert outputs(project) == ["T_5"]


def test_force_builds_again_what_was_asked_for_and_force_all_everything(here, project):
    here("run", "flow.py:Scale")
    forced = here("run", "flow.py:Scale", "--force")
    assert "[1/1] built Scale" in forced.stderr
    assert "[2/2] built Scale" in here("run", "flow.py:Scale", "--force-all").stderr


def test_dry_run_prints_the_plan_and_writes_nothing(here, project):
    done = here("run", "flow.py:Scale", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "would run  GetData()  missing",
        "would run  Scale(by=2, do_round=False)  missing",
        "2 would run, 0 complete. A dry run: nothing was run or written.",
    ]
    assert not (project / "data").exists()


def test_dir_beats_what_the_file_says(here, project):
    (project / "flow.py").write_text(FLOW + "\nd6tpipe.set_dir('theirs')\n")
    assert here("run", "flow.py:Scale", "--dir", "mine").returncode == 0
    assert (project / "mine" / "GetData").is_dir()
    assert not (project / "theirs").exists()


# ---- failures


def test_a_failed_task_is_exit_1_with_the_users_traceback_and_the_rest_built(cli, project):
    done = cli("run", "broken.py")
    assert done.returncode == 1
    assert outputs(project) == ["Works_"]
    for line in (
        'broken.py", line 10, in run',
        'broken.py", line 12, in helper',
        "ValueError: the user's own mistake",
        "KeyError: 'second'",
    ):
        assert done.stderr.count(line) == 1, done.stderr
    assert os.path.join("d6tpipe", "") + "bodies.py" not in done.stderr
    assert "upstream" in done.stdout


def test_pdb_opens_the_debugger_at_the_frame_that_failed(isolated):
    (isolated / "bad.py").write_text(
        textwrap.dedent(
            """
            import d6tpipe
            class Bad(d6tpipe.tasks.TaskPickle):
                def run(self):
                    secret = 41
                    raise ValueError(secret)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "d6tpipe", "run", "bad.py", "--pdb"],
        input="p secret + 1\nq\n", cwd=isolated, capture_output=True, text=True,
    )  # fmt: skip
    assert "(Pdb) 42" in done.stdout
    assert 1 == done.returncode
    refused = subprocess.run(
        [sys.executable, "-m", "d6tpipe", "run", "bad.py", "--pdb", "-n", "2"],
        cwd=isolated, capture_output=True, text=True,
    )  # fmt: skip
    assert (2, True) == (refused.returncode, "--pdb runs the tasks one by one" in refused.stderr)


def test_trace_opens_the_debugger_where_each_body_begins(isolated):
    (isolated / "steps.py").write_text(
        textwrap.dedent(
            """
            import d6tpipe
            class First(d6tpipe.tasks.TaskPickle):
                isolate, executor, worker_timeout = True, "threads", 100
                def run(self):
                    a = 20
                    b = a + 1
                    self.save(b)
            @d6tpipe.requires(First)
            class Second(d6tpipe.tasks.TaskPickle):
                def run(self):
                    self.save(2 * self.inputLoad())
            """
        )
    )

    def typed(text, *options):
        return subprocess.run(
            [sys.executable, "-m", "d6tpipe", "run", "steps.py:Second", "--trace", *options],
            input=text, cwd=isolated, capture_output=True, text=True,
        )  # fmt: skip

    done = typed("n\nn\np b * 2\nc\np self.inputLoad()\nq\n")
    assert "-> a = 20" in done.stdout and "(Pdb) 42" in done.stdout and "(Pdb) 21" in done.stdout, done.stdout
    assert (1, True) == (done.returncode, "BdbQuit" in done.stderr)
    done = typed("c\n")
    assert "First() begins" not in done.stdout and 0 == done.returncode, done.stderr
    refused = typed("", "--executor", "threads")
    assert (2, True) == (refused.returncode, "--trace runs the tasks one by one" in refused.stderr)


def test_locals_are_shown_on_request(isolated):
    (isolated / "bad.py").write_text(
        textwrap.dedent(
            """
            import d6tpipe
            class Evil:
                def __repr__(self):
                    raise KeyError("no")
            def helper(number):
                evil, long = Evil(), "x" * 1000
                raise ValueError("wrong")
            class Bad(d6tpipe.tasks.TaskPickle):
                def run(self):
                    try:
                        helper(41)
                    except ValueError as error:
                        raise RuntimeError("again") from error
            """
        )
    )
    for options in ([], ["-n", "2"]):
        command = [sys.executable, "-m", "d6tpipe", "run", "bad.py:Bad", *options]
        plain = subprocess.run(command, cwd=isolated, capture_output=True, text=True)
        assert "number = 41" not in plain.stderr
        shown = subprocess.run([*command, "--show-locals"], cwd=isolated, capture_output=True, text=True)
        for words in ("number = 41", "evil = <Evil whose repr raises", "(1002 characters)", "self = Bad()"):
            assert words in shown.stderr, shown.stderr


def test_x_stops_at_the_first_failure(here, project):
    done = here("run", "broken.py", "-x")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert here("run", "broken.py", "--max-failures", "2").stderr.count("Traceback") == 2


def test_an_external_input_that_is_missing_is_exit_1_and_names_the_file(here, project):
    done = here("run", "flow.py:Given")
    assert done.returncode == 1
    assert "Given is external" in done.stderr
    assert str(Path("data") / "Given") in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("target", ["bad.py", "bad:Task"])
def test_a_target_that_cannot_be_imported_is_exit_3_with_the_users_lines(cli, project, text, message, target):
    (project / "bad.py").write_text(text)
    done = cli("run", target)
    assert done.returncode == 3
    assert message in done.stderr
    assert "bad.py" in done.stderr
    assert f"{os.sep}cli.py" not in done.stderr
    assert "importlib" not in done.stderr


def test_a_wrong_declaration_shows_the_users_line_and_our_message_only(cli, project):
    (project / "bad.py").write_text(
        "import d6tpipe\n\nclass T(d6tpipe.tasks.TaskPickle):\n    job = d6tpipe.IntParameter(default=1)\n"
    )
    done = cli("run", "bad.py")
    assert done.returncode == 3
    assert 'bad.py", line 3' in done.stderr
    assert "A parameter cannot be called 'job'" in done.stderr
    assert f"{os.sep}meta.py" not in done.stderr


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("flwo.py", "There is no file flwo.py. Did you mean flow.py?"),
        ("nofolder/flow.py", "There is no file"),
        ("no_such_module:Task", "There is no module no_such_module"),
        ("flow.nope:Task", "There is no module flow.nope"),
        ("json.py", "There is no file json.py"),
    ],
)
def test_a_target_that_is_not_there_is_exit_3(here, project, target, message):
    done = here("run", target)
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_hides_a_loaded_module_says_to_rename_it(cli, project):
    (project / "json.py").write_text(FLOW)
    done = cli("run", "json.py:Scale", cwd=project.parent)
    assert done.returncode == 3
    done = cli("list", str(project / "json.py"), cwd=project.parent)
    assert "Rename the file" in done.stderr


def test_an_unknown_name_is_exit_2_with_the_nearest(here, project):
    done = here("run", "flow.py:Sclae")
    assert done.returncode == 2
    assert "flow.py has no Sclae. Did you mean Scale?" in done.stderr
    assert "is not a task" in here("run", "flow.py:nothing").stderr


@pytest.mark.parametrize("command", ["run", "preview", "reset"])
def test_a_wrong_graph_is_exit_4(here, project, command):
    (project / "circle.py").write_text(
        "import d6tpipe\nclass A(d6tpipe.tasks.TaskPickle):\n    def requires(self):\n        return B()\n"
        "    def run(self):\n        self.save(1)\n"
        "class B(d6tpipe.tasks.TaskPickle):\n    def requires(self):\n        return A()\n"
        "    def run(self):\n        self.save(1)\n"
    )
    done = here(command, "circle.py:A", *(["--upstream"] if command == "reset" else []))
    assert done.returncode == 4
    assert "A() -> B() -> A()" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_requires_that_raises_shows_the_users_own_traceback(here, project):
    (project / "bad.py").write_text(
        "import d6tpipe\nclass A(d6tpipe.tasks.TaskPickle):\n    def requires(self):\n        return 1 / 0\n"
        "    def run(self):\n        self.save(1)\n"
    )
    done = here("run", "bad.py:A")
    assert done.returncode == 4
    assert 'bad.py", line 4, in requires' in done.stderr
    assert f"{os.sep}taskview.py" not in done.stderr


def test_nothing_selected_is_exit_5(here, project):
    (project / "empty.py").write_text("import d6tpipe\nfrom flow import Scale\n")
    for command in ("run", "list", "preview", "reset"):
        done = here(command, "empty.py")
        assert done.returncode == 5
        assert "empty.py holds no task" in done.stderr
    (project / "needy.py").write_text(
        "import d6tpipe\nclass T(d6tpipe.tasks.TaskPickle):\n    x = d6tpipe.IntParameter()\n    def run(self): pass\n"
    )
    done = here("run", "needy.py")
    assert done.returncode == 5
    assert "left out: T (needs --x)" in done.stderr


def test_wrong_settings_are_exit_2(cli, project):
    done = cli("run", "flow.py:Scale", env={"D6TPIPE_DIRR": "x"})
    assert done.returncode == 2
    assert "DIRR" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code", "word"), [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated")])
def test_a_run_that_is_stopped_keeps_what_was_built(project, number, code, word):
    (project / "slow.py").write_text(
        "import d6tpipe, os, signal\n"
        "class A(d6tpipe.tasks.TaskPickle):\n    def run(self):\n        self.save(1)\n"
        "@d6tpipe.requires(A)\nclass B(d6tpipe.tasks.TaskPickle):\n    def run(self):\n"
        f"        os.kill(os.getpid(), signal.{number})\n        self.save(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "d6tpipe", "run", "slow.py:B"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(d6tpipe.__file__).parents[1])},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == code
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert outputs(project) == ["A_"]


def test_a_reader_that_closes_early_is_no_error_message(project):
    for target in ("flow.py:one", "flow.py"):  # little, and more than fits into one buffer
        first = subprocess.Popen(
            [sys.executable, "-m", "d6tpipe", *(["list", target] if target == "flow.py" else ["preview", target])],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(Path(d6tpipe.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert first.stdout is not None and first.stderr is not None
        first.stdout.close()
        said = first.stderr.read()
        first.stderr.close()
        first.wait()
        assert "Exception" not in said and "Traceback" not in said, said


# ---- identity


def test_a_file_given_by_path_is_the_module_that_import_gives(cli, project, tmp_path):
    (project / "flow.py").write_text(FLOW + "\nimport sys\nassert sys.modules[__name__].Scale is Scale\n")
    (project / "neighbour.py").write_text("import flow\nfrom flow import Scale\n")
    (project / "both.py").write_text(
        "from neighbour import Scale\nimport flow\nassert flow.Scale is Scale\n"
        "print(Scale.__module__)\ntask = Scale()\n"
    )
    done = cli("run", str(project / "both.py"), "--dir", str(project / "data"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("flow\n")


def test_what_a_script_built_is_complete_for_the_command_line(cli, project, run_python):
    run_python("-c", "import flow, d6tpipe; d6tpipe.run(flow.Scale())", cwd=project, env={"PYTHONPATH": os.pathsep.join(
        [str(project), str(Path(d6tpipe.__file__).parents[1])])})  # fmt: skip
    assert "nothing was run" in cli("run", "flow.py:Scale").stdout
    assert "nothing was run" in cli("run", "flow:Scale").stdout


# ---- list and preview


def test_list_shows_names_kinds_parameters_and_reasons(here, project):
    done = here("list", "flow.py")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: " ".join(line.split()) for line in done.stdout.splitlines()}
    assert lines["Scale"] == "Scale task --by=2 --do-round=False The numbers, multiplied."
    assert lines["Label"].endswith("--label needs --label")
    assert lines["Given"].startswith("Given external")
    assert lines["All"].startswith("All aggregator")
    assert lines["sweep"].startswith("sweep sweep") and lines["sweep"].endswith("2 x Label")
    assert "_Hidden" not in lines
    assert outputs(project) == []


def test_preview_prints_the_tree_and_builds_nothing(here, project):
    done = here("preview", "flow.py:Scale", "--by", "3")
    assert done.returncode == 0, done.stderr
    assert "└─--[Scale-{'by': '3', 'do_round': 'False'} (PENDING" in done.stdout
    assert "└─--[GetData-{} (PENDING" in done.stdout
    assert not (project / "data").exists()


def test_functional_flows_are_found_by_their_steps(here, project):
    (project / "steps.py").write_text(
        textwrap.dedent("""
        import d6tpipe
        flow = d6tpipe.functional.Workflow()

        @flow.task(d6tpipe.tasks.TaskPickle)
        @flow.params(by=d6tpipe.IntParameter(default=2))
        def numbers(task):
            return [task.by]
        """)
    )
    assert here("run", "steps.py:numbers", "--by", "3").returncode == 0
    assert here("run", "steps.py").returncode == 0
    assert outputs(project) == ["numbers_2", "numbers_3"]


def test_plain_luigi_tasks_are_run_too(here, project):
    (project / "plain.py").write_text(
        textwrap.dedent("""
        import luigi

        class Write(luigi.Task):
            text = luigi.Parameter(default="x")
            def output(self):
                return luigi.LocalTarget(f"plain-{self.text}.txt")
            def run(self):
                with self.output().open("w") as file:
                    file.write(self.text)

        class AllOfThem(luigi.WrapperTask):
            def requires(self):
                return [Write("a"), Write("b")]

        class Needs(luigi.Task):
            must = luigi.IntParameter()
            def run(self):
                pass
        """)
    )
    done = here("run", "plain.py")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in project.glob("plain-*")) == ["plain-a.txt", "plain-b.txt", "plain-x.txt"]
    assert "left out: Needs (needs --must)" in done.stderr


@pytest.mark.parametrize("place", ["flows/lab/steps.py", "flows.lab.steps", "flows/lab/__init__.py"])
def test_a_file_of_a_package_is_imported_as_part_of_it(cli, isolated, place):
    package = isolated / "flows" / "lab"
    package.mkdir(parents=True)
    (isolated / "flows" / "__init__.py").write_text("")
    (package / "config.py").write_text("WORD = 'hello'\n")
    (package / "steps.py").write_text(
        textwrap.dedent("""\
            import d6tpipe as dp
            from .config import WORD
            from flows.lab import config

            class Greet(dp.tasks.TaskPickle):
                def run(self):
                    self.save(WORD + config.WORD)
        """)
    )
    (package / "__init__.py").write_text("from .steps import Greet\n\nGREET = Greet()\n")
    done = cli("list", place if place[-3:] == ".py" else f"{place}:Greet")
    assert done.returncode == 0, done.stderr
    assert "Greet" in done.stdout
    assert cli("run", f"{place}:Greet").returncode == 0
    record = cli("results", "--format", "json").stdout
    assert json.loads(record)[0]["family"].endswith("Greet")
    assert cli("run", f"{place}:Greet").stdout.count("built") == 0


# ---- reset


@pytest.fixture
def built(here, project):
    assert here("run", "flow.py").returncode == 0
    return project


def test_reset_shows_what_it_would_delete_and_deletes_nothing(here, built):
    before = outputs(built)
    done = here("reset", "flow.py:Scale")
    assert done.returncode == 0
    assert done.stdout.startswith("would delete  ")
    assert str(Path("data") / "Scale" / "Scale_2_False_") in done.stdout
    assert "1 output of 1 task would be deleted. Nothing was deleted: repeat with --yes." in done.stdout
    assert outputs(built) == before


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["flow.py:Scale"], ["Scale_2_False"]),
        (["flow.py:Scale", "--by", "7"], ["Scale_7_False"]),
        (["flow.py:Scale", "--upstream"], ["GetData_", "Scale_2_False"]),
        (["flow.py:Scale", "--downstream"], ["Label_2_False_a", "Label_2_False_b", "Scale_2_False"]),
        (["flow.py:All"], ["Scale_2_False", "Scale_3_False"]),
        (["flow.py:All", "-k", "by>=3"], ["Scale_3_False"]),
        (["flow.py:Scale", "-k", "Scale"], ["Scale_2_False"]),
        (["flow.py:Scale", "-k", "Scale", "--upstream"], ["GetData_", "Scale_2_False"]),
        (["flow.py:sweep"], ["Label_2_False_a", "Label_2_False_b"]),
    ],
)
def test_reset_deletes_exactly_what_was_asked_for(here, built, words, gone):
    before = outputs(built)
    done = here("reset", *words, "--yes")
    assert done.returncode == 0, done.stderr
    assert sorted(set(before) - set(outputs(built))) == gone
    assert f"Deleted {len(gone)} output" in done.stdout


def test_reset_selects_nothing_of_what_the_target_requires(here, built):
    before = outputs(built)
    done = here("reset", "flow.py:Scale", "-k", "GetData", "--yes")
    assert done.returncode == 5 and "No task is selected" in done.stderr
    assert outputs(built) == before


def test_reset_of_a_whole_file_spares_external_data(here, built):
    given = built / "data" / "Given" / "Given__99914b932b-data.pkl"
    given.parent.mkdir()
    given.write_bytes(b"precious")
    here("reset", "flow.py", "--upstream", "--downstream", "--yes")
    here("reset", "flow.py:Given", "--yes")
    assert outputs(built) == ["Given_"]
    assert "Nothing to delete" in here("reset", "flow.py").stdout
