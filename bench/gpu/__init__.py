"""What the models do on a GPU, measured by one command that needs little more than torch: docs/gpu.md says how to run it anywhere.

prepare          makes the inputs, in the whole environment: inputs
campaign, plan   the run: parts in order of importance, each a process of its own with a share of the minutes; recording keeps what they find
device           what a device is, what it takes and what it could do at most
learning         how a part lets a training learn within its time
stylegan3, molecules, words, pictures, profiles    the parts: the project's own models and steps, timed
score            what was found, in the whole environment: rows for docs/RESULTS.md, plots and pictures

The parts import torch, numpy, scipy, pillow and safetensors, and where they are there triton, transformers and tokenizers; nothing else.
"""
