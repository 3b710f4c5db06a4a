"""Read a folder with an unknown number of files: one task per file, found by ``requires``.

Put another file into ``raw/`` and run again: only that file is read, and the total is made again.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import d6tpipe

RAW = Path("raw")


class ReadSales(d6tpipe.tasks.TaskPqPandas):
    """One file, its dates parsed."""

    file = d6tpipe.PathParameter()

    def run(self):
        self.save(pd.read_csv(self.file, parse_dates=["day"]))


class TotalSales(d6tpipe.tasks.TaskJson):
    """Units sold, by file."""

    def requires(self):
        return {file.stem: ReadSales(file=file) for file in sorted(RAW.glob("*.csv"))}

    def run(self):
        self.save({shop: int(sales["units"].sum()) for shop, sales in self.inputLoad().items()})


def make_raw_files():
    """Stand in for whoever delivers the files."""
    RAW.mkdir()
    for number, shop in enumerate(["north", "south", "west"], 1):
        days = pd.date_range("2024-01-01", periods=4)
        pd.DataFrame({"day": days, "units": range(number, number + 4)}).to_csv(RAW / f"{shop}.csv", index=False)


if __name__ == "__main__":
    if not RAW.exists():
        make_raw_files()
    d6tpipe.run(TotalSales())
    print(TotalSales().outputLoad())
