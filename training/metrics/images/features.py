"""What sees an image: extractors that turn uint8 images into feature vectors, each with a name that every number made from them carries.

Only the reference Inception network, recognised by the checksum of its file, may give a number named FID. Everything else says what it is:
`fd_rand0` (random convolutions), `fd_dinov2_1a2b3c4d` (the first eight digits of the weights' checksum), `fd_<name>_<digits>` (a user's own).
"""

import hashlib
import importlib
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.derived_seed import derive_seed
from stages.files import sha256_of

# TorchScript files of the TensorFlow network "inception-2015-12-05", on which FID is defined. Source: Heusel et al. 2017, arXiv:1706.08500; the
# checksum is the one k-diffusion pins.
INCEPTION_SHA256 = {"f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": "inception-2015-12-05.pt"}
INCEPTION_DIM = 2048

# What ImageNet networks such as DINOv2 expect: the mean and the standard deviation of each colour in [0, 1].
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DINOV2_SIDE_PX = 224
_RANDOM_SIDE_PX = 64
# Filters and width in pixels of each random convolution; all have stride 2.
_RANDOM_LAYERS = ((32, 5), (64, 3), (128, 3))
_RANDOM_VERSION = "1"
_PIXELS_SIDE_PX = 16

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Names that a user's own extractor must not take: they would promise what it is not.
_TAKEN = re.compile(r"(fid|inception|dinov2|pixels|rand[0-9]*)(_.*)?")


class FeatureExtractorError(ValueError):
    """An extractor that is unknown, whose file is missing or is not what its name promises, or that gives no proper features."""


@dataclass(frozen=True)
class ImageInput:
    """What an extractor sees. side_px: 0 = the images as they are. value_range: of what enters the network.

    resize: how images get there, part of what the number means (legacy bilinear and antialiased bicubic give different FIDs).
    """

    side_px: int
    value_range: tuple[float, float]
    resize: str


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns images into features. sha256: of the weights, hex, or None where there are none. dim: of one feature vector."""

    name: str
    version: str
    sha256: str | None
    dim: int
    input: ImageInput

    def __call__(self, images: Tensor) -> Tensor:
        """images: uint8 [N, C, H, W], C = 1 or 3, on any device. Returns float32 [N, dim]."""
        ...


def metric_name(extractor: FeatureExtractor) -> str:
    """The part of a metric's name that says who saw the images: `rand0`, `inception`, `dinov2_1a2b3c4d`, `pixels16`."""
    if is_reference_inception(extractor):
        return "inception"
    if not extractor.sha256 or isinstance(extractor, RandomConvolutions):
        return extractor.name
    return f"{extractor.name}_{extractor.sha256[:8]}"


def frechet_key(extractor: FeatureExtractor, infix: str = "") -> str:
    """`fid` for the reference Inception network and nothing else; `fd_<extractor>` otherwise. infix: `_infinity`, read at infinitely many fakes."""
    return f"fid{infix}" if is_reference_inception(extractor) else f"fd{infix}_{metric_name(extractor)}"


def mifid_key(extractor: FeatureExtractor) -> str:
    """The same for the memorisation-informed distance: `mifid`, or `mifd_<extractor>`."""
    return "mifid" if is_reference_inception(extractor) else f"mifd_{metric_name(extractor)}"


def frechet_title(extractor: FeatureExtractor) -> str:
    """The same for people: FID, FD-DINOv2, FD-rand@0."""
    if is_reference_inception(extractor):
        return "FID"
    if isinstance(extractor, RandomConvolutions):
        return f"FD-rand@{extractor.seed}"
    return f"FD-{'DINOv2' if extractor.name == 'dinov2' else extractor.name}"


def kernel_title(extractor: FeatureExtractor) -> str:
    """KID for the reference Inception network; KID-DINOv2, KID-rand@0 otherwise."""
    return "KID" if is_reference_inception(extractor) else f"KID{frechet_title(extractor).removeprefix('FD')}"


def is_reference_inception(extractor: FeatureExtractor) -> bool:
    """By the checksum that was taken when its file was read, not by what it calls itself."""
    return isinstance(extractor, InceptionFeatures) and extractor.sha256 in INCEPTION_SHA256


def open_extractor(name: str, *, seed: int = 0, device: torch.device | str = "cpu") -> FeatureExtractor:
    """The extractor `name`: `random` (of `seed`), `pixels`, `inception:PATH`, `dinov2:PATH`, or a user's `package.module:function`.

    A user's function takes no arguments and gives an object like FeatureExtractor; its module must be importable.
    Raises FeatureExtractorError.
    """
    kind, colon, rest = name.partition(":")
    # Our own two need no file.
    if name == "random":
        return RandomConvolutions(seed, device)
    if name == "pixels":
        return Pixels(device)
    # Networks with a published name come from files that the user brings, and are recognised by content.
    if kind in ("inception", "dinov2") and rest:
        path = Path(rest)
        if not path.exists():
            raise FeatureExtractorError(f"{path}: no such file; extractor {name!r} needs the weights there (Figment ships none)")
        return InceptionFeatures(path, device) if kind == "inception" else _open_dinov2(path, device)
    # Anything else with a colon is the user's code.
    if colon and rest and kind not in ("inception", "dinov2", "random", "pixels"):
        return _open_users(kind, rest)
    raise FeatureExtractorError(f"{name!r} is not a known extractor; expected random, pixels, inception:PATH, dinov2:PATH or module:function")


def random_filters(seed: int) -> list[numpy.ndarray]:
    """The weights of three random convolutions of stride 2, float32 [filters, channels, width, width] each, that depend on `seed` alone."""
    random, channels, weights = numpy.random.default_rng(derive_seed(seed, "random convolutions", _RANDOM_VERSION)), 3, []
    for filters, width in _RANDOM_LAYERS:
        spread = (2 / (channels * width * width)) ** 0.5
        weights.append((random.standard_normal((filters, channels, width, width)) * spread).astype(numpy.float32))
        channels = filters
    return weights


class RandomConvolutions:
    """Three fixed-seed random convolutions; mean and spread of each filter's answer. Tells collapse from progress, and is no FID: for debugging.

    Gaussian weights of variance 2 / fan-in, leaky rectifiers, images resized to 64 px. Drawn by numpy, so that they do not depend on the device.
    """

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.seed, self.name, self.version = seed, f"rand{seed}", _RANDOM_VERSION
        self.input = ImageInput(_RANDOM_SIDE_PX, (-1.0, 1.0), "bilinear, antialiased")
        weights = random_filters(seed)
        self.sha256: str | None = hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()
        self.dim = 2 * sum(filters for filters, _ in _RANDOM_LAYERS)
        self._weights = [torch.from_numpy(weight).to(device) for weight in weights]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        x = _resized(_to_rgb(images).to(self._weights[0].device), self.input.side_px, "bilinear") / 127.5 - 1
        features = []
        for weight in self._weights:
            x = F.leaky_relu(F.conv2d(x, weight, stride=2, padding=weight.shape[-1] // 2), 0.2)
            features += [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]
        return torch.cat(features, dim=1)


class Pixels:
    """The image itself at 16 × 16 px: needs no weights, and sees colour and layout but no detail."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.name, self.version, self.dim = f"pixels{_PIXELS_SIDE_PX}", "1", 3 * _PIXELS_SIDE_PX**2
        self.sha256: str | None = None
        self.input = ImageInput(_PIXELS_SIDE_PX, (-1.0, 1.0), "bilinear, antialiased")
        self._device = torch.device(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return (_resized(_to_rgb(images).to(self._device), self.input.side_px, "bilinear") / 127.5 - 1).flatten(1)


class InceptionFeatures:
    """The 2048 pool3 features of the network FID is defined on, from its TorchScript file.

    The file resizes to 299 px itself, in the bilinear way of TensorFlow 1 without antialiasing. Any other file is refused before it is run.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        self.sha256: str | None = sha256_of(path)
        if self.sha256 not in INCEPTION_SHA256:
            expected = ", ".join(f"{name} ({sha256})" for sha256, name in INCEPTION_SHA256.items())
            raise FeatureExtractorError(
                f"{path}: sha256 is {self.sha256}, expected {expected}; a distance made with another network must not be called FID. Get that file, "
                "or use another extractor"
            )
        self.name, self.version, self.dim = "inception", INCEPTION_SHA256[self.sha256].removesuffix(".pt"), INCEPTION_DIM
        self.input = ImageInput(299, (0.0, 255.0), "bilinear of TensorFlow 1, inside the network")
        self._device = torch.device(device)
        self._network = _load_torchscript(path, self._device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self._network(_to_rgb(images).to(self._device), return_features=True).float()


class DinoV2Features:
    """The class token of DINOv2 after its last normalisation, as FD-DINOv2 uses it. Source: Stein et al. 2023, arXiv:2306.04675.

    network: float32 [N, 3, 224, 224], normalised for ImageNet, to [N, dim]. Which weights they are is for `sha256` to say.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], *, sha256: str, version: str, device: torch.device | str = "cpu") -> None:
        self.name, self.version = "dinov2", version
        self.sha256: str | None = sha256
        self.input = ImageInput(_DINOV2_SIDE_PX, (0.0, 1.0), "bicubic, antialiased; then ImageNet's mean and standard deviation")
        self._network, self._device = network, torch.device(device)
        self._mean = torch.tensor(_IMAGENET_MEAN, device=self._device).view(3, 1, 1)
        self._std = torch.tensor(_IMAGENET_STD, device=self._device).view(3, 1, 1)
        self.dim = self(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape[1]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        resized = _resized(_to_rgb(images).to(self._device), self.input.side_px, "bicubic").clamp(0, 255) / 255
        features = self._network((resized - self._mean) / self._std)
        if features.ndim != 2:
            raise FeatureExtractorError(
                f"the DINOv2 network gave features of shape {tuple(features.shape)}, expected [N, dim]: the class token alone"
            )
        return features.float()


def _open_dinov2(path: Path, device: torch.device | str) -> FeatureExtractor:
    if path.is_dir():
        network, sha256, version = _hugging_face_dinov2(path, device)
    else:
        network, sha256, version = _load_torchscript(path, torch.device(device)), sha256_of(path), "torchscript"
    try:
        return DinoV2Features(network, sha256=sha256, version=version, device=device)
    except RuntimeError as error:
        side = _DINOV2_SIDE_PX
        raise FeatureExtractorError(
            f"{path}: the network does not take float32 [N, 3, {side}, {side}] ({str(error).strip().splitlines()[-1]}); expected a DINOv2 backbone"
        ) from None


def _hugging_face_dinov2(path: Path, device: torch.device | str) -> tuple[Callable[[Tensor], Tensor], str, str]:
    """(network, sha256 of its weights, version) of a folder as `save_pretrained` writes it."""
    from transformers import Dinov2Model

    config, weights = path / "config.json", path / "model.safetensors"
    if not weights.is_file() or not config.is_file():
        raise FeatureExtractorError(f"{path}: expected a Hugging Face folder with config.json and model.safetensors of a Dinov2Model")
    if json.loads(config.read_bytes()).get("model_type") != "dinov2":
        raise FeatureExtractorError(
            f"{config}: not the configuration of a Dinov2Model; a distance made with another network must not be called FD-DINOv2"
        )
    network, loading = Dinov2Model.from_pretrained(path, local_files_only=True, use_safetensors=True, output_loading_info=True)
    # transformers draws what a file lacks at random and goes on.
    if missing := sorted(loading["missing_keys"]):
        raise FeatureExtractorError(f"{weights}: {len(missing)} weights of a Dinov2Model are missing (first: {missing[0]}); get the whole model")
    network = network.eval().requires_grad_(False).to(device)
    return lambda x: network(x).pooler_output, sha256_of(weights), "transformers"


def _open_users(module: str, function: str) -> FeatureExtractor:
    where = f"extractor {module}:{function}"
    try:
        extractor = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise FeatureExtractorError(f"{where}: {error}; expected an importable module with a function that takes no arguments") from None
    if not isinstance(extractor, FeatureExtractor):
        raise FeatureExtractorError(f"{where} gave {type(extractor).__name__}, which lacks one of name, version, sha256, dim, input, __call__")
    if not _NAME.fullmatch(extractor.name) or _TAKEN.fullmatch(extractor.name):
        raise FeatureExtractorError(
            f"{where} calls itself {extractor.name!r}; expected lower-case letters, digits and _, and none of the names fid, inception, dinov2, "
            "pixels, rand: they are promises"
        )
    return extractor


def _load_torchscript(path: Path, device: torch.device) -> Any:
    with warnings.catch_warnings():
        # torch announces the end of TorchScript; the files that metrics are defined on come in no other form.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            network: nn.Module = torch.jit.load(str(path), map_location=device)
        except RuntimeError as error:
            raise FeatureExtractorError(
                f"{path}: not a TorchScript file ({str(error).splitlines()[0]}); save the network with torch.jit.save"
            ) from None
    return network.eval()


def _to_rgb(images: Tensor) -> Tensor:
    """uint8 [N, 1 or 3, H, W] to uint8 [N, 3, H, W]."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected uint8 images [N, 1 or 3, H, W], found {images.dtype} {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _resized(images: Tensor, side_px: int, mode: str) -> Tensor:
    """uint8 [N, 3, H, W] to float32 [N, 3, side, side] in about [0, 255]."""
    images = images.float()
    if images.shape[2:] == (side_px, side_px):
        return images
    return F.interpolate(images, size=(side_px, side_px), mode=mode, antialias=True, align_corners=False)
