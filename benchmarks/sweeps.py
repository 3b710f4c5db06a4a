"""Seconds for what is done with a large sweep: made, selected, previewed, tabled; not built, and built and recorded.

    python benchmarks/sweeps.py [--n 100000] [--built] [--repeat 3]

Each step is told by its minimum over the repetitions, each in a process of its own: what one knows does not help
the next. ``--built`` builds the tasks first (minutes), once for all repetitions.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

import d6tpipe as dp


class Prepare(dp.tasks.TaskPickle):
    number = dp.IntParameter()

    def run(self) -> None:
        self.save(self.number)


class Fit(dp.tasks.TaskPickle):
    data = dp.TaskInstanceParameter(Prepare)
    lr = dp.FloatParameter()

    def run(self) -> None:
        self.saveMeta({"score": self.lr * 10, "loss": 1 - self.lr})
        self.save(self.lr)


def fits(count: int) -> Any:
    prepared = dp.sweep(Prepare, {f"data_{number}": {"number": number} for number in range(10)})
    rates = [number / (count // 10) for number in range(count // 10)]
    return dp.sweep(Fit, dp.product(data=prepared, lr=rates), id="{data}_{lr}")


def measure(count: int) -> dict[str, float]:
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        begin = perf_counter()
        found = step()
        seconds[name] = perf_counter() - begin
        return found

    sweep = timed("create", lambda: fits(count))
    timed("count", lambda: len(sweep))
    timed("id, first", lambda: sweep["data_7_0.5"])
    timed("id, again", lambda: sweep["data_3_0.25"])
    timed("make all", lambda: sweep.tasks)
    timed("select", lambda: sweep.select("lr>=0.1 and not data_3"))
    with contextlib.redirect_stdout(io.StringIO()):
        timed("preview", lambda: dp.preview(sweep))
    frame = timed("table", sweep.table)
    assert len(frame) == count
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--built", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder:
        dp.set_dir(asked.folder)
        print(json.dumps(measure(asked.n)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if asked.built:
            dp.set_dir(folder)
            begin = perf_counter()
            dp.run(fits(asked.n), execution_summary=False)
            print(f"built {asked.n:,} in {perf_counter() - begin:.1f} s")
        words = [sys.executable, __file__, "--n", str(asked.n), "--folder", folder]
        found = [json.loads(subprocess.check_output(words)) for _ in range(asked.repeat)]
    for name in found[0]:
        print(f"{name:10} {min(one[name] for one in found):8.3f} s")


if __name__ == "__main__":
    main()
