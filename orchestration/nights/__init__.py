"""Nights and withdrawals: looking at the sources again, letting the data follow, and taking back what was withdrawn."""
