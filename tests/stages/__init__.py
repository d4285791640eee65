"""Tests of what every stage is made of."""
