"""Measures of texts: overlap with references, diversity, copies, and how well a text is predicted. No model of ours is known here."""
