"""What a registered model's card says of its data, and where it has that from."""

import json
from pathlib import Path

from training.loop.model_card import model_card, stage_description
from training.tracking.tracker import InputArtifact


def dataset(folder: Path, **files: str) -> InputArtifact:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return InputArtifact(folder.name, folder, "1" * 32 + ".dir")


def test_a_card_names_data_by_id_their_licences_and_the_numbers(tmp_path):
    table = dataset(tmp_path / "molecules", summary_json=json.dumps({"licences": {"BSD-3-Clause": 7, "CC0-1.0": 12}}))
    readme = "# Pictures\n\n## Licences\n\n| licence | pictures |\n|:---|---:|\n| MIT | 5 |\n\nEach row.\n\n## Sources\n\n| source |\n"
    pictures = dataset(tmp_path / "toc_dataset@128", README_md=readme)
    silent = dataset(tmp_path / "tokenizer", summary_json="{}")

    card = model_card("gan", "training.gan.train", "Draws *pictures*.", [table, pictures, silent], {"swd": 1234.5, "kimg": 1.5})

    assert card.startswith("# gan\n\nDraws *pictures*.\n\nMade by `python -m training.gan.train`.")
    assert f"| molecules | `{'1' * 32}.dir` |" in card and f"| tokenizer | `{'1' * 32}.dir` |" in card
    assert "molecules:\n\n| licence | rows |\n|:---|---:|\n| CC0\\-1\\.0 | 12 |\n| BSD\\-3\\-Clause | 7 |\n" in card
    assert "toc\\_dataset@128:\n\n| licence | pictures |\n|:---|---:|\n| MIT | 5 |\n" in card
    assert "tokenizer:" not in card and "| source |" not in card
    assert card.endswith("| kimg | 1.5 |\n| swd | 1234 |\n")


def test_data_that_name_no_licence_are_said_to(tmp_path):
    assert "## Licences of the data\n\nThe data name none.\n" in model_card("gan", "m", "", [dataset(tmp_path / "numbers")], {})


def test_a_stage_is_described_as_dvc_yaml_does_and_by_nothing_where_that_cannot_be_read(tmp_path):
    assert stage_description(tmp_path, "gan") == ""
    (tmp_path / "dvc.yaml").write_text("stages:\n  gan: {cmd: x, desc: Draws.}\n  silent: {cmd: x}\n")
    assert [stage_description(tmp_path, name) for name in ("gan", "silent", "other")] == ["Draws.", "", ""]
    (tmp_path / "dvc.yaml").write_text("stages: [\n")
    assert stage_description(tmp_path, "gan") == ""
