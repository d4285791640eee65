"""Telling how good a model is, whatever it makes: numbers with their intervals, a page with pictures, checks, a comparison with the last report.

What is measured belongs in training/metrics, what a report says of one kind of output beside it (training/gans, training/polymers).
"""
