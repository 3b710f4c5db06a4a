"""FlowExport writes classes that read existing outputs; FlowImport loads such a file."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

from observe import attempt, files, main, observation, plain, printed, ran, taken

import d6tflow


class Raw(d6tflow.tasks.TaskJson):
    day = d6tflow.DateParameter(default=datetime.date(2020, 1, 2))
    rate = d6tflow.FloatParameter(default=0.5)

    def run(self):
        ran(self)
        self.save({"rate": self.rate})


@d6tflow.requires(Raw)
class Fit(d6tflow.tasks.TaskPickle):
    persist = ["model", "score"]
    name = d6tflow.Parameter(default='it\'s "fit"')
    deep = d6tflow.BoolParameter(default=True)
    layers = d6tflow.ListParameter(default=[1, 2])

    def run(self):
        ran(self)
        self.save({"model": self.name, "score": self.inputLoad()["rate"]})
        self.saveMeta({"kept": True})


class Placed(d6tflow.tasks.TaskPickle):
    path = "special/place"

    def run(self):
        self.save("placed")


class Hidden(d6tflow.tasks.TaskPickle):
    export = False

    def run(self):
        self.save("not exported")


READ_BACK = """
import json, sys
import d6tflow, {module} as exported
seen = {{}}
for name in {names}:
    task = getattr(exported, name)()
    kind = type(task).__mro__[1].__name__
    seen[name] = [task.complete(), task.outputLoad(), kind, task.external, task.persist]
print(json.dumps(seen, default=str))
"""


def read_back(module, *names):
    """Import the exported file in a new process, as the colleague does who was given it, and load."""
    code = READ_BACK.format(module=module, names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1].partition(":")[0]}
    return json.loads(done.stdout.splitlines()[-1])


@observation
def export_to_a_file():
    d6tflow.run(Fit(name="a", layers=[3]))
    d6tflow.FlowExport(tasks=[Fit(name="a", layers=[3]), Raw()], save=True, path_export="exported.py").generate()
    text = Path("exported.py").read_text()
    seen = {"classes": sorted(line for line in text.splitlines() if line.startswith("class "))}
    seen["read back"] = read_back("exported", "Fit", "Raw")
    seen["reading ran"] = taken()[2:]
    return seen


@observation
def export_of_a_flow():
    flow = d6tflow.Workflow(Fit, {"name": "flow", "rate": 0.75})
    flow.run()
    d6tflow.FlowExport(flows=flow, save=True, path_export="flow_tasks.py").generate()
    return {"read back": read_back("flow_tasks", "Fit", "Raw")}


@observation
def export_of_a_flow_with_a_path():
    flow = d6tflow.Workflow(Fit, {"name": "pathed", "rate": 0.25}, path="over/there")
    flow.run()
    d6tflow.FlowExport(flows=[flow], save=True, path_export="pathed_tasks.py").generate()
    return {"read back": read_back("pathed_tasks", "Fit", "Raw"), "files": files("over")}


@observation
def export_prints():
    d6tflow.run(Fit())
    text = printed(d6tflow.FlowExport(tasks=Fit()).generate)
    Path("printed_tasks.py").write_text(text)
    lines = [line.replace(" = ", "=").strip() for line in text.splitlines() if line.strip()]
    seen = {"class": [line for line in lines if line.startswith(("class", "external", "persist"))]}
    seen["parameters"] = [line.partition("=")[0] for line in lines if "Parameter" in line]
    seen["defaults"] = [line.partition("default=")[2] for line in lines if "Parameter" in line]
    seen["read back"] = read_back("printed_tasks", "Fit")
    seen["files"] = [name for name in files(".") if not name.startswith("__pycache__")]
    return seen


@observation
def the_text_is_python_for_d6tflow():
    text = printed(d6tflow.FlowExport(tasks=Raw()).generate)
    return {
        "imports d6tflow": "import d6tflow" in text.splitlines(),
        "compiles": bool(compile(text, "text", "exec")),
    }


@observation
def class_attributes_are_exported():
    d6tflow.run([Placed(), Hidden()])
    text = printed(d6tflow.FlowExport(tasks=[Placed(), Hidden()]).generate)
    Path("placed_tasks.py").write_text(text)
    seen = {"classes": [line.partition("(")[0] for line in text.splitlines() if line.startswith("class ")]}
    seen["read back"] = read_back("placed_tasks", "Placed")
    return seen


@observation
def nothing_to_export():
    return {"generate": attempt(d6tflow.FlowExport().generate)}


@observation
def the_name_of_the_file():
    d6tflow.FlowExport(tasks=Raw(), save=True).generate()
    return {"files": [path.name for path in Path().glob("*.py")]}


TASKS = """
import d6tflow

class Shared(d6tflow.tasks.TaskPickle):
    n = d6tflow.IntParameter(default=1)
    def run(self):
        self.save(self.n)

NOT_A_TASK = 5
"""


@observation
def import_a_module():
    Path("project").mkdir()
    Path("project/shared_tasks.py").write_text(TASKS)
    found = d6tflow.FlowImport(path="project", module="shared_tasks", path_data="its/data")
    task = found.tasks.Shared(n=4)
    d6tflow.run(task)
    return {
        "names": sorted(found.tasks),
        "item": found.tasks["Shared"].__name__,
        "missing": attempt(lambda: found.tasks.Missing),
        "dirpath": plain(found.dirpath),
        "loaded": task.outputLoad(),
        "with suffix": sorted(d6tflow.FlowImport("project", "shared_tasks.py", "d").tasks),
        "files": files(),
    }


@observation
def import_with_an_absolute_data_path():
    Path("shared_tasks2.py").write_text(TASKS)
    found = d6tflow.FlowImport(path=".", module="shared_tasks2", path_data=Path("abs").resolve())
    return {"dirpath": plain(Path(found.dirpath))}


@observation
def import_of_what_is_not_there():
    Path("broken_tasks.py").write_text("import no_such_module_at_all\n")
    return {
        "missing file": attempt(lambda: d6tflow.FlowImport(path=".", module="nothing", path_data="d")),
        "broken module": attempt(lambda: sorted(d6tflow.FlowImport(".", "broken_tasks", "d").tasks)),
        "no data path": attempt(lambda: sorted(d6tflow.FlowImport(".", "nothing_either").tasks)),
    }


if __name__ == "__main__":
    main()
