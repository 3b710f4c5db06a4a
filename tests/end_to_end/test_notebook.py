"""In notebooks classes are made again and again, and a script is also a module: which definition counts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def cells_output(*cells: str) -> list[str]:
    """Run a notebook of these cells in a fresh kernel; return what each has printed or shown."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    os.environ["PYTHONPATH"] = str(ROOT)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": os.getcwd()}}).execute()
    return [
        "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
        for cell in notebook.cells
    ]


notebooks = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

START = """
    import d6tflow
    d6tflow.settings.execution_summary = False
    d6tflow.set_dir("data")
"""

CLASSES = """
    class Get(d6tflow.tasks.TaskPickle):
        n = d6tflow.IntParameter(default=1)
        def run(self):
            print("ran the {version} Get")
            self.save("{version}")

    @d6tflow.requires(Get)
    class Use(d6tflow.tasks.TaskPickle):
        def run(self):
            print("ran the {version} Use")
            self.save(self.inputLoad() + "/{version}")
"""

DOWNSTREAM_ONLY = """
    class Last(d6tflow.tasks.TaskPickle):
        def requires(self):
            return old
        def run(self):
            print("ran Last")
            self.save(self.inputLoad())
"""


@notebooks
@pytest.mark.slow
def test_a_cell_run_again_makes_the_graph_use_its_classes(isolated):
    old, new = CLASSES.replace("{version}", "old"), CLASSES.replace("{version}", "new")
    printed = cells_output(
        START,
        old,
        "old = Use()\nd6tflow.run(old)\nold.outputLoad()",
        new,
        "Use().complete()",
        "d6tflow.run(Use(), forced_all_upstream=True)\nUse().outputLoad()",
        # an instance made before the cell was run again: the new class runs
        "old.reset(confirm=False); d6tflow.run(old); old.outputLoad()",
        DOWNSTREAM_ONLY,
        "Get().reset(confirm=False); d6tflow.run(Last(), stale='ignore'); Last().outputLoad()",
        # one graph that holds both definitions
        "d6tflow.taskflow_upstream(Last())[1].__class__ is Use, len(d6tflow.taskflow_upstream(Last()))",
    )
    assert "ran the old Get" in printed[2] and "'old/old'" in printed[2]
    assert "True" == printed[4]
    assert "ran the new Get\nran the new Use" in printed[5] and "old" not in printed[5]
    assert "ran the new Use" in printed[6] and "old" not in printed[6]
    assert "ran the new Get\nran the new Use\nran Last" in printed[8] and "old" not in printed[8]
    assert "(True, 3)" == printed[9]


@notebooks
@pytest.mark.slow
def test_only_the_upstream_cell_run_again_is_used_by_classes_of_older_cells(isolated):
    """`requires` keeps the class that it was given; the graph looks for the newest of that name."""
    get, use = textwrap.dedent(CLASSES).split("@d6tflow", 1)
    printed = cells_output(
        START,
        get.replace("{version}", "old"),
        "@d6tflow" + use.replace("{version}", "same"),
        "d6tflow.run(Use()); Use().outputLoad()",
        get.replace("{version}", "new"),
        "d6tflow.run(Use(), forced_all_upstream=True); Use().outputLoad()",
    )
    assert "'old/same'" in printed[3]
    assert "ran the new Get" in printed[5] and "'new/same'" in printed[5]


@notebooks
@pytest.mark.slow
def test_a_parameter_added_in_a_cell_run_again_is_known_at_once(isolated):
    printed = cells_output(
        START,
        CLASSES.replace("{version}", "old"),
        "d6tflow.run(Use(n=2))",
        CLASSES.replace("{version}", "new").replace(
            "default=1)", "default=1)\n        m = d6tflow.IntParameter(default=5)"
        ),
        "d6tflow.run(Use(n=2, m=6)); d6tflow.preview(Use(n=2, m=6))",
    )
    assert "ran the new Get\nran the new Use" in printed[4]
    assert "'m': '6'" in printed[4]


@notebooks
@pytest.mark.slow
def test_a_session_goes_from_cell_to_cell_until_classes_are_defined_again(isolated):
    old, new = CLASSES.replace("{version}", "old"), CLASSES.replace("{version}", "new")
    printed = cells_output(
        START,
        old,
        "session = d6tflow.Session('night', workers=2).open()\nsession.submit([Use(n=n) for n in range(3)])\nsession",
        "session.wait()",
        "session.submit(Use(n=3))",
        new,
        "try:\n    session.submit(Use(n=4))\nexcept Exception as error:\n    print(error)",
        "session.close()\nwith d6tflow.Session('night') as session:\n    session.submit([Use(n=3), Use(n=5)])",
        "Use(n=1).outputLoad(), Use(n=3).outputLoad(), Use(n=5).outputLoad()",
    )
    assert "<Session 'night', open>" in printed[2]
    assert printed[3] == "<Result ok: 6 built>"
    assert "'Use' was defined again while a session was open" in printed[6] and "Close the session" in printed[6]
    assert printed[8] == "('old/old', 'old/old', 'new/new')"


@notebooks
@pytest.mark.slow
def test_a_run_in_a_cell_prints_and_ends(isolated):
    printed = cells_output(
        "import d6tflow; d6tflow.set_dir('data')",
        CLASSES.replace("{version}", "old"),
        "result = d6tflow.run(Use())\nresult.ok",
        "d6tflow.preview(Use())",
    )
    assert "2 built" in printed[2] and printed[2].endswith("True")
    assert "[Use-{'n': '1'}" in printed[3] and "COMPLETE" in printed[3]


# ---- a script and the module of the same file

SCRIPT = """
    import d6tpipe

    d6tpipe.set_dir("data")

    class Get(d6tpipe.tasks.TaskPickle):
        n = d6tpipe.IntParameter(default=1)
        def run(self):
            print("ran Get")
            self.save(self.n)

    class Use(d6tpipe.tasks.TaskPickle):
        def requires(self):
            return Get()
        def run(self):
            print("ran Use")
            self.save(self.inputLoad())

    if __name__ == "__main__":
        print(d6tpipe.run(Use(), execution_summary=False).ok)
"""

BOTH = """
    if __name__ == "__main__":
        import flow
        result = d6tpipe.run([Use(), flow.Use(), flow.Get(n=2)], execution_summary=False)
        print(len(result.states), result.ok)
"""


def python(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_a_script_built_is_complete_for_the_module_of_the_same_file(isolated):
    Path("flow.py").write_text(textwrap.dedent(SCRIPT))
    assert "ran Get\nran Use\nTrue\n" == python("flow.py")
    assert "True\nTrue\n" == python(
        "-c", "import flow, d6tpipe\nprint(flow.Use().complete())\n"
        "print(d6tpipe.run(flow.Use(), execution_summary=False).ok)"
    )  # fmt: skip
    assert "True\n" == python("flow.py")


@pytest.mark.slow
def test_a_script_and_its_own_module_in_one_graph_are_one(isolated):
    Path("flow.py").write_text(textwrap.dedent(SCRIPT).split('if __name__ == "__main__"')[0] + textwrap.dedent(BOTH))
    assert ["3 True", "ran Get", "ran Get", "ran Use"] == sorted(python("flow.py").splitlines())


@pytest.mark.slow
def test_a_script_run_as_a_module_is_the_same_again(isolated):
    Path("flow.py").write_text(textwrap.dedent(SCRIPT))
    python("flow.py")
    assert "True\n" == python("-m", "flow")
