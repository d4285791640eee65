"""The columns that image tables of all sources have; a source adds its own behind them. No library of pictures is needed to read this."""

from formats.tables import columns

# The licence of what says none; it enters no training set unless a parameter lets it.
UNKNOWN_LICENCE = "unknown"

# Of an index of gathered originals: what gathering finds out.
FOUND = columns(sha256=str, serial=int, shard=str, member=str, format=str, mode=str, width=int, height=int, decoded_as=str)
# Of a dataset of one size: its pictures, and those that were left out.
INDEXED = columns(serial=int, sha256=str, shard=str, member=str, **{"class": int}, label=str, licence=str, source=str)
EXCLUDED = columns(serial=int, sha256=str, reason=str, words=str, licence=str, source=str)
