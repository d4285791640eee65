"""Run the PolyGPT stage in a process that receives a signal in the middle of a given step.

python -m tests.training.polymers.gpt.run_and_die STEP SIGNAL [arguments of training.polymers.gpt.train]
"""

import os
import sys

import torch

from training.polymers.gpt import train


def main(step: int, number: int, arguments: list[str]) -> int:
    taken = 0
    optimise = torch.optim.AdamW.step

    def optimise_or_die(self, *args, **kwargs):
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), number)
        return optimise(self, *args, **kwargs)

    torch.optim.AdamW.step = optimise_or_die
    return train.main(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
