"""How values become files: each class here implements the ``Format`` protocol of ``d6tpipe.interfaces``.

Formats are reached by name, ``plugins.load("formats", "parquet")``, and import their libraries on first use. They
take what the library behind them takes; what would come back with other values, without an error, is refused.
``parquet`` keeps values and types, ``csv`` and ``excel`` values only, ``json`` what JSON has a form for.

The same value gives the same bytes, whenever and in whichever process it is saved: else a task that makes the same
thing again would look as if it had made another. Where that does not hold, the docstring of the format says so.
"""
