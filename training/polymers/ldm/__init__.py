"""PolyLDM: molecules by diffusion in the latent space of a trained PolyVAE, freely or on request, with classifier-free guidance.

    from training.polymers.ldm import load_polyldm
    from training.polymers.ldm.sample import sample
    model, tokenizer = load_polyldm("data/polyldm")
    print(sample(model, tokenizer, number=10, properties={"mol_wt": 200.0}, guidance=2.0))

Provenance: PROVENANCE.md.
"""

from training.polymers.ldm.model_folder import load_polyldm, save_polyldm
from training.polymers.ldm.networks import PolyLDM, PolyLDMShape

__all__ = ["PolyLDM", "PolyLDMShape", "load_polyldm", "save_polyldm"]
