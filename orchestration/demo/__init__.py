"""The demo: the whole graph at its smallest from an empty checkout, and a night in which the sources change."""
