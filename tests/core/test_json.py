"""JSON from outside."""

import pytest

from fercleaner.core.text import read_json


@pytest.mark.parametrize("data", ["[" * 100_000, b'{"a":' * 100_000, "[1", b"\xff", "", "9" * 10_000])
def test_what_cannot_be_read_is_a_value_error(data):
    """Among them what is nested more deeply than Python follows, which it calls a RecursionError."""
    with pytest.raises(ValueError, match=r"\S"):
        read_json(data)


def test_what_can_be_read():
    assert read_json(b'{"a": [1]}') == {"a": [1]}
