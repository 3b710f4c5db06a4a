"""Four data sets, three models, twelve estimations: a project that grows by editing two lists."""
