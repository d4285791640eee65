"""What generative adversarial networks share: players and their turns, augmentation, losses, snapshots, samples, films, reports.

A network, or a loss that only one model uses, belongs in that model's folder. PROVENANCE.md says which paper each piece comes from.
"""
