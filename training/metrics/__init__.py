"""How good a model's output is: plain functions from outputs to numbers that carry their denominators and intervals.

Nothing here knows which model made what it judges, where files lie, or how a report looks; that is for the model's folder.
"""
