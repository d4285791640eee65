"""Sets of pictures and folders of pictures, translated either way: the stage, by hand, and what Kaggle takes."""

import contextlib
import json
import shutil
import zipfile

import numpy
import pytest
import torch

pytest.importorskip("av", reason="av is not installed (extra: video)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from formats.image_shards import ImageShards
from formats.tables import read_table
from formats.video import read_video
from tests.training.conftest import RecordingReporter
from training.cyclegan import translate as module
from training.cyclegan.folders import TranslateError
from training.cyclegan.tiles import translate
from training.cyclegan.translate import PaintedConfig, main, make_painted
from training.gans.grids import to_uint8

from .tiny import CPU, tiny, write_model, write_set

CONFIG = PaintedConfig(images_per_shard=4, gallery=(1, 2), batch_size=4, fps=5)


def pictures(count, *, seed, side=32, channels=3):
    return numpy.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=numpy.uint8)


def make_data(folder, generators=None, *, a=7, b=6, side=32, channels=(3, 3)):
    """A data folder with a model and its sets."""
    data = folder / "data"
    write_model(data / "cyclegan_paintings", generators or tiny())
    for seed, (name, count) in enumerate((("testA", a), ("testB", b), ("trainA", 5), ("trainB", 5))):
        write_set(data / "paintings" / name, pictures(count, seed=seed, side=side, channels=channels[seed % 2]))
    return data


def make(data, config=CONFIG, generators=None, reporter=None):
    places = {"data": data, "state": data.parent / ".figment", "reporter": reporter or RecordingReporter()}
    make_painted(config, generators or tiny(), CPU, **places)
    return data / "painted_photos"


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    return make(make_data(tmp_path_factory.mktemp("painted")))


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_picture_of_the_test_sets_is_translated_under_its_own_number(painted):
    for way, letter, network in (("a2b", "A", tiny().a_to_b), ("b2a", "B", tiny().b_to_a)):
        before, after = ImageShards(painted.parent / f"paintings/test{letter}"), ImageShards(painted / way / "test")
        assert after.names == before.names
        expected = to_uint8(translate(network, before.load_all(), CPU)).numpy()
        assert numpy.abs(after.load_all().astype(int) - expected).max() <= 1


def test_the_index_says_where_each_of_them_lies(painted):
    rows = read_table(painted / "index.parquet").to_pylist()
    assert len(rows) == 13
    assert rows[0] == {"direction": "b2a", "split": "test", "serial": 1, "shard": "b2a/test/shard-00000.zip", "member": "00000/img00000001.png"}
    for row in rows:
        with zipfile.ZipFile(painted / row["shard"]) as archive:
            assert row["member"] in archive.namelist()


def test_a_gallery_shows_each_picture_before_after_and_back_again(painted):
    with Image.open(painted / "gallery-a2b.png") as picture:
        enlarged = numpy.asarray(picture)
    # Small pictures are shown larger, pixel by pixel.
    assert enlarged.shape == (6 * 2 * 32, 6 * 3 * 32, 3)
    shown = enlarged[::6, ::6]
    before = ImageShards(painted.parent / "paintings/testA").image(1).transpose(1, 2, 0)
    after = ImageShards(painted / "a2b/test").image(1)
    assert (shown[32:, :32] == before).all()
    assert (shown[32:, 32:64] == after.transpose(1, 2, 0)).all()
    back = to_uint8(translate(tiny().b_to_a, after[None], CPU))[0].permute(1, 2, 0).numpy()
    assert numpy.abs(shown[32:, 64:].astype(int) - back).max() <= 1


def test_the_film_shows_each_snapshot_of_the_training(painted):
    frames = read_video(painted / "training.mp4")
    assert len(frames) == 2 + 8  # a fifth of a second each, the last one longer
    assert frames[-1].mean() > frames[0].mean()


def test_batches_do_not_matter_and_equal_inputs_give_equal_bytes(painted, tmp_path):
    again = make(make_data(tmp_path))
    assert files(again) == files(painted)
    one_by_one = make(make_data(tmp_path / "one"), PaintedConfig(images_per_shard=4, gallery=(1, 2), batch_size=1, fps=5))
    for way in ("a2b", "b2a"):
        difference = ImageShards(one_by_one / way / "test").load_all().astype(int) - ImageShards(painted / way / "test").load_all()
        assert numpy.abs(difference).max() <= 1


def test_killed_it_goes_on_with_the_next_shard(painted, tmp_path, monkeypatch):
    data, original, calls = make_data(tmp_path), module.translated, []

    def dying(generator, images, devices):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(generator, images, devices)

    monkeypatch.setattr(module, "translated", dying)
    with pytest.raises(KeyboardInterrupt):
        make(data)
    reporter = RecordingReporter()
    assert files(make(data, reporter=reporter)) == files(painted)
    assert any("2 of 4 shards were finished before" in line for line in reporter.lines)
    assert not list((tmp_path / ".figment").rglob("*.zip"))


def test_grey_paintings_and_coloured_photographs_go_through_a_network_in_colour(tmp_path):
    painted = make(make_data(tmp_path, channels=(1, 3)))
    assert ImageShards(painted / "a2b/test").channels == 3
    with Image.open(painted / "gallery-a2b.png") as picture:
        shown = numpy.asarray(picture)[:, ::3]
    assert (shown[:, :32] == shown[:, :32, :1]).all()
    assert not (shown[:, 64:96] == shown[:, 64:96, :1]).all()


def test_a_network_of_grey_pictures_gives_grey_ones(tmp_path):
    both = tiny(channels_a=1, channels_b=1)
    painted = make(make_data(tmp_path, both, channels=(1, 1)), generators=both)
    assert ImageShards(painted / "b2a/test").channels == 1


def test_the_train_sets_come_along_when_asked_for_and_lower_resolutions_too(tmp_path):
    painted = make(make_data(tmp_path, side=64), PaintedConfig(splits=("test", "train"), fps=5))
    assert sorted(path.name for path in (painted / "b2a").iterdir()) == ["test", "train"]
    assert ImageShards(painted / "b2a/train").resolution == 32
    assert make(painted.parent, PaintedConfig(resolution=64, fps=5)) and ImageShards(painted / "b2a/test").resolution == 64


def test_a_resolution_that_the_network_does_not_take_is_said_to_be_one(tmp_path):
    generators = tiny(net_g="unet_64", resolution=64)
    with pytest.raises(TranslateError, match="unet_64 takes sides that are multiples of 64 px, found resolution 32"):
        make(make_data(tmp_path, generators, side=64), PaintedConfig(resolution=32), generators)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"splits": ()}, "splits must name"),
        ({"splits": ("test", "test")}, "each once"),
        ({"gallery": (0, 2)}, "gallery must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"snapshot_s": 0}, "snapshot_s must be above 0"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        PaintedConfig(**values)


# Kaggle


@pytest.mark.parametrize(("count", "is_taken"), [(6999, False), (7000, True), (10_000, True), (10_001, False), (0, False)])
def test_kaggle_takes_seven_to_ten_thousand_pictures(count, is_taken):
    with contextlib.nullcontext() if is_taken else pytest.raises(TranslateError, match=f"^{count:,} pictures, but Kaggle takes 7,000 to 10,000"):
        module._check_kaggle(256, count)


def check_submission(path, count):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names)) == count
        for name in names:
            assert "/" not in name
            with archive.open(name) as stream, Image.open(stream) as picture:
                assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (256, 256))
    return names


def test_the_stage_refuses_too_few_pictures_before_it_translates_any_and_else_writes_the_zip(tmp_path, monkeypatch):
    data = make_data(tmp_path, a=1, b=2, side=256)
    asked = {"kaggle": "b2a", "resolution": 256, "splits": ("test", "train"), "fps": 5}
    with pytest.raises(TranslateError, match="^7 pictures, but Kaggle takes 7,000"):
        make(data, PaintedConfig(**asked))
    assert not (data / "painted_photos").exists()
    monkeypatch.setattr(module, "KAGGLE_FEWEST", 7)
    names = check_submission(make(data, PaintedConfig(**asked)) / "images.zip", 7)
    assert names[0] == "test-img00000001.jpg"
    with pytest.raises(TranslateError, match="Kaggle takes pictures of 256 px, found 32 px"):
        make(data, PaintedConfig(kaggle="b2a"))


# By hand


@pytest.fixture
def mixed(tmp_path):
    """A folder as people have them: sizes, kinds, folders, and two files that are no pictures."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)

    def save(name, size, mode="RGB"):
        Image.fromarray(numpy.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8)).convert(mode).save(
            folder / name
        )

    save("one.png", (1, 1))
    save("odd.jpg", (37, 53))
    save("large.jpeg", (90, 70))
    save("grey.png", (20, 31), "L")
    save("see through.png", (20, 20), "RGBA")
    save("web.webp", (40, 20))
    save("more/web.gif", (16, 18), "P")
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:80])
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / "notes.txt").write_text("no picture")
    return folder


MADE = {
    "one.png": ("PNG", (1, 1)),
    "odd.jpg": ("JPEG", (37, 53)),
    "large.jpeg": ("JPEG", (90, 70)),
    "grey.png": ("PNG", (20, 31)),
    "see through.png": ("PNG", (20, 20)),
    "web.webp.png": ("PNG", (40, 20)),
    "more/web.gif.png": ("PNG", (16, 18)),
}


def by_hand(tmp_path, images, *more, generators=None):
    network = tmp_path / "model"
    if not network.exists():
        write_model(network, generators or tiny())
    flags = ["--network", str(network), "--images", str(images), "--outdir", str(tmp_path / "out"), "--tile", "32", "--overlap", "8"]
    return main([*flags, *more])


def test_a_folder_of_any_pictures_is_translated_under_the_same_names_and_sizes(mixed, tmp_path, capsys):
    assert by_hand(tmp_path, mixed, "--direction", "b2a") == 0
    found = {}
    for name in MADE:
        with Image.open(tmp_path / "out" / name) as picture:
            picture.load()
            found[name] = (picture.format, picture.size)
    assert found == MADE
    assert "7 pictures translated, 0 were there before; 2 set aside: broken.png (png, 20×31: " in capsys.readouterr().err
    assert [row["name"] for row in json.loads((tmp_path / "out/translation.json").read_text())["set_aside"]] == ["broken.png", "page.jpg"]


def test_what_is_there_is_not_made_again(mixed, tmp_path, capsys):
    by_hand(tmp_path, mixed)
    before = files(tmp_path / "out")
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in MADE}
    (tmp_path / "out/odd.jpg").unlink()
    assert by_hand(tmp_path, mixed) == 0
    assert files(tmp_path / "out") == before
    assert [name for name in MADE if (tmp_path / "out" / name).stat().st_mtime_ns != times[name]] == ["odd.jpg"]
    assert "1 pictures translated, 6 were there before" in capsys.readouterr().err


def test_a_folder_that_another_network_or_way_filled_is_left_alone(mixed, tmp_path, capsys):
    by_hand(tmp_path, mixed)
    before = files(tmp_path / "out")
    assert by_hand(tmp_path, mixed, "--direction", "a2b") == 1
    shutil.rmtree(tmp_path / "model")
    assert by_hand(tmp_path, mixed, generators=tiny(seed=5)) == 1
    assert capsys.readouterr().err.count("choose another --outdir") == 2
    assert files(tmp_path / "out") == before


def test_a_folder_with_something_else_in_it_is_left_alone(mixed, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/odd.jpg").write_bytes(b"mine")
    assert by_hand(tmp_path, mixed) == 1
    assert "not empty, and not made by this program; choose another --outdir" in capsys.readouterr().err
    assert files(tmp_path / "out") == {"odd.jpg": b"mine"}


def test_both_domains_in_grey_make_grey_files(mixed, tmp_path):
    by_hand(tmp_path, mixed, generators=tiny(channels_a=1, channels_b=1))
    with Image.open(tmp_path / "out/odd.jpg") as picture:
        assert picture.mode == "L"


def test_shards_and_zips_are_folders_too(painted, tmp_path):
    assert by_hand(tmp_path, painted.parent / "paintings/testB") == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


def test_a_name_that_leads_out_of_the_folder_is_set_aside(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("../escaped.png", "inside.png"):
            content = tmp_path / "one.png"
            Image.new("RGB", (9, 9)).save(content)
            archive.write(content, name)
    assert by_hand(tmp_path, tmp_path / "photos.zip") == 0
    assert not (tmp_path / "escaped.png").exists()
    assert "1 set aside: ../escaped.png (its name leads out of the folder)" in capsys.readouterr().err


def test_two_pictures_that_would_take_one_name_are_not_mixed_up(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for name in ("a.webp", "a.webp.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "photos" / name)
    assert by_hand(tmp_path, tmp_path / "photos") == 0
    assert "1 pictures translated, 0 were there before; 1 set aside: a.webp.png (another picture became a.webp.png)" in capsys.readouterr().err


def test_what_cannot_be_translated_is_said_in_a_line(mixed, tmp_path, capsys):
    cases = [
        (by_hand(tmp_path, tmp_path / "nowhere"), 1, "no such file or folder"),
        (by_hand(tmp_path, mixed, "--overlap", "20"), 2, "tile must be at least twice the overlap"),
        (by_hand(tmp_path, mixed, "--outdir", str(mixed / "out")), 1, "would be translated too; choose another --outdir"),
        (main(["--images", str(mixed)]), 2, "--images needs --outdir"),
        (main(["--images", str(mixed), "--outdir", str(tmp_path / "x"), "--network", str(tmp_path)]), 1, "expected a trained CycleGAN"),
    ]
    errors = capsys.readouterr().err
    for code, expected, message in cases:
        assert code == expected, message
        assert message in errors
    (mixed / "empty").mkdir()
    assert by_hand(tmp_path, mixed / "empty") == 1
    (mixed / "empty/bad.png").write_bytes(b"bad")
    assert by_hand(tmp_path, mixed / "empty") == 1
    errors = capsys.readouterr().err
    assert "no picture in it" in errors and "none of 1 files is a picture that can be used" in errors


def test_the_stage_runs_from_the_command_line(tmp_path, monkeypatch, project_root):
    make_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("painted_photos:\n  images_per_shard: 3\n")
    assert main(["--set", "fps=5"]) == 0
    assert (tmp_path / "data/painted_photos/b2a/test/shard-00001.zip").is_file()


def test_a_killed_picture_leaves_no_half_file(mixed, tmp_path, monkeypatch):
    def dying(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "translate_picture", dying)
    assert by_hand(tmp_path, mixed) == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["translation.json"]


@pytest.mark.shared_data
def test_real_photographs_of_real_sizes_are_translated_in_tiles(shared_data, tmp_path):
    photographs = sorted((shared_data / "journals/chem_bla_ics/assets/images").glob("dsci*.jpg"))[:1]
    (tmp_path / "photos").mkdir()
    for path in [*photographs, *sorted((shared_data / "unpaired_images/photo_flowers").glob("*.jpg"))[:3]]:
        shutil.copyfile(path, tmp_path / "photos" / path.name)
    assert by_hand(tmp_path, tmp_path / "photos", "--tile", "512", "--overlap", "64", generators=tiny(ngf=2)) == 0
    sizes = []
    for path in sorted((tmp_path / "out").glob("*.jpg")):
        with Image.open(path) as made, Image.open(tmp_path / "photos" / path.name) as given:
            assert made.size == given.size
            sizes.append(made.size)
    assert len(sizes) == 4 and max(sizes) == (1600, 1200)


def test_half_precision_is_for_gpus_only():
    with CPU.autocast("auto"):
        assert not torch.is_autocast_enabled("cpu")
