import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.words.imaginary.filters import blocked_word, degenerate, has_card_digits, has_iban_digits, personal_data, read_blocked_words


@pytest.mark.parametrize("text", ["What the FUCK", "sh1t happens", "f.u.c.k this", "s h i t", "fuuuuck", "a$$hole", "$h!t", "bullshit!"])
def test_blocked_words_are_found_in_disguise(text: str):
    found = blocked_word(text)
    assert found is not None and found[0] == "blocked word"


@pytest.mark.parametrize(
    "text",
    [
        "Cumulative assembly of arsenic and titanium",
        "Dickson's cockroach",
        "Scunthorpe analyses",
        "Retarded potentials and mafic dykes",
        "Fucose and shiitake",
        "455 5417 x 10",
        "C N O at pH 7",
        "Therapists of Sussex",
    ],
)
def test_whole_words_only(text: str):
    assert blocked_word(text) is None


def test_a_file_adds_words_and_comments_are_none(tmp_path: Path):
    path = tmp_path / "words.txt"
    path.write_text("# ours\nPhlogiston  # outdated\n\n", encoding="utf-8")
    words = read_blocked_words(str(path))
    assert blocked_word("On PHLOGIST0N", words) == ("blocked word", "phlogiston")
    assert blocked_word("shit", words) is not None and "" not in words and blocked_word("ours", words) is None
    with pytest.raises(OSError, match="nowhere"):
        read_blocked_words(str(tmp_path / "nowhere.txt"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe@uni-x.example.org", "e-mail"),
        ("jane [at] uni [dot] org", "e-mail"),
        ("see https://example.org/x", "url"),
        ("see www.example.org", "url"),
        ("see example.org/data for more", "url"),
        ("10.1021/jacs.2c00343", "doi"),
        ("doi: 10x", "doi"),
        ("ORCID 0000-0002-1825-0097", "orcid"),
        ("pay to DE89 3704 0044 0532 0130 00 now", "iban"),
        ("GB82WEST12345698765432", "iban"),
        ("pay gb82west12345698765432, please", "iban"),
        ("to at61 1904 3002 3457 3201 with this much", "iban"),
        ("card 4111 1111 1111 1111", "card"),
        ("5500-0000-0000-0004", "card"),
        ("call +44 20 7946 0958", "telephone"),
        ("call (030) 901820-30", "telephone"),
        ("call 555-867-5309 today", "telephone"),
        ("call 0171 / 123 45 67", "telephone"),
    ],
)
def test_personal_data_are_found(text: str, kind: str):
    found = personal_data(text)
    assert found is not None and found[0] == kind


@pytest.mark.parametrize(
    "text",
    [
        "CAS 7732-18-5 at 298.15 K and 101.325 kPa in 2,2,6,6-tetramethylpiperidine",
        "from 1998-2004 (n = 1234), p < 0.001, 10.5 mmol",
        "card 4111 1111 1111 1112",
        "DE88370400440532013000",
        "zz61190430023457320112 and at10 mol percent of the catalyst, in20 with base",
        "bis(4-fluorophenyl)methane; e.g. the so-called 0-1-2 rule",
        "yields of 100 200 300 and 0.05 at the 6-31G(d) level",
        "a gain of 2.1 mAP@0.5 and recall@10. In all",
        "Fig. 3. In water. At pH 7.Then in methanol",
    ],
)
def test_numbers_of_chemistry_are_nobodys(text: str):
    assert personal_data(text) is None


@given(st.integers(10**14, 10**15 - 1), st.integers(0, 14))
def test_one_wrong_digit_is_no_card(number: int, place: int):
    digits = [*str(number)]
    check = next(sign for sign in "0123456789" if has_card_digits("".join([*digits, sign]))) if len(set(digits)) > 1 else None
    if check is not None:
        digits[place] = str((int(digits[place]) + 1) % 10)
        assert not has_card_digits("".join([*digits, check]))


def test_account_numbers_have_their_length():
    assert has_iban_digits("DE89370400440532013000") and not has_iban_digits("DE89")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("Tea", "too short"),
        ("x" * 101, "too long"),
        ("0101 1010 ;;;; ++++ ab", "hardly letters"),
        ("the the the the effect of tea", "stuck"),
        ("iron and tea and iron and tea and iron and tea and iron and tea", "stuck"),
    ],
)
def test_degenerate_texts_have_a_reason(text: str, reason: str):
    found = degenerate(text, least=10, most=100, least_variety=0.35)
    assert found is not None and found[0] == reason


@pytest.mark.shared_data
def test_hardly_any_real_abstract_is_called_degenerate_or_rude(shared_data: Path):
    """What the models have learnt from must mostly be allowed, or nothing they write is."""
    lines = (shared_data / "journals/scitldr/train.jsonl").read_text(encoding="utf-8").splitlines()[:500]
    abstracts = [" ".join(json.loads(line)["source"]) for line in lines]
    dropped = [text for text in abstracts if degenerate(text, least=150, most=4500, least_variety=0.35) or blocked_word(text)]
    assert len(dropped) / len(abstracts) < 0.02, dropped[:5]
    # Authors do name repositories; everything else that looks personal is a mistake of ours.
    kinds = [found for text in abstracts if (found := personal_data(text)) and found[0] not in ("url", "e-mail")]
    assert len(kinds) / len(abstracts) < 0.002, kinds
