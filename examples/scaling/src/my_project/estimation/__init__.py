"""From the data sets to fitted models."""
