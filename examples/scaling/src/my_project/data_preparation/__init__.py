"""From the raw data to the data sets."""
