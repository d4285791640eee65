"""How bytes lie on disk: tables, zip files, PNG and pictures of any kind, square sizes of them, image shards, video, molecule tables.

Readers and writers whose bytes depend on what they are given and on nothing else. Imports no other package of the project.
"""
