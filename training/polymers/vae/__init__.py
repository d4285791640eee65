"""PolyVAE: a conditional variational autoencoder of molecules and polymers: one transformer reads a SMILES into a latent, another writes it back.

    from training.polymers.vae import load_polyvae
    from training.polymers.vae.sample import sample
    model, tokenizer = load_polyvae("data/polyvae")
    print(sample(model, tokenizer, number=10, properties={"mol_wt": 200.0}))

Provenance: PROVENANCE.md.
"""

from training.polymers.vae.model_folder import load_polyvae, save_polyvae
from training.polymers.vae.networks import PolyVAE, PolyVAEShape

__all__ = ["PolyVAE", "PolyVAEShape", "load_polyvae", "save_polyvae"]
