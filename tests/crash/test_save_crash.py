"""Outputs after a kill at every step of writing: each is old or new as a whole, and what is left over is swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from d6tpipe.failpoints import VARIABLE
from d6tpipe.storage.files import LOCAL, temporary_owner

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed"),
]

# The package itself would load luigi, a quarter of a second for each process.
WRITE = f"""
import os, sys, types
package = types.ModuleType("d6tpipe")
package.__path__ = [{str(ROOT / "d6tpipe")!r}]
sys.modules["d6tpipe"] = package

from d6tpipe.storage.files import LOCAL

way, folder = sys.argv[1:]
paths = [os.path.join(folder, name) for name in "abc"]

def whole(temporary):
    with open(temporary, "wb") as file:
        file.write(b"new")

def tree(temporary):
    os.mkdir(temporary)
    whole(os.path.join(temporary, "inside"))

if way == "write":
    LOCAL.write(paths[0], whole)
elif way == "stream":
    LOCAL.write_stream(paths[0], lambda stream: stream.write(b"new"))
elif way == "folder":
    LOCAL.write(paths[0], tree)
else:
    with LOCAL.together() as group:
        for path in paths:
            group.write_stream(path, lambda stream: stream.write(b"new"))
print("done")
"""


def start(way: str, folder: Path, point: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITE, way, str(folder)],
        env={**os.environ, VARIABLE: point}, capture_output=True, text=True,
    )  # fmt: skip


def content(path: Path) -> str:
    if not path.exists():
        return "missing"
    return (path / "inside" if path.is_dir() else path).read_text()


CASES = [
    ("write", "write.opened", ["before"]),
    ("write", "write.filled", ["before"]),
    ("write", "write.renamed", ["new"]),
    ("stream", "write.opened", ["before"]),
    ("stream", "write.filled", ["before"]),
    ("stream", "write.renamed", ["new"]),
    ("folder", "write.opened", ["before"]),
    ("folder", "write.filled", ["before"]),
    ("folder", "write.aside", ["missing"]),  # no call of the system exchanges two folders
    ("folder", "write.renamed", ["new"]),
    ("together", "write.opened*3", ["before"] * 3),
    ("together", "write.filled*3", ["before"] * 3),
    ("together", "write.renamed", ["new", "before", "before"]),
    ("together", "save.between", ["new", "before", "before"]),
    ("together", "save.between*2", ["new", "new", "before"]),
    ("together", "write.renamed*3", ["new"] * 3),
]


@pytest.mark.parametrize(
    ("way", "point", "after", "before"),
    # Where nothing was, nothing is put aside.
    [
        (*case, before)
        for case in CASES
        for before in ("old", "missing")
        if (case[1], before) != ("write.aside", "missing")
    ],
)
def test_killed_at_any_step_every_output_is_whole_and_the_rest_is_swept(
    way: str, point: str, after: list[str], before: str, tmp_path: Path
) -> None:
    names = "abc"[: len(after)]
    if before == "old":
        for name in names:
            path = tmp_path / name
            if way == "folder":
                path.mkdir()
                path = path / "inside"
            path.write_text("old")

    assert -signal.SIGKILL == start(way, tmp_path, point).returncode

    assert [before if word == "before" else word for word in after] == [content(tmp_path / name) for name in names]
    left = [name for name in os.listdir(tmp_path) if temporary_owner(name)]
    assert len(left) == LOCAL.sweep(str(tmp_path))
    assert set(os.listdir(tmp_path)) == {name for name in names if (tmp_path / name).exists()}
    done = start(way, tmp_path, "")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert ["new"] * len(names) == [content(tmp_path / name) for name in names]
