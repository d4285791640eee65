"""Any text as one line that is safe to show: no tags or entities, nothing invisible, nothing that turns the line round, no look-alike letters.

Look-alikes follow UTS #39 (Unicode Security Mechanisms), §4 and §5.1, in small: a letter of another script that has the shape of a Latin one becomes
that one where its word mixes scripts, or where all of the word could be Latin; a word that still mixes Latin with a script other than Greek (which
chemists do: λmax, ΔG) makes the text unfit. Letters in styles (mathematical, full-width, circled) become plain as NFKC says; subscripts stay.
"""

import html
import re
import unicodedata
from functools import cache

# All that confusables.txt of Unicode 17 leads from Cyrillic, Greek, Armenian, Cherokee, Coptic and Lisu to one letter of ASCII. Of Greek, which
# has signs of its own in science, capitals, omicron, ϲ and ϳ alone. A capital that looks like a small l is an I.
_LATIN_LIKE = str.maketrans(
    "ͿΑΒΕΖΗΙΚΜΝΟΡΤΥΧοϜϭϲϳϹϺЅІЈАВЕКМНОРСТУХЬагеорсухшѕіјѡѴѵҮүһҽӀӏԁԌԛԜԝՍՏՕագզհոռսցւքօᎠᎡᎢ"
    "ᎥᎩᎪᎫᎬᎳᎷᎻᎽᏀᏂᏃᏏᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏳᏴⲂⲅⲎⲒⲓⲔⲘⲚⲞⲟⲢⲣⲤⲥⲦⲨⲩⲬⲽⳎⳏⳐꓐꓑꓒꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴꙇꭵꮁꮃꮓꮩꮪꮯ",
    "JABEZHIKMNOPTYXoFocjCMSIJABEKMHOPCTYXbareopcyxwsijwVvYyheIldGqWwUSOwqqhnnugifoDRTiYAJEWMHYGhZbRWSVSLCPKdGBBrHIiKMNOoPpCcTYyXwPpLBPdDTGKJCZFMNLSRVHWXYAEIOUiirwzvsc",
)
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
# A tag with what is in it, or its beginning; scripts and styles go with their content.
_CONTENT = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:[a-z][a-z0-9:-]*(?=[\s/>])|[/!?])[^<>]*>", re.IGNORECASE)
_TAG_START = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
# A third mark on one letter and all after it: piled up, they reach into the lines above and below.
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MARKS = re.compile(f"({_MARK}{{2}}){_MARK}+")
# Letters and marks that show nothing (Default_Ignorable_Code_Point), blank Braille, and signs for what could not be read.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\uffff\U000e0000-\U000e0fff]")
_STYLED = re.compile("[\u2100-\u2125\u212a-\u214f\u2160-\u217f\u2460-\u24ff\uff01-\uff9f\U0001d400-\U0001d7ff\U0001f100-\U0001f1ff\ufb00-\ufb06]")
# Longer texts are cut first; no title or abstract is as long.
_MOST_CHARACTERS = 5_000


class UnfitTextError(ValueError):
    """The text cannot be made safe to show; the message says why."""


def make_safe(text: str) -> str:
    """`text` with what is dangerous neutralised; safe texts stay as they are, and escaping one and making it safe again gives it back.

    Raises UnfitTextError for words that mix scripts without being look-alikes.
    """
    text = text[:_MOST_CHARACTERS]
    # What one step takes away may complete what another looks for: a tag in entities, an entity with an invisible character inside.
    before = None
    while text != before:
        before, text = text, _one_round(text)
    for word in _WORD.findall(text):
        scripts = {_script(letter) for letter in word} - {""}
        if "LATIN" in scripts and not scripts <= {"LATIN", "GREEK", "MICRO"}:
            raise UnfitTextError(f"the word {word!a} mixes {' and '.join(sorted(scripts))}")
    return text


def _one_round(text: str) -> str:
    while (plain := html.unescape(text)) != text:
        text = plain
    text = _TAG.sub(" ", _CONTENT.sub(" ", text))
    text = _STYLED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), _INVISIBLE.sub("", text))
    # Blanks of all kinds are blanks; controls, bidirectional and other formats, and code points of nobody are nothing.
    text = "".join(sign for sign in unicodedata.normalize("NFC", text) if sign.isspace() or unicodedata.category(sign)[0] != "C")
    text = _WORD.sub(_as_latin, _MARKS.sub(r"\1", text)) if any("A" <= letter <= "z" for letter in text) else _MARKS.sub(r"\1", text)
    # A sign of comparison before a letter is parted from it, so that no reader of HTML, however lax, sees a tag.
    return " ".join(_TAG_START.sub("< ", text).split())


def _as_latin(match: re.Match[str]) -> str:
    word, latin = match[0], match[0].translate(_LATIN_LIKE)
    is_mixed = len({_script(letter) for letter in word} - {""}) > 1
    return latin if is_mixed or all(_script(letter) in ("", "LATIN") for letter in latin) else word


@cache
def _script(letter: str) -> str:
    """LATIN, GREEK, CYRILLIC, …, from the letter's name; empty for marks, subscripts and whatever else goes with any script."""
    return unicodedata.name(letter, "UNNAMED").split()[0] if unicodedata.category(letter) in ("Ll", "Lu", "Lt", "Lo") else ""
