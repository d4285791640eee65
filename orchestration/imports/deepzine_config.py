"""DeepZine's one YAML file becomes a preset: sections of params.yaml, and a word on every field.

Of the configuration only names and meanings were taken. Where it says one thing and DeepZine did another, the preset does what is said: the cap on
PDFs applies, the smaller batch is used, frames and vectors of walks are as asked.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.near_misses import did_you_mean
from stages.params import ParamsError, read_yaml

# The values that DeepZine ships, which hold for fields that a file leaves out.
_SHIPPED: dict[str, Any] = {
    "load_data": True, "train": True, "inference": True, "interpolation": True, "download_pdf": True,
    "internetarchive_collection": "MBLWHOI", "pdf_num": 10_000, "data_output_size": 1024, "gan_output_size": 128, "latent_size": 128,
    "learning_rate": 1e-4, "iterations_per_stage": 10_000, "batch_size": 16, "batch_size_reduction_transition_size": 256, "reduced_batch_size": 4,
    "max_filter": 128, "filter_num_reduction_transition_size": 64, "discriminator_updates": 1, "generator_updates": 1,
    "model_save_interval_steps": 1000, "model_loss_output_interval_steps": 40, "inference_output_num": 100,
    "interpolation_frames": 100, "interpolation_vector_num": 10, "interpolation_method": "slerp",
}  # fmt: skip
# Fields that may be left out, by the kind of their value, and those that nothing here answers to, with the reason.
_OPTIONAL = {"pdf_directory": str, "pdf_conversion_program": str, "random_seed": int, "channels": int}
_WITHOUT_COUNTERPART = {
    "gpu_num": "CUDA_VISIBLE_DEVICES, or compute.yaml",
    "overwrite": "artifacts are made again when what they are made of has changed",
    "convert_pdf": "book_pages always does",
    "image_directory": "data/book_pages",
    "data_hdf5": "data/page_dataset@SIZE; `figment import deepzine-hdf5` reads the file",
    "preload_resized_data": "datasets have their sizes before a training begins",
    "log_dir": "data/pggan_pages; TensorFlow checkpoints are not read",
    "samples_dir": "data/pggan_pages/snapshots",
    "model_sample_interval_steps": "pictures are drawn at every snapshot, `snap`",
    "gan_starting_size": "it always begins at 4 px",
    "starting_depth": "it always begins at 4 px",
    "progressive_depth": "gan_output_size says it",
    "pretrained_model": "TensorFlow checkpoints are not read",
    "inference_model_directory": "data/pggan_pages",
    "inference_model_path": "data/pggan_pages",
    "inference_output_directory": "data/book_fakes and data/book_walks",
    "inference_output_format": "PNG",
    "inference_batch_size": "it changes no picture",
    "inference_input_latent": "latents come from seeds",
    "interpolation_latents": "latents come from seeds",
    "batch_size_reduction_transition_depth": "batch_size_reduction_transition_size says it",
    "filter_num_reduction_transition_depth": "filter_num_reduction_transition_size says it",
}
_METHODS = {"slerp": "spherical", "linear": "linear", "tozero": "origin"}
_ENGINES = {"pdftoppm": "poppler", "ghostscript": "ghostscript"}
_POSITIVE = frozenset(name for name, value in _SHIPPED.items() if type(value) in {int, float}) | {"channels"}
_POWERS = ("data_output_size", "gan_output_size", "batch_size_reduction_transition_size", "filter_num_reduction_transition_size")
_SIDES = tuple(2**power for power in range(2, 11))
_DATASET_SIZES = (128, 1024)


@dataclass
class Translation:
    """sections: of the preset. rows: (field, its value, what became of it), in the order of the file. stages: what its switches ask to be made."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)


def translate(path: Path) -> Translation:
    """The preset for a configuration file. Raises ParamsError, which names the field."""
    tree = read_yaml(path)
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{path}: expected the fields of DeepZine's config.yaml, found {type(tree).__name__}")
    given = {str(name): _plain(value) for name, value in tree.items()}
    values = {name: _checked(path, name, given.get(name), type(shipped)) for name, shipped in _SHIPPED.items()}
    values |= {name: _checked(path, name, given.get(name), kind) for name, kind in _OPTIONAL.items()}
    for name, shipped in _SHIPPED.items():
        # An explicit nothing lifts a cap; a field that is not there has the shipped value.
        if values[name] is None and not (name == "pdf_num" and name in given):
            values[name] = shipped
    for name in _POWERS:
        if values[name] not in _SIDES:
            raise ParamsError(f"{path}: {name} must be a power of two from 4 to 1024, found {values[name]}")
    sections, became = _sections(path, values)
    rows = []
    for name, value in {**given, **{name: None for name in became if name not in given}}.items():
        known = {**_WITHOUT_COUNTERPART, **became}
        words = (
            f"no counterpart: {known[name]}"
            if name in _WITHOUT_COUNTERPART
            else known.get(name, f"not a field of DeepZine's{did_you_mean(name, known)}")
        )
        rows.append((name, _shown(value) if name in given else f"({_shown(values[name])}, not stated)", words))
    return Translation(sections, rows, _stages(values))


def _sections(path: Path, values: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The sections, and for each field that has a place in them where that is."""
    px, batch = values["gan_output_size"], values["batch_size"]
    dataset = _dataset_size(values)
    shrinks_at, reduced = values["batch_size_reduction_transition_size"], values["reduced_batch_size"]
    batches = {side: reduced if side >= shrinks_at and shrinks_at <= px else batch for side in _SIDES[1:]}
    halves_at, most = values["filter_num_reduction_transition_size"], values["max_filter"]
    filters = {side: max(1, most // (2 * side // halves_at)) if side >= halves_at else most for side in _SIDES}
    # Iterations become images, which is what is counted here: batch_size of them each, also where the batch is smaller.
    kimg = values["iterations_per_stage"] * batch / 1000
    method = _one_of(path, "interpolation_method", values["interpolation_method"], _METHODS)
    sections: dict[str, dict[str, Any]] = {
        "archive_items": {"sources": [_source(values)]},
        "book_pages": {"page_px": _DATASET_SIZES[-1]},
        "page_dataset": {"fit": "pad", "colours": "grey" if values["channels"] == 1 else "rgb", "allow_unknown_licence": True},
        "pggan_pages": {
            "dataset_size": dataset, "resolution": px, "z_dim": values["latent_size"], "normalize_latents": False, "filters": filters,
            "mbstd_group": min(batch, *batches.values()), "kimg": kimg * (2 * _SIDES.index(px) + 1), "stable_kimg": kimg, "fade_kimg": kimg,
            "batch": batch, "batch_by_px": batches, "lr": values["learning_rate"], "lr_by_px": dict.fromkeys(_SIDES[1:], values["learning_rate"]),
            "loss": "wgan-gp", "gp_lambda": 10.0, "drift": 0.001, "n_critic": values["discriminator_updates"],
            "snap": values["model_save_interval_steps"] * batch / 1000, "tick": values["model_loss_output_interval_steps"] * batch / 1000,
        },
        "book_fakes": {"seeds": f"0-{values['inference_output_num'] - 1}"},
        "book_walks": {
            "methods": [method], "keypoints": max(2, values["interpolation_vector_num"]), "frames": values["interpolation_frames"], "loop": False,
            "grid": [1, 1], "seeds": f"0-{max(2, values['interpolation_vector_num']) - 1}", "fps": 60, "png": True,
        },
    }  # fmt: skip
    became = {
        "load_data": "stages to make", "train": "stages to make", "inference": "stages to make", "interpolation": "stages to make",
        "download_pdf": "archive_items.sources: the collection, or pdf_directory served as an archive",
        "internetarchive_collection": "archive_items.sources[0].collection", "pdf_num": "archive_items.sources[0].max_items",
        "data_output_size": "page_dataset@1024 and @128, on a white square; `fit: squash` stretches as DeepZine did",
        "gan_output_size": f"pggan_pages.resolution, from page_dataset@{dataset}",
        "latent_size": "pggan_pages.z_dim, not normalised", "learning_rate": "pggan_pages.lr at every size",
        "iterations_per_stage": f"pggan_pages.stable_kimg and fade_kimg: {values['iterations_per_stage']:,} x {batch} images",
        "batch_size": "pggan_pages.batch", "batch_size_reduction_transition_size": "pggan_pages.batch_by_px",
        "reduced_batch_size": "pggan_pages.batch_by_px and mbstd_group", "max_filter": "pggan_pages.filters",
        "filter_num_reduction_transition_size": "pggan_pages.filters", "discriminator_updates": "pggan_pages.n_critic",
        "generator_updates": "one, as it is here" if values["generator_updates"] == 1 else "no counterpart: G learns once after n_critic steps of D",
        "model_save_interval_steps": "pggan_pages.snap", "model_loss_output_interval_steps": "pggan_pages.tick",
        "inference_output_num": "book_fakes.seeds", "interpolation_frames": "book_walks.frames",
        "interpolation_vector_num": "book_walks.keypoints", "interpolation_method": f"book_walks.methods: {method}",
    }  # fmt: skip
    if values["pdf_directory"]:
        is_used = not values["download_pdf"]
        became["pdf_directory"] = (
            "archive_items.sources[0].folder" if is_used else "data/archive_items; with `download_pdf: False` it is read instead"
        )
    if values["pdf_conversion_program"]:
        sections["book_pages"]["engine"] = _one_of(path, "pdf_conversion_program", values["pdf_conversion_program"], _ENGINES)
        became["pdf_conversion_program"] = "book_pages.engine"
    if values["random_seed"] is not None:
        sections["pggan_pages"]["seed"] = values["random_seed"]
        became["random_seed"] = "pggan_pages.seed"
    if values["channels"]:
        became["channels"] = "page_dataset.colours"
    return sections, became


def _source(values: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9_-]+", "_", values["internetarchive_collection"].lower())[:64]
    # Few items of such collections state a licence.
    source: dict[str, Any] = {"name": name, "licence": "unknown", "max_items": values["pdf_num"]}
    if values["download_pdf"] or not values["pdf_directory"]:
        return {**source, "collection": values["internetarchive_collection"]}
    return {**source, "embedded": "archive_folder", "folder": str(Path(values["pdf_directory"]).expanduser())}


def _dataset_size(values: Mapping[str, Any]) -> int:
    return next(size for size in _DATASET_SIZES if size >= values["gan_output_size"])


def _stages(values: Mapping[str, Any]) -> list[str]:
    stages = ["archive_items", "book_pages", f"page_dataset@{_dataset_size(values)}"] if values["load_data"] else []
    wanted = {"train": "pggan_pages", "inference": "book_fakes", "interpolation": "book_walks"}
    return stages + [stage for switch, stage in wanted.items() if values[switch]]


def _plain(value: Any) -> Any:
    """A value as it was meant: the words None and null are nothing, which plain YAML only says as `null` or `~`."""
    return None if isinstance(value, str) and value.strip().lower() in {"none", "null", "~", ""} else value


def _checked(path: Path, name: str, value: Any, kind: type) -> Any:
    if value is None:
        return None
    try:
        found = _as(kind, value)
    except (KeyError, TypeError, ValueError):
        words = {bool: "True or False", int: "a whole number", float: "a number", str: "a word"}[kind]
        raise ParamsError(f"{path}: {name} must be {words}, or None, found {value!r}") from None
    if name in _POSITIVE and not found > 0:
        raise ParamsError(f"{path}: {name} must be more than 0, found {value!r}")
    return found


def _as(kind: type, value: Any) -> Any:
    """Raises KeyError, TypeError or ValueError."""
    if kind is bool:
        # YAML 1.1, which DeepZine read, knows more words for it.
        return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[str(value).strip().lower()]
    if kind is str:
        return str(value)
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise ValueError(value)
    return kind(number)


def _one_of(path: Path, name: str, value: str, known: Mapping[str, str]) -> str:
    if value.lower() not in known:
        raise ParamsError(f"{path}: {name} must be one of {', '.join(known)}, found {value!r}{did_you_mean(value, known)}")
    return known[value.lower()]


def _shown(value: Any) -> str:
    return "None" if value is None else str(value)
