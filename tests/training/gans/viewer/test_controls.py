"""Settings from an address: within bounds, in any spelling a browser writes, or refused with the reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.gans.viewer.toy_view import ToyView
from training.gans.viewer.controls import SettingsError, Slider, described, query_fields, read_settings

CONTROLS = ToyView.controls


def read(query: str) -> dict:
    return read_settings(CONTROLS, query_fields(query))


def test_what_an_address_does_not_name_is_as_at_the_start():
    assert read("") == {"seed": 3, "psi": 1.0, "cutoff": 6, "mix": ()}
    assert read("psi=-0.25&mix=2%2C0&cutoff=4&seed=4294967295") == {"seed": 2**32 - 1, "psi": -0.25, "cutoff": 4, "mix": (0, 2)}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("psi=3", "psi: expected a number from -1 to 2, found '3'"),
        ("psi=nan", "psi: expected a number from -1 to 2, found 'nan'"),
        ("psi=inf", "psi: expected a number"),
        ("psi=", "psi: expected a number"),
        ("cutoff=2.5", "cutoff: expected a whole number from 0 to 6, found '2.5'"),
        ("seed=4294967296", "seed: expected a seed from 0 to 4294967295"),
        ("seed=-1", "seed: expected a seed"),
        ("seed=²", "seed: expected a seed"),
        ("mix=0,3", "mix: expected numbers from 0 to 2 like 0,1,4, found '0,3'"),
        ("mix=0,,1", "mix: expected numbers"),
        ("mix=0,0,0,0", "mix: expected numbers"),
        ("pis=1", r"nothing is called 'pis' \(did you mean 'psi'\?\); there are seed, psi, cutoff, mix"),
        ("psi=1&psi=1", "'psi' is given twice"),
        ("&".join(f"a{number}=1" for number in range(200)), "the address cannot be read"),
        (f"seed={'9' * 5000}", "found '9999999999999999999999999999999999999999…'"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(query: str, reason: str):
    with pytest.raises(SettingsError, match=reason):
        read(query)


@given(st.text(max_size=60))
def test_no_address_gives_a_setting_out_of_bounds(query: str):
    try:
        settings = read(query)
    except SettingsError:
        return
    assert 0 <= settings["seed"] < 2**32 and -1 <= settings["psi"] <= 2 and settings["cutoff"] in range(7) and set(settings["mix"]) <= {0, 1, 2}


@given(st.floats(-1, 2))
def test_a_number_survives_the_address(value: float):
    assert read(f"psi={value!r}")["psi"] == value


def test_the_page_is_told_the_kind_of_each_control():
    assert described(Slider("x", "Right", "Placement", -1, 1, 0.1, 0, unit="°"))["kind"] == "slider"
    assert [described(control)["kind"] for control in CONTROLS] == ["seed", "slider", "slider", "subset"]
