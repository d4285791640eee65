"""The doctor: reads every byte again and says where files, DVC, Dagster and MLflow disagree, and mends what is safe to mend.

What belongs here: examinations that trust no memory, and repairs that destroy nothing which exists only once. What does not: ordinary staleness
(an edited parameter is no illness; `figment status` tells it) and printing (the command line does that).
"""
