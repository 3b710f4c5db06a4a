"""Where files live: each module here implements the ``Files`` protocol of ``d6tpipe.interfaces``."""
