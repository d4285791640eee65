"""The fair table: every model of molecules, and what needs no model, on the same requests before the same judge.

What one model's own report says stays in training/polymers/report.py; here belongs only what compares them. No model is imported: the folders that
they wrote are what is read.
"""
