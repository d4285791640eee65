"""Licences get a name only where it is certain."""

import pytest

from assets.images.licences import spdx


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("http://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/igo/legalcode", "CC-BY-NC-SA-3.0-IGO"),
        ("https://creativecommons.org/licenses/by/3.0/xx/", ""),  # not a name that SPDX has
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("http://creativecommons.org/licenses/publicdomain/", "CC-PDDC"),
        ("Licensed CC BY-SA 4.0.", "CC-BY-SA-4.0"),
        ("CC-BY 4.0", "CC-BY-4.0"),
        ("CC0 1.0", "CC0-1.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("Creative Commons Attribution License", ""),  # which version?
        ("CC BY", ""),
        ("All rights reserved", ""),
        (None, ""),
    ],
)
def test_only_certain_licences_get_a_name(text, name):
    assert spdx(text) == name
