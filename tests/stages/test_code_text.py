"""Only what code says counts, not how it is written down."""

import importlib.util

import pytest

from stages.code_text import code_of


def module_of(path, name, source):
    path = path / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ('"""Other words."""\ndef f( x ):  # a comment\n    "and here"\n    return x+1\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ("def g(x):\n    return x + 1\n", False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, changed, is_same):
    first = module_of(tmp_path, "first", '"""Words."""\ndef f(x):\n    return x + 1\n')
    assert (code_of(first) == code_of(module_of(tmp_path, "second", changed))) == is_same
