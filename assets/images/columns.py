"""The columns that image tables of all sources have; a source adds its own behind them. No library of pictures is needed to read this."""

import pyarrow as pa

# Of an index of gathered originals: what gathering finds out.
FOUND = (
    ("sha256", pa.string()),
    ("serial", pa.int64()),
    ("shard", pa.string()),
    ("member", pa.string()),
    ("format", pa.string()),
    ("mode", pa.string()),
    ("width", pa.int64()),
    ("height", pa.int64()),
    ("decoded_as", pa.string()),
)
# Of a dataset of one size: its pictures, and those that were left out.
INDEXED = (
    ("serial", pa.int64()),
    ("sha256", pa.string()),
    ("shard", pa.string()),
    ("member", pa.string()),
    ("class", pa.int64()),
    ("label", pa.string()),
    ("licence", pa.string()),
    ("source", pa.string()),
)
EXCLUDED = (
    ("serial", pa.int64()),
    ("sha256", pa.string()),
    ("reason", pa.string()),
    ("words", pa.string()),
    ("licence", pa.string()),
    ("source", pa.string()),
)
