"""StyleGAN3, written from "Alias-Free Generative Adversarial Networks" (Karras et al. 2021): networks, losses, augmentation, training, samples.

    from training.stylegan3 import load_generator
    generator = load_generator("data/stylegan3_toc")
    images = generator(torch.randn(4, generator.config.z_dim), truncation_psi=0.8)    # [4, C, H, W], about [-1, 1]

What only this family of models needs belongs here; what other image models need too (players, augmentation, grids, snapshots) belongs in
training/gans. PROVENANCE.md says which equation each piece comes from.
"""

from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator, load_generator, save_generator

__all__ = ["Discriminator", "Generator", "StyleGAN3Config", "load_generator", "save_generator"]
