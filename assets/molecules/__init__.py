"""Molecules and polymers: fetch their sources, read every format, build the two datasets.

`sources` makes `molecule_sources`, `build` makes `molecules` and `polymers`. Everything that knows a file format or RDKit's chemistry belongs here;
models, tokenizers and metrics do not.
"""
