"""CycleGAN: two sets of pictures that nobody has paired, and a network for each way from one to the other. PROVENANCE.md names the papers.

    from training.cyclegan import load_generators
    both = load_generators("data/cyclegan_paintings")
    photographs = both.a_to_b(paintings)          # [B, 3, H, W] in [-1, 1]; H and W multiples of both.config.multiple

Here: the four networks, what they minimise, the pool of earlier fakes, the training, translating sets and folders, the report,
and the files of the original program. Not here: what any GAN needs (`training/gans`), or where the pictures come from (`assets/paintings`).
"""

from training.cyclegan.generator import CycleGANError, Generators, load_generators

__all__ = ["CycleGANError", "Generators", "load_generators"]
