"""What generative adversarial networks share: the two players' step, augmentation, losses, grids, samples, films, reports.

A network, or a loss that only one model uses, belongs in that model's folder.
"""
