"""Files that look to a reader like NVIDIA's snapshots, of tiny networks; the fixture `nvidia_names` lets them be pickled."""

import pickle
from collections import OrderedDict

import numpy as np
import torch

from tests.training.stylegan3.tiny import TINIEST, make_discriminator, make_generator

SOURCE = "raise SystemExit('the embedded source was run')\n"


class EasyDict(dict):
    """What NVIDIA's dictionaries look like to pickle."""


def _reconstruct_persistent_obj(meta):
    raise AssertionError("never called in these tests")


class Persistent:
    """Pickles like one of NVIDIA's modules: a reconstruction function, the source of the class, and its state."""

    def __init__(self, module, arguments=None, extra=None):
        self.state = EasyDict(
            training=False,
            _parameters=OrderedDict((name, parameter) for name, parameter in module._parameters.items()),
            _buffers=OrderedDict((name, b) for name, b in module._buffers.items() if name not in module._non_persistent_buffers_set),
            _non_persistent_buffers_set=set(),
            _backward_hooks=OrderedDict(),
            _modules=OrderedDict((name, Persistent(child)) for name, child in module._modules.items()),
            _init_args=(),
            _init_kwargs=EasyDict(arguments or {}),
            in_cutoff=np.float64(2.0),
            padding=np.arange(4),
            dtype=torch.float32,
            device=torch.device("cpu"),
            shape=torch.Size([1, 2]),
            **(extra or {}),
        )

    def __reduce__(self):
        meta = EasyDict(type="class", version=6, module_src=SOURCE, class_name="Generator", state=self.state)
        return _reconstruct_persistent_obj, (meta,)


def write_snapshot(path, config=TINIEST, *, arguments=None, protocol=4, **more):
    generator, discriminator = make_generator(config).eval(), make_discriminator(config)
    tree = {
        "G": Persistent(make_generator(config, seed=1)),
        "D": Persistent(discriminator),
        "G_ema": Persistent(generator, arguments=arguments),
        "augment_pipe": None,
        "training_set_kwargs": EasyDict(path="x.zip", use_labels=False),
        **more,
    }
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return generator, discriminator
