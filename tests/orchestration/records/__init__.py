"""Tests of what is on record."""
