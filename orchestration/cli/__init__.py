"""The `figment` command: one module per verb, plain argparse, and nothing heavy imported before a verb needs it.

What belongs here: reading arguments, choosing words, printing. What does not: deciding what is stale (the bridge's work) or mending it (the
doctor's).
"""
