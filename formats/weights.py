"""The files of a trained model: weights as float32 safetensors, and beside them config.json with what its network is built from.

Equal weights give equal bytes. Nothing in these files can run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from torch import nn

Config = TypeVar("Config")

CONFIG_NAME = "config.json"


def write_weights(path: Path, module: "nn.Module") -> None:
    """Parameters and buffers."""
    import torch
    from safetensors.torch import save

    tensors = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in module.state_dict().items()}
    path.write_bytes(save(tensors, metadata={"format": "pt"}))


@dataclass(frozen=True)
class ModelFiles(Generic[Config]):
    """How the models of one kind lie on disk.

    model_type: stands in config.json. name: for people. made_by: the stage to run where there is none. config: the dataclass that config.json holds;
    its sequences are tuples. error: raised, with a sentence, for everything that is wrong with a folder. beside: what else config.json says, for
    readers other than us.
    """

    model_type: str
    name: str
    made_by: str
    config: type[Config]
    error: type[Exception]
    beside: Mapping[str, Any] = field(default_factory=dict)

    def write_config(self, folder: Path, config: Config) -> None:
        values = {"model_type": self.model_type, **self.beside, **asdict(config)}  # type: ignore[call-overload]
        (folder / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def read_config(self, folder: Path) -> Config:
        path = folder / CONFIG_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self.error(f"{path}: no such file; expected a trained {self.name}: figment materialize {self.made_by}") from None
        except ValueError as error:
            raise self.error(f"{path}: not JSON ({error}); make the model again") from None
        if not isinstance(values, Mapping) or values.get("model_type") != self.model_type:
            raise self.error(f"{path}: not the configuration of a {self.name} (model_type must be '{self.model_type}')")
        about = {"model_type", *self.beside}
        arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key not in about}
        if unknown := sorted(set(arguments) - {field.name for field in fields(self.config)}):  # type: ignore[arg-type]
            raise self.error(f"{path}: unknown key '{unknown[0]}'; it was written by another version, make the model again")
        try:
            return self.config(**arguments)
        except (TypeError, ValueError) as error:
            raise self.error(f"{path}: {error}; it was written by another version, make the model again") from None

    def read_weights(self, path: Path, module: "nn.Module") -> None:
        """Fill `module` from what `write_weights` wrote; every name and shape must agree."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            module.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise self.error(f"{path}: not the weights of the {CONFIG_NAME} beside it ({error}); make the model again") from None
