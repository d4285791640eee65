"""Copies of artifacts in the formats that other programs read. What is particular to one kind of data has a module of its own."""
