"""Run a program of StyleGAN3 in a process that receives a signal in the middle of a given optimizer step.

python -m tests.training.stylegan3.run_and_die STEP SIGNAL [arguments of training.stylegan3.train]
"""

import os
import sys

import torch

from training.stylegan3 import train


def main(step: int, number: int, arguments: list[str]) -> int:
    taken = 0
    optimise = torch.optim.Adam.step

    def optimise_or_die(self, *args, **kwargs):
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), number)
        return optimise(self, *args, **kwargs)

    torch.optim.Adam.step = optimise_or_die
    return train.main(arguments)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
