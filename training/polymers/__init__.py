"""Generative models of molecules and polymers written as SMILES, one folder a model, and the tokenizer they share.

What more than one of these models needs belongs here; what a model of pictures or sentences also needs belongs in training/loop.
"""
