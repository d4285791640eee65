"""Run a training in a process that receives a signal in the middle of a given optimizer step, whichever optimizer takes it.

python -m tests.training.run_and_die MODULE STEP SIGNAL [arguments of MODULE]
"""

import importlib
import os
import sys

import torch


def main(module: str, step: int, number: int, arguments: list[str]) -> int:
    taken = 0

    def die_at(optimise):
        def optimise_or_die(self, *args, **kwargs):
            nonlocal taken
            taken += 1
            if taken == step:
                os.kill(os.getpid(), number)
            return optimise(self, *args, **kwargs)

        return optimise_or_die

    for kind in (torch.optim.Adam, torch.optim.AdamW):
        if "step" in vars(kind):
            kind.step = die_at(kind.step)
    return importlib.import_module(module).main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
