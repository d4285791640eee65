"""DeepZine's configuration becomes a preset that our stages accept, with a word on every field."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestration.cli.preset import apply_preset
from orchestration.imports.deepzine_config import _FIELDS, _WITHOUT_COUNTERPART, translate
from stages.params import ParamsError, load_params
from tests.orchestration.cli.figment import figment

# The values that DeepZine ships, in its spelling.
SHIPPED = """\
gpu_num: None
load_data: True
pdf_directory: ~/pdf_directory
image_directory: ~/image_directory
data_hdf5: ~/data.hdf5
internetarchive_collection: MBLWHOI
pdf_num: 10000
data_output_size: 1024
train: True
log_dir: ~/models
model_save_interval_steps: 1000
samples_dir: ~/samples
model_sample_interval_steps: 400
gan_output_size: 128
learning_rate: .0001
iterations_per_stage: 10000
latent_size: 128
batch_size: 16
batch_size_reduction_transition_size: 256
reduced_batch_size: 4
model_loss_output_interval_steps: 40
max_filter: 128
filter_num_reduction_transition_size: 64
discriminator_updates: 1
generator_updates: 1
inference_model_directory: ~/models
inference_output_directory: ~/inference_images
inference: True
inference_output_num: 100
interpolation: True
interpolation_frames: 100
interpolation_vector_num: 10
interpolation_method: 'slerp'
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return translate(path)

    return read


def test_the_shipped_file_becomes_six_sections_and_every_field_is_told_of(read):
    found = read(SHIPPED)
    assert list(found.sections) == ["archive_items", "book_pages", "page_dataset", "pggan_pages", "book_fakes", "book_walks"]
    assert [row[0] for row in found.rows][:3] == ["gpu_num", "load_data", "pdf_directory"]
    assert {row[0] for row in found.rows} >= {line.partition(":")[0] for line in SHIPPED.splitlines()}
    assert all(words for _, _, words in found.rows)
    assert found.stages == ["archive_items", "book_pages", "page_dataset@128", "pggan_pages", "book_fakes", "book_walks"]


def test_numbers_mean_what_deepzine_said_of_them(read):
    found = read(SHIPPED.replace("gan_output_size: 128", "gan_output_size: 1024")).sections["pggan_pages"]
    # 64 px have half of the filters and every size above half of the one before: 128, 64, 32, 16, 8, 4.
    assert list(found["filters"].values()) == [128, 128, 128, 128, 64, 32, 16, 8, 4]
    assert found["batch_by_px"] == {8: 16, 16: 16, 32: 16, 64: 16, 128: 16, 256: 4, 512: 4, 1024: 4}
    assert (found["mbstd_group"], found["dataset_size"], found["normalize_latents"]) == (4, 1024, False)
    # 17 phases of 160,000 images each.
    assert (found["stable_kimg"], found["fade_kimg"], found["kimg"]) == (160.0, 160.0, 17 * 160.0)


def test_the_cap_on_pdfs_applies(read):
    """DeepZine compared a search result with a number, so that it never did."""
    (source,) = read("pdf_num: 12").sections["archive_items"]["sources"]
    assert (source["collection"], source["max_items"]) == ("MBLWHOI", 12)


@pytest.mark.parametrize("word", ["None", "'None'", "null", "none", ""])
def test_the_word_none_is_nothing_and_no_name_of_a_gpu(read, word):
    """DeepZine read it as text and told CUDA of a device called None."""
    found = read(f"gpu_num: {word}\npdf_num: {word}\nrandom_seed: {word}\n")
    assert ("gpu_num", "None", "no counterpart: CUDA_VISIBLE_DEVICES, or compute.yaml") in found.rows
    assert found.sections["archive_items"]["sources"][0]["max_items"] is None
    assert "seed" not in found.sections["pggan_pages"]


@pytest.mark.parametrize(("collection", "name"), [("_My Books!", "my_books"), ("蔵書", "deepzine")])
def test_a_source_is_named_as_sections_allow(read, collection, name):
    assert read(f"internetarchive_collection: {collection}\n").sections["archive_items"]["sources"][0]["name"] == name


def test_a_home_folder_is_expanded(read, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (source,) = read("download_pdf: False\npdf_directory: ~/pdfs\n").sections["archive_items"]["sources"]
    assert (source["embedded"], source["folder"]) == ("archive_folder", str(tmp_path / "pdfs"))
    assert "collection" not in source


def test_nothing_in_the_file_is_run(read, tmp_path):
    with pytest.raises(ParamsError, match="not valid YAML"):
        read(f"gpu_num: !!python/object/apply:pathlib.Path.touch [{tmp_path}/ran]\n")
    assert not (tmp_path / "ran").exists()


def test_what_is_left_out_is_as_shipped(read):
    found, whole = read("train: yes\ninference: 'no'"), read(SHIPPED)
    assert found.sections == whole.sections
    assert "book_fakes" not in found.stages
    assert ("latent_size", "(128, not stated)", "pggan_pages.z_dim, not normalised") in found.rows


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gan_output_size: 100", "gan_output_size must be a power of two from 4 to 1024, found 100"),
        ("batch_size: many", "batch_size must be a whole number, or None, found 'many'"),
        ("batch_size: 1.5", "batch_size must be a whole number"),
        ("latent_size: 0", "latent_size must be more than 0"),
        ("learning_rate: .nan", "learning_rate must be a number"),
        ("train: perhaps", "train must be True or False"),
        ("interpolation_method: slurp", r"must be one of slerp, linear, tozero, found 'slurp' \(did you mean 'slerp'"),
        ("pdf_conversion_program: word", "must be one of pdftoppm, ghostscript"),
        ("- a list", "expected the fields of DeepZine's config.yaml"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(read, line, words):
    with pytest.raises(ParamsError, match=words):
        read(line)


def test_what_is_unknown_or_differs_is_said(read):
    rows = {name: words for name, _, words in read("latent_sise: 4\ngenerator_updates: 2\npdf_conversion_program: ghostscript\nchannels: 1\n").rows}
    assert "did you mean 'latent_size'" in rows["latent_sise"]
    assert rows["generator_updates"].startswith("always one")
    assert rows["pdf_conversion_program"] == "book_pages.engine"
    assert rows["channels"] == "page_dataset.colours"
    assert not _WITHOUT_COUNTERPART.keys() & _FIELDS.keys()


STAGES = [
    ("archive_items", "assets.books.harvest.config", "ArchiveItemsConfig"),
    ("book_pages", "assets.books.pages.config", "BookPagesConfig"),
    ("page_dataset", "assets.books.page_dataset", "PageDatasetConfig"),
    ("pggan_pages", "training.progressive.options", "ProgressiveOptions"),
    ("book_fakes", "training.progressive.sample", "BookFakesConfig"),
    ("book_walks", "training.progressive.walks", "BookWalksConfig"),
]


@pytest.mark.parametrize(("section", "module", "name"), STAGES)
@pytest.mark.parametrize("px", [4, 128, 1024])
def test_each_stage_accepts_its_section(section, module, name, px, read, tmp_path, project_root):
    config = getattr(pytest.importorskip(module, exc_type=ModuleNotFoundError), name)
    text = SHIPPED.replace("gan_output_size: 128", f"gan_output_size: {px}") + "pdf_conversion_program: pdftoppm\nrandom_seed: 3\n"
    preset, params = tmp_path / "mine.yaml", tmp_path / "params.yaml"
    YAML().dump(read(text).sections, preset)
    params.write_text((project_root / "params.yaml").read_text())
    apply_preset(params, preset)
    assert load_params(params, section, config)


def test_the_command_writes_a_preset_and_says_what_became_of_each_field(tmp_path, project_root):
    config, out = tmp_path / "config.yaml", tmp_path / "out/mine.yaml"
    config.write_text(SHIPPED)
    answer = figment(project_root, "import", "deepzine", str(config), "--out", str(out))
    assert answer.code == 0
    assert "latent_size" in answer.out and "no counterpart: CUDA_VISIBLE_DEVICES" in answer.out
    assert out.read_text().startswith("# What config.yaml of DeepZine asks for")
    again = figment(project_root, "import", "deepzine", str(config), "--out", str(out))
    assert (again.code, again.err) == (1, f"figment: {out}: exists already; name another place, or remove it first\n")
    missing = figment(project_root, "import", "deepzine", str(Path(tmp_path) / "none.yaml"), "--out", str(tmp_path / "other.yaml"))
    assert missing.code == 2 and "no such file" in missing.err
