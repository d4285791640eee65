"""Packages and articles as PubMed Central has them, made up: a JATS article, its pictures in two formats, and what else lies in such an archive."""

import gzip
import io
import tarfile
import zipfile

from PIL import Image

LICENCE = "https://creativecommons.org/licenses/by/4.0/"


_HEAD = """<?xml version="1.0"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving DTD v1.3 20210610//EN" "JATS-archivearticle1-3.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"
article-type="research-article" xml:lang="en"><front><journal-meta><journal-id journal-id-type="nlm-ta">Imag Chem</journal-id>
<journal-title-group><journal-title>Imaginary Chemistry</journal-title></journal-title-group></journal-meta>
"""
GRAPHICAL = (
    '<abstract abstract-type="graphical"><p><fig id="ga"><label>Graphical abstract</label><graphic xlink:href="imag-1-ga"/></fig></p></abstract>'
)
FIGURE = '<fig id="f1"><label>Figure 1</label><caption><p>It grows.</p></caption><graphic xlink:href="imag-1-g001"/></fig>'


def article(number: int = 1, *, licence: str = LICENCE, abstract: str = GRAPHICAL, body: str = FIGURE) -> bytes:
    return f"""{_HEAD}<article-meta>
<article-id pub-id-type="pmc">PMC{number}</article-id><article-id pub-id-type="doi">10.5555/imag.{number}</article-id>
<title-group><article-title>On imaginary solids, part {number}</article-title></title-group>
<pub-date pub-type="epub"><day>2</day><month>3</month><year>2024</year></pub-date>
<volume>4</volume><issue>2</issue><fpage>10</fpage><lpage>19</lpage><permissions><license>
<ali:license_ref specific-use="textmining">{licence}</ali:license_ref><license-p>Open access.</license-p></license></permissions>
<abstract><title>Abstract</title><p>They are solid, part {number}.</p></abstract>{abstract}</article-meta></front>
<body><p>See <xref ref-type="fig" rid="f1">Figure 1</xref>.</p>{body}
<disp-formula><graphic xlink:href="imag-1-m001"/></disp-formula></body></article>""".encode()


def drawing(colour: int, kind: str = "JPEG", side_px: int = 48) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (colour % 256, 40, 90)).save(file, kind)
    return file.getvalue()


def members(number: int = 1, **changed: bytes) -> dict[str, bytes]:
    """What the package of an article holds, by name."""
    folder = f"PMC{number}"
    return {
        f"{folder}/imag-1-g001.gif": drawing(number, "GIF", 12),
        f"{folder}/imag-1-g001.jpg": drawing(number + 1),
        f"{folder}/imag-1-ga.gif": drawing(number, "GIF", 12),
        f"{folder}/imag-1-ga.jpg": drawing(number + 2),
        f"{folder}/imag.{number}.nxml": article(number),
        f"{folder}/supplement.xml": b"<data>not an article</data>",
        f"{folder}/imag.{number}.pdf": b"%PDF-1.4 made up",
    } | changed


def tar_gz(files: dict[str, bytes], *, links: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
