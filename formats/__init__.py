"""How bytes lie on disk: tables, zip files, pictures, image shards, video, molecule tables.

Readers and writers whose bytes depend on what they are given and on nothing else. Imports no other package of the project.
"""
