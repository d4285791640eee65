"""Pictures of any source become image datasets: gathered, made at several sizes, in shards that are kept, cards and contact sheets.

What is particular to one source (which pictures there are, what they are called, who may use them) belongs in that source's folder.
"""
