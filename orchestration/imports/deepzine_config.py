"""DeepZine's one YAML file becomes a preset: sections of params.yaml, and a word on every field.

Of the configuration only names and meanings were taken. Where it says one thing and DeepZine did another, the preset does what is said: the cap on
PDFs applies, the smaller batch is used, frames and vectors of walks are as asked.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.near_misses import did_you_mean
from stages.params import ParamsError, read_yaml

# What each field becomes, after the value that DeepZine ships, which holds where a file leaves it out. A type stands where it ships none.
_FIELDS: dict[str, tuple[Any, str]] = {
    "load_data": (True, "stages to make"),
    "train": (True, "stages to make"),
    "inference": (True, "stages to make"),
    "interpolation": (True, "stages to make"),
    "download_pdf": (True, "archive_items.sources: the collection, or pdf_directory served as an archive"),
    "internetarchive_collection": ("MBLWHOI", "archive_items.sources[0].collection"),
    "pdf_num": (10_000, "archive_items.sources[0].max_items"),
    "pdf_directory": (str, "archive_items.sources[0].folder where download_pdf is False; else data/archive_items"),
    "pdf_conversion_program": (str, "book_pages.engine"),
    "channels": (int, "page_dataset.colours"),
    "data_output_size": (1024, "page_dataset@1024 and @128, on a white square; `fit: squash` stretches as DeepZine did"),
    "gan_output_size": (128, "pggan_pages.resolution, from the smallest page_dataset that has it"),
    "latent_size": (128, "pggan_pages.z_dim, not normalised"),
    "learning_rate": (1e-4, "pggan_pages.lr at every size"),
    "iterations_per_stage": (10_000, "pggan_pages.stable_kimg and fade_kimg: times batch_size"),
    "batch_size": (16, "pggan_pages.batch"),
    "batch_size_reduction_transition_size": (256, "pggan_pages.batch_by_px"),
    "reduced_batch_size": (4, "pggan_pages.batch_by_px and mbstd_group"),
    "max_filter": (128, "pggan_pages.filters"),
    "filter_num_reduction_transition_size": (64, "pggan_pages.filters"),
    "discriminator_updates": (1, "pggan_pages.n_critic"),
    "generator_updates": (1, "always one: G learns once after n_critic steps of D"),
    "random_seed": (int, "pggan_pages.seed"),
    "model_save_interval_steps": (1000, "pggan_pages.snap"),
    "model_loss_output_interval_steps": (40, "pggan_pages.tick"),
    "inference_output_num": (100, "book_fakes.seeds"),
    "interpolation_frames": (100, "book_walks.frames"),
    "interpolation_vector_num": (10, "book_walks.keypoints"),
    "interpolation_method": ("slerp", "book_walks.methods"),
}
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
_CHOICES = {
    "interpolation_method": {"slerp": "spherical", "linear": "linear", "tozero": "origin"},
    "pdf_conversion_program": {"pdftoppm": "poppler", "ghostscript": "ghostscript"},
}
_POWERS = ("data_output_size", "gan_output_size", "batch_size_reduction_transition_size", "filter_num_reduction_transition_size")
_SIDES = tuple(2**power for power in range(2, 11))


@dataclass(frozen=True)
class Translation:
    """sections: of the preset. rows: (field, its value, what became of it), in the order of the file. stages: what its switches ask to be made."""

    sections: dict[str, dict[str, Any]]
    rows: list[tuple[str, str, str]]
    stages: list[str]


def translate(path: Path) -> Translation:
    """The preset for a configuration file. Raises ParamsError, which names the field."""
    tree = read_yaml(path)
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{path}: expected the fields of DeepZine's config.yaml, found {type(tree).__name__}")
    # The words None and null are nothing, too, which plain YAML only says as `null` or `~`.
    given = {str(name): None if str(value).strip().lower() in {"none", "null", "~", ""} else value for name, value in tree.items()}
    values = {name: _value(path, name, given) for name in _FIELDS}
    rows = []
    for name in [*given, *(name for name in _FIELDS if name not in given and values[name] is not None)]:
        if name in _FIELDS:
            words = _FIELDS[name][1]
        elif name in _WITHOUT_COUNTERPART:
            words = f"no counterpart: {_WITHOUT_COUNTERPART[name]}"
        else:
            words = f"not a field of DeepZine's{did_you_mean(name, _FIELDS.keys() | _WITHOUT_COUNTERPART)}"
        rows.append((name, str(given[name]) if name in given else f"({_FIELDS[name][0]}, not stated)", words))
    dataset = 128 if values["gan_output_size"] <= 128 else 1024
    wanted = {
        "load_data": ["archive_items", "book_pages", f"page_dataset@{dataset}"],
        "train": ["pggan_pages"], "inference": ["book_fakes"], "interpolation": ["book_walks"],
    }  # fmt: skip
    return Translation(_sections(values, dataset), rows, [stage for switch, stages in wanted.items() if values[switch] for stage in stages])


def _sections(values: Mapping[str, Any], dataset: int) -> dict[str, dict[str, Any]]:
    px, batch = values["gan_output_size"], values["batch_size"]
    shrinks_at, reduced = values["batch_size_reduction_transition_size"], values["reduced_batch_size"]
    batches = {side: reduced if shrinks_at <= min(side, px) else batch for side in _SIDES[1:]}
    halves_at, most = values["filter_num_reduction_transition_size"], values["max_filter"]
    filters = {side: max(1, most // (2 * side // halves_at)) if side >= halves_at else most for side in _SIDES}
    # Iterations become images, which is what is counted here: batch_size of them each, also where the batch is smaller.
    kimg = values["iterations_per_stage"] * batch / 1000
    keypoints = max(2, values["interpolation_vector_num"])
    sections: dict[str, dict[str, Any]] = {
        "archive_items": {"sources": [_source(values)]},
        "book_pages": {"page_px": 1024},
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
            "methods": [values["interpolation_method"]], "keypoints": keypoints, "frames": values["interpolation_frames"], "loop": False,
            "grid": [1, 1], "seeds": f"0-{keypoints - 1}", "fps": 60, "png": True,
        },
    }  # fmt: skip
    if values["pdf_conversion_program"]:
        sections["book_pages"]["engine"] = values["pdf_conversion_program"]
    if values["random_seed"] is not None:
        sections["pggan_pages"]["seed"] = values["random_seed"]
    return sections


def _source(values: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^a-z0-9-]+", "_", values["internetarchive_collection"].lower()).strip("_-")[:64] or "deepzine"
    # Few items of such collections state a licence.
    source: dict[str, Any] = {"name": name, "licence": "unknown", "max_items": values["pdf_num"]}
    if values["download_pdf"] or not values["pdf_directory"]:
        return {**source, "collection": values["internetarchive_collection"]}
    return {**source, "embedded": "archive_folder", "folder": str(Path(values["pdf_directory"]).expanduser())}


def _value(path: Path, name: str, given: Mapping[str, Any]) -> Any:
    """What holds for a field. An explicit nothing lifts the cap on PDFs; otherwise it leaves the shipped value."""
    shipped, value = _FIELDS[name][0], given.get(name)
    kind = shipped if isinstance(shipped, type) else type(shipped)
    if value is None:
        if shipped is kind or (name == "pdf_num" and name in given):
            return None
        value = shipped
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a word"}[kind]
    try:
        found = _as(kind, value)
    except (KeyError, TypeError, ValueError):
        raise ParamsError(f"{path}: {name} must be {words}, or None, found {value!r}") from None
    if kind in (int, float) and name != "random_seed" and not found > 0:
        raise ParamsError(f"{path}: {name} must be more than 0, found {value!r}")
    if name in _POWERS and found not in _SIDES:
        raise ParamsError(f"{path}: {name} must be a power of two from 4 to 1024, found {value!r}")
    if name not in _CHOICES:
        return found
    if found.lower() not in _CHOICES[name]:
        raise ParamsError(f"{path}: {name} must be one of {', '.join(_CHOICES[name])}, found {value!r}{did_you_mean(found, _CHOICES[name])}")
    return _CHOICES[name][found.lower()]


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
