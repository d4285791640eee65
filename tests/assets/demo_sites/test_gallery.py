"""The gallery that paintings are asked of: two domains in four folders, with what real collections have among them."""

import hashlib
import io
import math
import zipfile

import pytest

pytest.importorskip("PIL")

from PIL import Image

from assets.demo_sites import open_site
from assets.demo_sites.gallery import GALLERY_HOST, SUMS_PATH, ZIP_PATH, gallery_zip
from assets.demo_sites.scenes import _nearest_paint, painting, photograph
from tests.assets.demo_sites.proxying import client_of


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(gallery_zip())) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_the_zip_is_served_with_the_sum_that_is_told_and_in_parts():
    with open_site("imaginary_gallery") as proxy, client_of(proxy) as client:
        told, name = client.get(f"http://{GALLERY_HOST}{SUMS_PATH}").body.decode().split()
        body = client.get(f"http://{GALLERY_HOST}{ZIP_PATH}").body
        rest = client.get(f"http://{GALLERY_HOST}{ZIP_PATH}", Range=f"bytes={len(body) - 9}-")
    assert ZIP_PATH.endswith(name)
    assert hashlib.sha256(body).hexdigest() == told
    assert (rest.status, rest.body) == (206, body[-9:])


def test_both_domains_have_both_splits(pictures):
    counts = {folder: sum(name.startswith(f"{folder}/") for name in pictures) for folder in ("trainA", "testA", "trainB", "testB")}
    assert counts == {"trainA": 40, "testA": 8, "trainB": 40, "testB": 8}


def test_one_file_is_broken_one_is_grey_and_sizes_differ(pictures):
    sizes, modes, broken = set(), {}, []
    for name, body in pictures.items():
        if name.endswith((".jpg", ".png")):
            try:
                with Image.open(io.BytesIO(body)) as image:
                    image.load()
                    sizes.add(image.size)
                    modes[name] = image.mode
            except OSError:
                broken.append(name)
    assert broken == ["trainA/00023.jpg"]
    assert [name for name, mode in modes.items() if mode == "L"] == ["trainB/00005.jpg"]
    assert len(sizes) > 5 and {side for size in sizes for side in size} <= {64, 72, 80, 96}


def test_one_photograph_is_there_twice_and_one_nearly_in_the_other_split(pictures):
    by_content: dict[bytes, list[str]] = {}
    for name, body in pictures.items():
        by_content.setdefault(body, []).append(name)
    assert [names for names in by_content.values() if len(names) > 1] == [["trainB/00010.jpg", "trainB/00011.jpg"]]
    one, other = (Image.open(io.BytesIO(pictures[name])).convert("L") for name in ("trainB/00012.jpg", "testB/00041.jpg"))
    assert one.size == other.size
    assert sum(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)) / (one.width * one.height) < 4


def test_paintings_keep_to_their_paints_and_photographs_do_not():
    def distance(picture: Image.Image) -> float:
        levels = picture.resize((16, 16), Image.Resampling.NEAREST).tobytes()
        colours = zip(levels[::3], levels[1::3], levels[2::3], strict=True)
        return sum(math.dist(colour, _nearest_paint(colour)) for colour in colours) / 256

    painted = [distance(painting(str(number))) for number in range(6)]
    taken = [distance(photograph(str(number))) for number in range(6)]
    assert sum(painted) < 0.75 * sum(taken)
