"""Presets: the settings of each method's paper, and what is said where there are none."""

from __future__ import annotations

import pytest

from fercleaner.core.errors import InputError
from fercleaner.methods import METHODS, build, parameters
from fercleaner.methods.presets import PAPER, PRESETS


@pytest.mark.parametrize("name", sorted(PAPER))
def test_a_papers_settings_are_parameters_and_differ_from_the_defaults(name):
    plain, paper = parameters(build(name)), parameters(build(name, {"preset": "paper"}))
    assert set(PAPER[name]) <= set(plain)
    assert {key: paper[key] for key in PAPER[name]} == PAPER[name]
    assert {key: value for key, value in paper.items() if key not in PAPER[name]} == {
        key: value for key, value in plain.items() if key not in PAPER[name]
    }
    assert paper != plain


def test_settings_beside_a_preset_go_first():
    method = parameters(build("threshold", {"blend": "0.4", "preset": "paper"}))
    assert (method["blend"], method["sharpen"], method["rank"]) == (0.4, 1.0, "threshold")


def test_every_method_of_a_paper_has_its_preset():
    assert set(PAPER) == set(METHODS) - {"consensus"}  # which is no paper's
    assert set(PRESETS) == {"paper"}


def test_presets_that_are_not_there():
    with pytest.raises(InputError, match=r"method 'consensus' has no such preset; it has none\. Leave it out"):
        build("consensus", {"preset": "paper"})
    with pytest.raises(InputError, match=r"--set preset=papre: method 'threshold' has no such preset; it has paper"):
        build("threshold", {"preset": "papre"})
