"""Task classes: `TaskData` in every format, and `TaskAggregator`."""

from __future__ import annotations

from d6tpipe import targets
from d6tpipe.tasks.aggregator import TaskAggregator
from d6tpipe.tasks.data import TaskData

__all__ = [
    "TaskAggregator",
    "TaskCSVGZPandas",
    "TaskCSVPandas",
    "TaskCache",
    "TaskCachePandas",
    "TaskData",
    "TaskExcelPandas",
    "TaskJson",
    "TaskPickle",
    "TaskPqPandas",
]


class TaskCache(TaskData):
    """Task whose output is any object, kept in the memory of this process."""

    target_class = targets.CacheTarget
    target_ext = "cache"


class TaskCachePandas(TaskData):
    """Task whose output is a DataFrame, kept in the memory of this process."""

    target_class = targets.PdCacheTarget
    target_ext = "cache"


class TaskJson(TaskData):
    """Task whose output is a JSON file: dicts, lists, text, numbers."""

    target_class = targets.JsonTarget
    target_ext = "json"


class TaskPickle(TaskData):
    """Task whose output is a pickle: any picklable object."""

    target_class = targets.PickleTarget
    target_ext = "pkl"


class TaskCSVPandas(TaskData):
    """Task whose output is a DataFrame in a CSV file (without its index unless ``save(df, index=True)``)."""

    target_class = targets.CSVPandasTarget
    target_ext = "csv"


class TaskCSVGZPandas(TaskData):
    """Task whose output is a DataFrame in a gzipped CSV file."""

    target_class = targets.CSVGZPandasTarget
    target_ext = "csv.gz"


class TaskExcelPandas(TaskData):
    """Task whose output is a DataFrame in an Excel file."""

    target_class = targets.ExcelPandasTarget
    target_ext = "xlsx"


class TaskPqPandas(TaskData):
    """Task whose output is a DataFrame in a Parquet file (zstd); index and dtypes survive."""

    target_class = targets.PqPandasTarget
    target_ext = "parquet"
