"""How values become files: each class here implements the ``Format`` protocol of ``d6tpipe.interfaces``.

Formats are reached by name, ``plugins.load("formats", "parquet")``, and import their libraries on first use.
What a format cannot bring back as it was, it refuses to save; where that is only a matter of types
(``parquet``, ``json``), ``check=False`` accepts the change. ``csv`` and ``excel`` keep values, not types.
"""
