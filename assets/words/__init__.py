"""Words for models: the texts of papers with their splits, and sentences with their vocabulary, from folders, files and captions. Nothing here
trains.
"""
