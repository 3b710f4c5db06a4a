"""Every built-in format against the same suite."""

from __future__ import annotations

import datetime
import math
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
    "hdf": lambda: FormatCase([FRAME[["a", "b"]]], wrong=[{"a": 1}, None], equal=frames_equal, reproducible=False),
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
