"""What sees images: every number's name says who did, and only the network of the pinned checksum may say FID."""

import hashlib
import re
import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images import features
from training.metrics.images.features import (
    FeatureExtractor,
    FeatureExtractorError,
    ImageInput,
    frechet_key,
    frechet_title,
    is_reference_inception,
    kernel_title,
    metric_name,
    open_extractor,
)

from .drawn_images import discs, noise


class Inceptionless(torch.nn.Module):
    """Stands in for the reference network: same way to be called, same number of features, none of its sight."""

    def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return img.float().flatten(1).mean(1, keepdim=True).repeat(1, 2048)


class ClassToken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class WholeMap(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, ::56, ::56]


def save_script(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return path


@pytest.fixture
def inception(tmp_path, monkeypatch):
    """A file that the table of pinned checksums knows."""
    path = save_script(Inceptionless(), tmp_path / "network.pt")
    monkeypatch.setattr(features, "INCEPTION_SHA256", {hashlib.sha256(path.read_bytes()).hexdigest(): "inception-2015-12-05.pt"})
    return open_extractor(f"inception:{path}")


def users_own() -> FeatureExtractor:
    """What `tests...:users_own` gives: the mean colour."""
    return MeanColour()


def a_liar() -> FeatureExtractor:
    liar = MeanColour()
    liar.name = "fid"
    return liar


def not_an_extractor() -> object:
    return object()


class MeanColour:
    name, version, sha256, dim, input = "mean_colour", "3", "ab" * 32, 3, ImageInput(0, (0.0, 255.0), "none")

    def __call__(self, images):
        return images.float().mean(dim=(2, 3))


def test_the_file_of_the_pinned_checksum_and_nothing_else_gives_a_number_called_fid(inception):
    assert frechet_key(inception) == "fid"
    assert (frechet_title(inception), kernel_title(inception)) == ("FID", "KID")
    assert metric_name(inception) == "inception"
    others = [open_extractor("random"), open_extractor("random", seed=7), open_extractor("pixels"), users_own(), a_liar()]
    assert [frechet_key(other) for other in others] == ["fd_rand0", "fd_rand7", "fd_pixels16", "fd_mean_colour_abababab", "fd_fid_abababab"]
    assert not any(is_reference_inception(other) for other in others)


def test_without_the_table_s_word_the_same_network_loses_the_name(inception, monkeypatch):
    monkeypatch.setattr(features, "INCEPTION_SHA256", {})
    assert frechet_key(inception) != "fid"


def test_the_pinned_checksum_is_the_published_one():
    assert set(features.INCEPTION_SHA256) == {"f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"}


def test_another_file_is_refused_before_it_is_run_and_both_checksums_are_said(tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(b"not even a network")
    found = hashlib.sha256(b"not even a network").hexdigest()
    with pytest.raises(FeatureExtractorError, match=f"{found}.*inception-2015-12-05.pt.*must not be called FID"):
        open_extractor(f"inception:{path}")


def test_the_reference_network_sees_bytes_as_they_are_and_gives_2048_features(inception):
    images = torch.from_numpy(noise(3))
    found = inception(images)
    assert found.shape == (3, inception.dim) == (3, 2048)
    assert torch.allclose(found[:, 0], images.float().mean(dim=(1, 2, 3)))


def test_dinov2_names_the_weights_in_its_key(tmp_path):
    path = save_script(ClassToken(), tmp_path / "dino.pt")
    extractor = open_extractor(f"dinov2:{path}")
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert (frechet_key(extractor), frechet_title(extractor), extractor.dim) == (f"fd_dinov2_{digits}", "FD-DINOv2", 3)
    assert kernel_title(extractor) == "KID-DINOv2"


def test_dinov2_sees_images_normalised_for_imagenet(tmp_path):
    extractor = open_extractor(f"dinov2:{save_script(ClassToken(), tmp_path / 'dino.pt')}")
    white = extractor(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8))
    assert white[0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rel=1e-5)


def test_a_network_that_gives_a_map_instead_of_the_class_token_is_refused(tmp_path):
    with pytest.raises(FeatureExtractorError, match=r"shape \(1, 3, 4, 4\).*class token"):
        open_extractor(f"dinov2:{save_script(WholeMap(), tmp_path / 'dino.pt')}")


@pytest.fixture
def dinov2_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: model)")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    transformers.Dinov2Model(transformers.Dinov2Config(**small)).save_pretrained(tmp_path)
    return tmp_path


def test_dinov2_opens_a_hugging_face_folder(dinov2_folder):
    extractor = open_extractor(f"dinov2:{dinov2_folder}")
    assert extractor(torch.from_numpy(discs(2))).shape == (2, 16)
    assert extractor.sha256 == hashlib.sha256((dinov2_folder / "model.safetensors").read_bytes()).hexdigest()


def test_dinov2_with_missing_weights_is_refused_instead_of_completed_at_random(dinov2_folder):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed (extra: model)")
    weights = dinov2_folder / "model.safetensors"
    tensors = safetensors.load_file(weights)
    del tensors["layernorm.weight"]
    safetensors.save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(FeatureExtractorError, match=r"1 weights of a Dinov2Model are missing \(first: layernorm.weight\)"):
        open_extractor(f"dinov2:{dinov2_folder}")


def test_another_model_s_folder_is_not_called_dinov2(dinov2_folder):
    config = dinov2_folder / "config.json"
    config.write_text(config.read_text().replace('"dinov2"', '"vit"'))
    with pytest.raises(FeatureExtractorError, match="must not be called FD-DINOv2"):
        open_extractor(f"dinov2:{dinov2_folder}")


def test_a_network_that_takes_something_else_says_what_was_expected(tmp_path):
    with pytest.raises(FeatureExtractorError, match=r"does not take float32 \[N, 3, 224, 224\]"):
        open_extractor(f"dinov2:{save_script(torch.nn.Linear(5, 5), tmp_path / 'dino.pt')}")


def test_a_folder_without_weights_is_said_to_lack_them(tmp_path):
    with pytest.raises(FeatureExtractorError, match=r"expected a Hugging Face folder with config.json and model.safetensors"):
        open_extractor(f"dinov2:{tmp_path}")


def test_a_file_that_is_no_torchscript_is_said_to_be_none(tmp_path):
    (tmp_path / "dino.pt").write_bytes(b"text")
    with pytest.raises(FeatureExtractorError, match="not a TorchScript file"):
        open_extractor(f"dinov2:{tmp_path / 'dino.pt'}")


def test_a_user_s_own_extractor_is_found_by_module_and_function():
    assert frechet_key(open_extractor(f"{__name__}:users_own")) == "fd_mean_colour_abababab"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{__name__}:a_liar", "calls itself 'fid'.*promises"),
        (f"{__name__}:not_an_extractor", "gave object, which lacks one of name"),
        (f"{__name__}:nowhere", "nowhere.*takes no arguments"),
        ("no_such_module_here:function", "no_such_module_here"),
        ("inception", "expected random, pixels, inception:PATH"),
        ("inception:", "expected random, pixels, inception:PATH"),
        ("resnet", "'resnet' is not a known extractor"),
        ("inception:nowhere/network.pt", r"nowhere/network.pt: no such file"),
    ],
)
def test_what_cannot_be_opened_says_why(name, words):
    with pytest.raises(FeatureExtractorError, match=words):
        open_extractor(name)


def test_random_convolutions_are_the_same_everywhere_and_others_with_another_seed():
    """A frozen checksum: were the weights to change with a library, the numbers named fd_rand0 would no longer compare."""
    assert open_extractor("random").sha256 == "973ccf9cc67a574998e307f520c50749b82719a162b60ecfc2e2f1ce99d189e5"
    assert open_extractor("random", seed=1).sha256 != open_extractor("random").sha256


@pytest.mark.parametrize("name", ["random", "pixels"])
@pytest.mark.parametrize("side", [16, 32, 64, 96])
def test_features_are_finite_float32_of_the_promised_size_whatever_the_image_s(name, side):
    extractor = open_extractor(name)
    found = extractor(torch.from_numpy(noise(2, side=side)))
    assert (found.dtype, found.shape) == (torch.float32, (2, extractor.dim))
    assert torch.isfinite(found).all()


def test_a_grey_image_is_seen_as_the_same_image_in_colour():
    extractor, grey = open_extractor("random"), torch.from_numpy(noise(2, channels=1))
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))


def test_an_image_is_seen_the_same_in_any_company():
    extractor, images = open_extractor("random"), torch.from_numpy(discs(5))
    assert torch.allclose(extractor(images)[3:4], extractor(images[3:4]), atol=1e-6)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 4, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8, dtype=torch.uint8)])
def test_what_is_no_uint8_batch_of_grey_or_colour_images_is_refused(images):
    with pytest.raises(ValueError, match=re.escape(f"found {images.dtype} {tuple(images.shape)}")):
        open_extractor("random")(images)


@pytest.mark.gpu
def test_a_gpu_sees_what_a_cpu_sees():
    images = torch.from_numpy(discs(8))
    assert torch.allclose(open_extractor("random", device="cuda")(images).cpu(), open_extractor("random")(images), atol=1e-3)
