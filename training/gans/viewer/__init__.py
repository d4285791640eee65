"""A page on this machine for looking at a generator: what can be set, whose turn it is to draw, the server, and the page itself.

What belongs here serves every model of pictures; a model brings its controls and how it draws (`model.ViewedModel`). Nothing here is part of a stage.
"""
