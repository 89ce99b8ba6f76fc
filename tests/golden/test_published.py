"""The published figures, computed again from experiments/results and held against what was frozen.

Means may differ by 1e-9 and ends of intervals by 1e-6. What is printed in the README and in
docs/findings.md is the rounded figure, but for the claims that give a reason why it is none.
"""

import json
import re

import figures
import freeze
import pytest
import records

FROZEN = json.loads(freeze.PUBLISHED.read_text())
CLAIMS = freeze.claims()
KEYS = list(FROZEN["figures"])
NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d*\.\d+|\d+)")
ENDS = 1e-6
MEANS = 1e-9


def close(found: float | None, frozen: float | None, within: float) -> bool:
    if found is None or frozen is None:
        return found is frozen
    return abs(found - frozen) <= within


def same(found: list[float], frozen: list[float]) -> bool:
    """Whether two figures are alike: the first number is a mean, the others may be ends."""
    pairs = list(zip(found, frozen, strict=True))
    return close(*pairs[0], MEANS) and all(close(*pair, ENDS) for pair in pairs[1:])


def numbers(text: str) -> list[tuple[float, float]]:
    """Each number of a printed text, and half a unit of its last place."""
    found = [one.replace(",", "") for one in NUMBER.findall(text)]
    return [(float(one), 0.5 * 10 ** -len(one.partition(".")[2])) for one in found]


def check_claims(key: str) -> None:
    """A figure is as frozen, and what is printed of it is that, rounded."""
    found = figures.figure(key)
    assert same(found, FROZEN["figures"][key])
    for claim in CLAIMS:
        if claim.get("from") == key:
            printed = numbers(claim["text"])
            places, sign = claim.get("places", range(len(printed))), claim.get("sign", 1)
            for (number, half), place in zip(printed, places, strict=True):
                assert abs(number - sign * found[place]) <= half + MEANS, claim


README = dict.fromkeys(
    one["from"] for one in CLAIMS if one["file"] == "README.md" and "from" in one
)


@pytest.mark.parametrize("key", README)
def test_a_figure_of_the_readme_follows_from_the_records(key):
    check_claims(key)


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in KEYS if key not in README])
def test_a_figure_of_the_findings_follows_from_the_records(key):
    check_claims(key)


def test_every_claim_has_a_source_or_a_reason():
    assert {one["from"] for one in CLAIMS if "from" in one} == set(KEYS)
    assert all(("from" in one) != ("reason" in one) for one in CLAIMS)


@pytest.mark.parametrize("file", ["README.md", "docs/findings.md"])
def test_what_is_claimed_still_stands_on_the_page(file):
    text = (records.REPOSITORY / file).read_text()
    gone = [one for one in CLAIMS if one["file"] == file and one["text"] not in text]
    assert not gone


@pytest.mark.slow
@pytest.mark.parametrize("folder", FROZEN["settings"])
def test_settings_are_as_they_were(folder):
    frozen, found = FROZEN["settings"][folder], records.settings(folder)
    assert set(found) == set(frozen)
    for name, one in found.items():
        check_alike(freeze.summary(one), frozen[name], f"{folder}: {name}")


@pytest.mark.slow
@pytest.mark.parametrize("folder", FROZEN["comparisons"])
def test_comparisons_are_as_they_were(folder):
    frozen, found = FROZEN["comparisons"][folder], freeze.comparisons(folder)
    assert set(found) == set(frozen)
    for pair, those in found.items():
        for asked, figure in those.items():
            assert same(figure, frozen[pair][asked]), f"{folder}: {pair}: {asked}"
        assert set(those) == set(frozen[pair])


def test_other_files_are_as_they_were():
    check_alike(freeze.other_files(), FROZEN["files"], "files")


def check_alike(found, frozen, where):
    """Same names, same words, and numbers within 1e-9; within 1e-6 in an interval."""
    if isinstance(frozen, dict):
        assert set(found) == set(frozen), where
        for name in frozen:
            check_alike(found[name], frozen[name], f"{where}, {name}")
    elif isinstance(frozen, list):
        assert len(found) == len(frozen), where
        for one, other in zip(found, frozen, strict=True):
            check_alike(one, other, where)
    elif isinstance(frozen, float):
        assert close(found, frozen, ENDS if "interval" in where else MEANS), where
    else:
        assert found == frozen, where
