"""PolyGPT: a decoder-only transformer that writes molecules and polymers as SMILES, on request with wanted properties.

    from training.polymers.gpt import load_polygpt
    from training.polymers.gpt.sample import sample
    model, tokenizer = load_polygpt("data/polygpt")
    print(sample(model, tokenizer, number=10, temperature=0.8, properties={"mol_wt": 200.0}))

Provenance: written from published descriptions, with no code of theirs. Network: Radford et al. 2019 (GPT-2: pre-normalisation, tied head) at the
size of MolGPT (Bagal et al. 2022). Property prefix, auxiliary heads and the three-term loss: the published outline of PolyGPT in the
polymer_models project. Attention is torch's `scaled_dot_product_attention`.
"""

from training.polymers.gpt.model_folder import load_polygpt, save_polygpt
from training.polymers.gpt.networks import PolyGPT, PolyGPTShape

__all__ = ["PolyGPT", "PolyGPTShape", "load_polygpt", "save_polygpt"]
