"""Where bodies run. Each module holds one executor that follows `interfaces.Executor`."""
