"""Dagster at work: runs started from the shell, the choice of what they make, and the two servers of `figment up`."""
