"""HTML and XML of strangers, read without network, entity expansion or bottomless trees, and the text of their elements."""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from html.entities import html5
from typing import Any

from lxml import etree

from assets.papers.items import Page, PageObject, Parsed, Problem
from assets.papers.page_rules import keep_rules
from formats.plain_text import BLOCKS, clean, decode, script

# What hostile or broken bytes make the parsers and the code below raise.
BAD_INPUT = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, etree.LxmlError)

_NOT_TEXT = {"script", "style", "noscript", "template", "annotation", "annotation-xml", "svg", "graphic", "inline-graphic", "fn", "object-id"}
_SPECIAL = _NOT_TEXT | {"math", "tex-math", "alternatives"}
_MARKERS = {"fn", "aff", "corresp", "author-notes", "table-fn"}  # JATS: asterisks and numbers that lead to notes
_SCRIPTS = {"sub", "sup"}
_TREATED = _SPECIAL | _SCRIPTS | {"xref", ""}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_CONTROL_BYTES = bytes([*range(9), 0x0B, 0x0C, *range(0x0E, 0x20)])
# libxml2 compares every attribute of a tag with all others.
_LONG = 16_384  # bytes
_LONG_TAG = re.compile(rb"<([A-Za-z][A-Za-z0-9]{0,30})[^<>]{%d,}" % _LONG)
_ATTRIBUTE = re.compile(rb"\s[^\s=\"']+")
_MOST_ATTRIBUTES = 5_000
_END_OF_SUBSET = re.compile(r"\]\s*>")
_NOT_SPACE = re.compile(r"\S")
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_XML_NAMES = {"amp", "lt", "gt", "quot", "apos", "AMP", "LT", "GT", "QUOT"}
_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)


def tolerant(parse: Callable[[Page], Parsed]) -> PageObject:
    """A page object that sets a page it cannot read aside as one problem, where `parse` would raise, and keeps the rules of all page objects."""

    @wraps(parse)
    def read(page: Page) -> Parsed:
        try:
            return keep_rules(page, parse(page))
        except BAD_INPUT as error:
            words = f"cannot be read: {type(error).__name__}: {clean(str(error))[:200]}; keep the page and mend its page object, or drop its address"
            return Parsed(problems=(Problem(page.url, words),))

    return read


def html_tree(page: Page) -> etree._Element:
    """The root element of an HTML page; a page without any element gives an empty document."""
    data = _without_controls(decode(page.body, page.content_type))
    if max(map(len, data.split(b"<"))) > _LONG:  # a third of the pattern's cost
        data = _LONG_TAG.sub(_without_flood, data)
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=False, no_network=True, remove_comments=True, remove_pis=True)
    root = etree.fromstring(data, parser) if data.strip() else None
    return etree.Element("html") if root is None else root


def _without_flood(tag: re.Match[bytes]) -> bytes:
    """A tag as it is, or by its name alone where it has more attributes than any page."""
    return tag[0] if sum(1 for _ in _ATTRIBUTE.finditer(tag[0])) <= _MOST_ATTRIBUTES else b"<" + tag[1]


def _without_controls(text: str) -> bytes:
    """UTF-8 without the characters that no parser takes. Nearly no page has any, and looking at bytes tells it fastest."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair
        return _CONTROL.sub(" ", text).encode("utf-8")
    has_none = len(data.translate(None, _CONTROL_BYTES)) == len(data) and "\ufffe" not in text and "\uffff" not in text
    return data if has_none else _CONTROL.sub(" ", text).encode("utf-8")


def xml_tree(text: str, *, recover: bool = False) -> etree._Element:
    """The root element of an XML text. A document type with its own entity declarations is dropped whole, so nothing can expand."""
    # Entities that HTML knows and XML does not (&nbsp;) become characters, XML's own five stay.
    text = _NAMED.sub(lambda match: html5.get(f"{match[1]};", match[0]) if match[1] not in _XML_NAMES else match[0], text)
    text = _without_document_type(_CONTROL.sub(" ", text))
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=recover,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )
    root = etree.fromstring(text.encode("utf-8"), parser)
    if root is None:
        raise ValueError("no XML element found")
    return root


def _without_document_type(text: str) -> str:
    """The text without what comes before its first element: declaration, comments, document type."""
    place = 0
    while True:
        place = _after_spaces(text, place)
        if text.startswith("<!--", place):
            end = text.find("-->", place) + 3
        elif text.startswith("<?", place):
            end = text.find("?>", place) + 2
        elif text[place : place + 9].upper() == "<!DOCTYPE":
            end, subset = text.find(">", place) + 1, text.find("[", place)
            if -1 < subset < end:
                found = _END_OF_SUBSET.search(text, subset)
                end = found.end() if found else 0
        else:
            return text[place:]
        if end <= place:
            return text[place:]  # it never ends, which the parser says better
        place = end


def _after_spaces(text: str, place: int) -> int:
    found = _NOT_SPACE.search(text, place)
    return found.start() if found else len(text)


def name_of(element: etree._Element) -> str:
    """The element's name in lower case, without namespace."""
    tag = element.tag
    return _bare_name(tag) if isinstance(tag, str) else ""


@lru_cache(maxsize=4096)
def _bare_name(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


def children(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """Child elements of these names, whatever their namespace."""
    return (child for child in element if name_of(child) in names)


def descendants(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """Elements of these names below, whatever their namespace, in document order."""
    return (child for child in element.iterdescendants() if name_of(child) in names)


def first(element: etree._Element | None, *path: str) -> etree._Element | None:
    """The first element found by going down one name at a time, whatever the namespaces."""
    for name in path:
        if element is None:
            return None
        element = next(children(element, name), None)
    return element


def text_of(element: etree._Element | None) -> str:
    """The clean text of an element: blocks are separated by a space, sub- and superscripts stay readable, formulas are LaTeX where they can be."""
    if element is None:
        return ""
    parts: list[str] = []
    if len(element) or name_of(element) in _TREATED:
        _collect(element, parts)
    elif element.text:
        parts.append(element.text)  # most elements hold words and nothing else
    text = "".join(parts)
    # Markup is full of line ends and indents, for which `clean` would look letter by letter. Only in misread UTF-8 may one be part of a letter.
    if "Â" not in text and "Ã" not in text and "â" not in text:
        text = " ".join(text.split())
    return clean(text)


def _collect(element: etree._Element, parts: list[str]) -> None:
    """Append the texts of an element. The parsers bound how deep trees are, far below what recursion allows."""
    name = name_of(element)
    # An asterisk that leads to a footnote is no part of a title.
    if name == "xref" and element.get("ref-type") in _MARKERS:
        return
    # Formulas are taken as LaTeX where the page has it; without it MathML is read like any text.
    if name in _SPECIAL:
        formula = _formula(element, name)
        if formula is not None or name in _NOT_TEXT:
            parts.append(formula or "")
            return
    if name in _SCRIPTS:
        inner: list[str] = []
        _collect_inside(element, inner)
        parts.append(script("".join(inner), is_sub=name == "sub"))
    elif name in BLOCKS:
        parts.append(" ")
        _collect_inside(element, parts)
        parts.append(" ")
    elif name:
        _collect_inside(element, parts)


def _collect_inside(element: etree._Element, parts: list[str]) -> None:
    if element.text:
        parts.append(element.text)
    for child in element:
        _collect(child, parts)
        if child.tail:
            parts.append(child.tail)


def _formula(node: etree._Element, name: str) -> str | None:
    """LaTeX of a formula, where the element is one that carries it; None for all other elements."""
    if name == "math":
        # MathML's own place for its source, then the attribute that says it in words.
        for note in descendants(node, "annotation"):
            if "tex" in (note.get("encoding") or ""):
                return f"${(note.text or '').strip()}$"
        if alternative := (node.get("alttext") or "").strip():
            return f"${alternative}$"
    elif name == "tex-math":
        return _tex(node.text or "")
    elif name == "alternatives":
        tex = next(descendants(node, "tex-math"), None)
        return _tex(tex.text or "") if tex is not None else None
    elif name == "script" and (node.get("type") or "").startswith("math/tex"):
        return f"${(node.text or '').strip()}$"
    return None


def _tex(text: str) -> str:
    if body := _TEX_BODY.search(text):
        text = body[1]
    text = text.strip()
    return text if text.startswith(("$", "\\(", "\\[")) else f"${text}$"


def json_of(text: str) -> Any:
    """The value of a JSON text that may lie in a comment or CDATA section. Raises ValueError."""
    text = text.strip().removeprefix("<!--").removesuffix("-->").strip()
    text = text.removeprefix("//<![CDATA[").removesuffix("//]]>").removeprefix("<![CDATA[").removesuffix("]]>")
    return json.loads(text, strict=False)
