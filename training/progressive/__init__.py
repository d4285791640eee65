"""Progressive GAN, written from "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (Karras et al. 2018).

    from training.progressive import load_generator
    generator = load_generator("data/pggan_pages")
    images = generator(torch.randn(4, generator.config.z_dim))    # [4, C, R, R], about [-1, 1]

What only this family of models needs belongs here: networks that grow, the schedule they grow by, their losses, training, samples, walks. What other
GANs of pictures need too (players, grids, snapshots, losses by name) belongs in training/gans. PROVENANCE.md says where each piece comes from.
"""

from training.progressive.config import ProgressiveConfig
from training.progressive.discriminator import Discriminator
from training.progressive.generator import Generator, ProgressiveError, load_generator, save_generator

__all__ = ["Discriminator", "Generator", "ProgressiveConfig", "ProgressiveError", "load_generator", "save_generator"]
