import pytest

from orchestration.bridge.graph import GraphError, ParamsFile
from orchestration.bridge.project import _shared_configurations
from tests.orchestration.bridge.toy import Toy


def values(toy: Toy, path: str, *keys: str) -> dict | None:
    return toy.project().param_values(ParamsFile(path, keys))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("p.yaml", "a: {b: {c: 1.5}, list: [1, 2]}\nd: yes"),
        ("p.json", '{"a": {"b": {"c": 1.5}, "list": [1, 2]}, "d": "yes"}'),
        ("p.toml", 'd = "yes"\n[a]\nlist = [1, 2]\n[a.b]\nc = 1.5'),
        ("p.py", 'import os\na = {"b": {"c": 1.5}, "list": [1, 2]}\nd = "yes"\nos.abort()'),
    ],
)
def test_parameters_are_read_from_yaml_json_and_toml_alike(toy: Toy, path: str, text: str) -> None:
    toy.write(path, text)

    assert values(toy, path, "a.b.c", "d", "a.absent", "d.below") == {"a.b.c": 1.5, "d": "yes"}
    assert values(toy, path) == {"a": {"b": {"c": 1.5}, "list": [1, 2]}, "d": "yes"}


def test_an_absent_file_is_none_and_an_empty_one_has_no_values(toy: Toy) -> None:
    toy.write("empty.yaml", "")

    assert values(toy, "absent.yaml", "a") is None
    assert values(toy, "empty.yaml", "a") == {}


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("params.yaml", "rows: [1", r"params\.yaml:\d+: not readable as YAML.*mend that line"),
        ("params.yaml", "- a\n- list\n", r"params\.yaml: expected a mapping of parameter sections, found list"),
        ("p.json", '{"a": ', r"p\.json: not readable as JSON.*mend that line"),
        ("p.toml", "a = ", r"p\.toml: not readable as TOML.*mend that line"),
        ("p.py", "a = ", r"p\.py: not readable as parameters in Python.*mend that line"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(toy: Toy, path: str, text: str, words: str) -> None:
    toy.write(path, text)
    tracked = ParamsFile(path, ("a",))
    project = toy.project()

    with pytest.raises(GraphError, match=words):
        project.param_values(tracked)


def test_parameters_of_toml_and_json_make_a_stage_stale_as_dvc_says(toy: Toy) -> None:
    toy.write("extra.toml", "depth = 3\n[net]\nwidth = 8\n")
    toy.write("extra.json", '{"x": 1, "y": 2}')
    toy.replace("dvc.yaml", "    params: [side, versions.yaml: [side]]\n", "    params: [side, extra.toml: [depth, net.width], extra.json: ]\n")
    toy.make("side")
    assert toy.stale() == toy.dvc_stale() == set()
    for path, old, new in [("extra.toml", "8", "9"), ("extra.json", '"y": 2', '"y": 3'), ("extra.json", '"x": 1, ', "")]:
        toy.replace(path, old, new)

        assert toy.stale() == toy.dvc_stale() == {"side"}
        toy.make("side")
        assert toy.stale() == toy.dvc_stale() == set()


@pytest.mark.parametrize("key", ["layers.0", "layers.1.w", "layers.-1", "a.*.z", "**.z", "layers.9", "a.?.z", "d.0"])
def test_a_part_of_a_list_and_a_pattern_are_what_dvc_takes_them_for(toy: Toy, key: str) -> None:
    from dvc.dependency.param import read_param_file
    from dvc.fs import LocalFileSystem

    toy.write("p.yaml", "layers: [1, {w: 3}, [4, 5]]\na: {x: 1, y: {z: 2}}\nd: text\n")

    assert values(toy, "p.yaml", key) == read_param_file(LocalFileSystem(), str(toy.root / "p.yaml"), [key], flatten=True)


def test_a_pattern_that_fits_several_values_is_refused(toy: Toy) -> None:
    toy.write("p.yaml", "a: {x: 1, y: 2}\n")

    with pytest.raises(GraphError, match=r"parameter a\.\*: expected a pattern that fits one value"):
        values(toy, "p.yaml", "a.*")


def test_an_element_of_a_list_makes_a_stage_stale_as_dvc_says(toy: Toy) -> None:
    toy.write("extra.yaml", "layers: [8, 16]\n")
    toy.replace("dvc.yaml", "    params: [side, versions.yaml: [side]]\n", "    params: [side, extra.yaml: [layers.1]]\n")
    toy.make("side")
    assert toy.stale() == toy.dvc_stale() == set()
    toy.replace("extra.yaml", "8,", "9,")
    assert toy.stale() == toy.dvc_stale() == set()
    toy.replace("extra.yaml", "16", "32")
    assert toy.stale() == toy.dvc_stale() == {"side"}


def test_the_cache_may_be_named_for_the_user_and_for_the_machine(toy: Toy, tmp_path, monkeypatch) -> None:
    for name in ("SYSTEM", "GLOBAL"):
        monkeypatch.setenv(f"DVC_{name}_CONFIG_DIR", str(tmp_path / name))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    toy.write("../SYSTEM/config", "[cache]\n    dir = /of/the/machine\n")
    assert str(toy.project().cache_dir) == "/of/the/machine"
    toy.write("../GLOBAL/config", "[cache]\n    dir = ~/cache\n")
    assert toy.project().cache_dir == tmp_path / "home/cache"
    toy.make("side")
    assert list((tmp_path / "home/cache/files/md5").iterdir())
    toy.write(".dvc/config.local", "[cache]\n    dir = ../own\n")
    assert toy.project().cache_dir == toy.root / "own"


@pytest.mark.parametrize(
    "surroundings", [{}, {"XDG_CONFIG_HOME": "CONFIG"}, {"XDG_CONFIG_DIRS": "CONFIG:/other"}, {"XDG_CONFIG_HOME": "not/absolute"}]
)
def test_configurations_are_looked_for_where_dvc_does(tmp_path, monkeypatch, surroundings) -> None:
    from dvc.dirs import global_config_dir, system_config_dir

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value.replace("CONFIG", str(tmp_path / "config")))
    assert [str(path.parent) for path in _shared_configurations()] == [system_config_dir(), global_config_dir()]


def test_the_cache_is_where_dvcs_configuration_says(toy: Toy, tmp_path) -> None:
    assert toy.project().cache_dir == toy.root / ".dvc/cache"
    toy.write(".dvc/config.local", "[cache]\n    dir = ../../elsewhere\n")
    assert toy.project().cache_dir == tmp_path / "elsewhere"
    toy.write(".dvc/config.local", "['remote \"store\"']\n    url = /somewhere/100%\n[cache]\n    dir = /abs/100%/olute\n")
    assert str(toy.project().cache_dir) == "/abs/100%/olute"
