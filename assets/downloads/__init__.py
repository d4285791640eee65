"""Files from servers of other people: streamed, resumed, capped, verified, politely, and never from inside one's own network.

Which files to fetch, and what is in them, belongs in the folder of the source.
"""
