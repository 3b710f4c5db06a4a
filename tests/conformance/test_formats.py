"""Every built-in format against the same suite."""

from __future__ import annotations

import datetime
import importlib.util
import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from d6tpipe import plugins
from d6tpipe.testing import FORMAT_CHECKS, FormatCase


def frames_equal(one: Any, other: Any) -> bool:
    pd.testing.assert_frame_equal(one, other)
    return True


FRAME = pd.DataFrame({"a": [1, 2, 3], "b": [0.1, math.pi, 1e-300], "c": ["x", "y", "ü"]})
NOT_FRAMES = [FRAME["a"], {"a": 1}, None, [1, 2], "text"]

CASES: dict[str, Callable[[], FormatCase]] = {
    "pickle": lambda: FormatCase([None, {"a": (1, {2})}, b"x" * 200_000, datetime.date(2020, 1, 1)]),
    "json": lambda: FormatCase(
        [None, {}, [], "ü\n", 1, 1.5, True, {"a": [1, {"b": None}]}],
        wrong=[{1, 2}, object(), {"a": b"x"}, {(1, 2): 3}],
    ),
    "text": lambda: FormatCase(["", "ü", "a\r\nb\rc\n"], wrong=[b"a", 1, None], detects_damage=False),
    "bytes": lambda: FormatCase([b"", b"\x00\xff\r\n"], wrong=["a", bytearray(b"a"), None], detects_damage=False),
    "parquet": lambda: FormatCase([FRAME, FRAME.set_index("c"), FRAME.iloc[:0]], wrong=NOT_FRAMES, equal=frames_equal),
    "csv": lambda: FormatCase([FRAME], wrong=NOT_FRAMES[1:], equal=frames_equal, detects_damage=False),
    "csv.gz": lambda: FormatCase([FRAME], wrong=NOT_FRAMES[1:], equal=frames_equal),
    "excel": lambda: FormatCase([FRAME], wrong=NOT_FRAMES[1:], equal=frames_equal),
    "hdf": lambda: FormatCase([FRAME[["a", "b"]], FRAME.set_index("c")], wrong=[{"a": 1}, None], equal=frames_equal),
}

NEEDS = {"excel": "openpyxl", "hdf": "tables"}


@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_format(name: str, check: Callable[[Any, FormatCase, str], None], tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    check(plugins.load("formats", name), CASES[name](), str(tmp_path))


def test_every_built_in_format_is_in_the_suite_or_needs_a_library_that_tests_do_not_install() -> None:
    assert {"torch", "keras", "datatable"} == set(plugins.BUILTIN["formats"]) - set(CASES)


# Prints {"format number": digest of the file}; values that the hash seed, the time or the file name could get into.
SAVE = """
import datetime, json, os, sys, warnings
import numpy as np, pandas as pd
from d6tpipe import plugins

folder, names = sys.argv[1], sys.argv[2:]
words = [f"word {n}" for n in range(50)]
frame = pd.DataFrame(
    {"a": [1, 2, 3], "b": [0.1, 2.5, None], "c": ["x", "y", None], "t": pd.to_datetime(["2020-01-01"] * 3)}
)
mixed = frame.assign(k=pd.Categorical(["u", "v", "u"]), n=pd.Categorical([2, 1, 2]))
mixed.attrs = {word: 1 for word in words}
values = {
    "pickle": [{word: 1 for word in words}, mixed, np.arange(10), set(range(100)), datetime.date(2020, 1, 1)],
    "json": [{word: [1, "b", None] for word in words}],
    "text": ["text"],
    "bytes": [b"bytes"],
    "parquet": [mixed, frame.set_index(["a", "c"])],
    "csv": [mixed],
    "csv.gz": [mixed],
    "excel": [mixed],
    "hdf": [frame[["a", "b", "t"]], frame, frame["a"], frame.set_index(["a", "c"])],
}
warnings.simplefilter("ignore")
for name in names:
    form = plugins.load("formats", name)
    for number, value in enumerate(values[name]):
        form.save(value, os.path.join(folder, f".tmp-{os.getpid()}-{name}-{number}.{form.suffix}"))
digest = plugins.load("files", "local").digest
print(json.dumps({name.partition("-")[2].partition("-")[2]: digest(os.path.join(folder, name)).hex()
                  for name in sorted(os.listdir(folder))}))
"""


@pytest.mark.slow
def test_the_same_value_gives_the_same_bytes_in_another_process_at_another_time(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    names = [name for name in CASES if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]
    found = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        done = run_python("-c", SAVE, str(tmp_path / seed), *names, env={"PYTHONHASHSEED": seed})
        found.append(json.loads(done.stdout))
        end = time.time() + 2  # the time in a zip file is even
        while not found[1:] and time.time() < end:
            time.sleep(0.1)
    assert found[0] == found[1]
    assert set(names) == {name.partition("-")[0] for name in found[0]}
