"""Pairs of titles and abstracts: which papers make one, and what becomes of their texts."""
