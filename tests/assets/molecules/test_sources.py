"""Bringing sources together: from the wheel, from files, from addresses, and made from other sources."""

import hashlib
import http.server
import shutil
import threading

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

import yaml

from assets.molecules.rows import SourceError
from assets.molecules.source_index import read_index, read_sources
from assets.molecules.sources import MoleculeSourcesConfig, main
from stages.artifact_id import content_id
from stages.params import ParamsError, build_config, load_params

_FILE = {"name": "mine", "kind": "file", "path": "mine.csv", "licence": "MIT"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("smiles\nCCO\nCC\n")
    return tmp_path


def _run(*sources, **settings) -> int:
    with open("params.yaml", "w", encoding="utf-8") as stream:
        yaml.safe_dump({"molecule_sources": {"sources": list(sources), **settings}}, stream)
    return main([])


def test_a_local_file_is_copied_with_its_facts(project):
    assert _run(_FILE) == 0
    (record,) = read_index(project / "data/molecule_sources")
    copied = project / "data/molecule_sources" / record["file"]
    assert copied.read_text() == "smiles\nCCO\nCC\n"
    assert (record["source"], record["kind"], record["origin"], record["licence"], record["role"]) == ("mine", "file", "mine.csv", "MIT", "molecules")
    assert record["sha256"] == hashlib.sha256(copied.read_bytes()).hexdigest()


def test_how_to_read_a_file_travels_with_it(project):
    _run({**_FILE, "smiles_column": "smiles", "properties": {"x": {"column": "smiles", "unit": "1"}}})
    (source,) = read_sources(project / "data/molecule_sources", role="molecules")
    assert source.options.properties["x"].unit == "1"


def test_running_again_gives_the_same_bytes_and_a_removed_source_leaves(project):
    shutil.copy("mine.csv", "other.csv")
    other = {**_FILE, "name": "other", "path": "other.csv"}
    _run(_FILE, other)
    first = content_id(project / "data/molecule_sources")
    _run(_FILE, other)
    assert content_id(project / "data/molecule_sources") == first
    _run(other)
    assert [path.name for path in (project / "data/molecule_sources/files").iterdir()] == ["other"]


def test_an_absolute_path_does_not_enter_the_output(project):
    _run({**_FILE, "path": str(project / "mine.csv")})
    assert read_index(project / "data/molecule_sources")[0]["origin"] == "mine.csv"


def test_the_default_sources_need_no_network_and_give_both_datasets(project, project_root):
    assert main(["--params", str(project_root / "params.yaml")]) == 0
    folder = project / "data/molecule_sources"
    (nci,) = read_sources(folder, role="molecules")
    (units,) = read_sources(folder, role="polymers")
    assert nci.origin == "rdkit:Data/NCI/first_5K.smi"
    lines = units.path.read_text().splitlines()
    assert len(lines) == 6_000
    assert all(line.count("*") == 2 for line in lines)


@pytest.fixture
def web(project):
    """A server of one file, and how often it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = b"smiles\nCCC\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/a%20b/data.csv?x=1", asked
        running.shutdown()
        thread.join()


def _url(address, **more):
    return {"name": "web", "kind": "url", "url": address, "licence": "CC0-1.0", **more}


def test_an_address_is_asked_once_and_its_file_then_kept(project, web, capsys):
    address, asked = web
    assert _run(_url(address), allow_private_addresses=True) == 0
    digest = hashlib.sha256(b"smiles\nCCC\n").hexdigest()
    assert f"nothing vouches for its bytes; pin this sha256: {digest}" in capsys.readouterr().err
    inode = (project / "data/molecule_sources/files/web/data.csv").stat().st_ino
    assert _run(_url(address, sha256=digest), _FILE, allow_private_addresses=True) == 0
    assert len(asked) == 1
    assert (project / "data/molecule_sources/files/web/data.csv").stat().st_ino == inode


def test_a_kept_file_that_was_tampered_with_is_fetched_again(project, web):
    address, asked = web
    _run(_url(address), allow_private_addresses=True)
    (project / "data/molecule_sources/files/web/data.csv").write_text("smiles\nCCCC\n")
    _run(_url(address), allow_private_addresses=True)
    assert len(asked) == 2
    assert (project / "data/molecule_sources/files/web/data.csv").read_text() == "smiles\nCCC\n"


def test_a_failing_download_leaves_the_old_output(project, web, capsys):
    address, _ = web
    _run(_FILE)
    before = content_id(project / "data/molecule_sources")
    assert _run(_FILE, _url(address, sha256="0" * 64), allow_private_addresses=True) == 1
    assert "figment: source 'web': http://127.0.0.1" in (said := capsys.readouterr().err)
    assert "checksum mismatch" in said
    assert content_id(project / "data/molecule_sources") == before


def test_what_came_with_a_checksum_is_not_asked_for_again_after_others_failed(project, web, capsys):
    address, asked = web
    digest = hashlib.sha256(b"smiles\nCCC\n").hexdigest()
    others = [_url(address, name=f"bad{number}", sha256="0" * 64) for number in range(3)]
    assert _run(_url(address, sha256=digest), *others, allow_private_addresses=True) == 1
    assert "source 'bad0': " in (said := capsys.readouterr().err) and "(2 more could not be had)" in said
    assert len(asked) == 4
    assert _run(_url(address, sha256=digest), _url(address, name="bad0", sha256=digest), allow_private_addresses=True) == 0
    assert len(asked) == 5


def test_an_address_inside_the_own_network_is_refused_by_default(project, web, capsys):
    address, asked = web
    assert _run(_url(address)) == 1
    assert "not a public address" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**_FILE, "path": "gone.csv"}, "source 'mine': gone.csv: no such file; `path` is read from the project root"),
        ({**_FILE, "path": "."}, "source 'mine': . is a folder; `path` must name a file"),
        ({**_FILE, "sha256": "0" * 64}, "source 'mine': checksum mismatch: mine.csv has sha256"),
        ({**_FILE, "path": "empty.csv"}, "source 'mine': empty.csv is empty; expected molecules"),
        ({**_FILE, "path": "header.csv"}, "source 'mine': header.csv holds no record; expected molecules"),
        ({**_FILE, "path": "other.csv"}, "source 'mine' (other.csv): no column of SMILES; columns here: 'a', 'b'"),
        ({**_FILE, "smiles_column": "smile"}, "no column 'smile' (asked for by `smiles_column`) (did you mean 'smiles'?)"),
        ({**_FILE, "kind": "rdkit", "path": "Data/NCI/gone.smi"}, "the installed rdkit has no file Data/NCI/gone.smi"),
        ({**_FILE, "kind": "rdkit", "path": "Data/../../x"}, "must begin with Data/ or Contrib/"),
    ],
)
def test_a_source_that_cannot_be_had_is_named(project, capsys, source, message):
    (project / "empty.csv").touch()
    (project / "header.csv").write_text("smiles\n")
    (project / "other.csv").write_text("a,b\n1,2\n")
    assert _run(source) == 1
    assert message in capsys.readouterr().err
    assert not list(project.glob("data/.tmp-*"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**_FILE, "licence": "unknown"}, "source 'mine' has licence `unknown`; find it out, or set allow_unknown_licence: true"),
        ({**_FILE, "licence": " "}, "source 'mine': licence is empty"),
        ({key: value for key, value in _FILE.items() if key != "licence"}, r"sources\[0\].licence is missing"),
        ({**_FILE, "name": "../up"}, "name '../up' must be 1 to 64 letters"),
        ({**_FILE, "kind": "url"}, "source 'mine' of kind url needs `url`"),
        ({**_FILE, "kind": "url", "url": "file:///etc/passwd"}, "url must begin with http:// or https://"),
        ({**_FILE, "sha256": "12"}, "sha256 must be 64 hexadecimal digits, found '12'"),
        ({**_FILE, "kind": "repeat_units", "of": "nci", "count": 3}, "is made of 'nci', which must stand before it; there: none"),
        ({**_FILE, "kind": "repeat_units", "of": "nci"}, "count must be at least 1, found 0"),
        ({**_FILE, "kind": "fil"}, r"kind must be one of .* \(did you mean 'file'\?\)"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(source, message):
    with pytest.raises(ParamsError, match=message):
        build_config(MoleculeSourcesConfig, {"sources": [source]}, where="params.yaml: molecule_sources")


def test_one_name_for_two_sources_is_refused():
    with pytest.raises(ParamsError, match="sources names 'mine' twice"):
        build_config(MoleculeSourcesConfig, {"sources": [_FILE, _FILE]}, where="x")


def test_an_unknown_licence_is_carried_where_it_is_allowed(project):
    assert _run({**_FILE, "licence": "unknown"}, allow_unknown_licence=True) == 0
    assert read_index(project / "data/molecule_sources")[0]["licence"] == "unknown"


def test_a_dataset_without_sources_says_what_to_do(project):
    _run(_FILE)
    with pytest.raises(SourceError, match="no source has the role 'polymers'; add one"):
        read_sources(project / "data/molecule_sources", role="polymers")


def test_a_source_edited_after_it_was_fetched_is_not_used(project):
    _run(_FILE)
    (project / "data/molecule_sources/files/mine/mine.csv").write_text("smiles\nCCCC\n")
    with pytest.raises(SourceError, match="the index says .* it was changed after it was fetched: make molecule_sources again"):
        read_sources(project / "data/molecule_sources", role="molecules")


@pytest.mark.parametrize("preset", ["demo", "shared", "paper"])
def test_a_preset_is_valid(project_root, preset):
    from assets.molecules.build import DatasetConfig

    path = project_root / f"presets/{preset}.yaml"
    assert load_params(path, "molecule_sources", MoleculeSourcesConfig).sources
    for name in ("molecules", "polymers"):
        assert load_params(path, name, DatasetConfig).descriptors
