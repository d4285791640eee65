"""PolyTAO: a T5 that reads wished properties as whole numbers in a prompt, and writes a molecule as SMILES.

    from training.polymers.tao.sample import open_polytao

What belongs here: the prompt, its tokenizer, the examples, and the two programs. The network is transformers' T5, and what fine-tunings share lies in
`training/fine_tuning/`.

Provenance: the prompt of Qiu et al. 2024 (npj Comput. Mater. 10:273), the network of Raffel et al. 2020 (arXiv 1910.10683); see PROVENANCE.md.
"""
