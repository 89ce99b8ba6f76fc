"""The figures on the pages, computed again from experiments/results.

published_claims.json has each printed number of PAGES with the figure that it is ("from", see
figures.py), or the reason why no record has it.
"""

import json
import re
from pathlib import Path

import figures
import pytest
import records

CLAIMS = json.loads((Path(__file__).parent / "published_claims.json").read_text())
PAGES = (
    "README.md",
    "docs/beauty_in_two_hours.md",
    "docs/findings.md",
    "docs/large_models.md",
    "docs/questions.md",
)
NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d*\.\d+|\d+)")
ROUNDING = 1e-9


def numbers(text: str) -> list[tuple[float, float]]:
    """Each number of a printed text, and half a unit of its last place."""
    found = [number.replace(",", "") for number in NUMBER.findall(text)]
    return [(float(one), 0.5 * 10 ** -len(one.partition(".")[2])) for one in found]


def check(claim: dict) -> None:
    """What is printed is the figure, rounded."""
    found, printed = figures.figure(claim["from"]), numbers(claim["text"])
    places, sign = claim.get("places", range(len(printed))), claim.get("sign", 1)
    for (number, half), place in zip(printed, places, strict=True):
        assert abs(number - sign * found[place]) <= half + ROUNDING, (claim, found)


@pytest.mark.parametrize("file", PAGES)
def test_a_printed_figure_follows_from_the_records(file):
    wrong = []
    for claim in CLAIMS:
        if claim["file"] == file and "from" in claim:
            try:
                check(claim)
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "\n".join(wrong)


def test_every_claim_has_a_source_or_a_reason():
    assert all(("from" in claim) != ("reason" in claim) for claim in CLAIMS)


@pytest.mark.parametrize("file", PAGES)
def test_what_is_claimed_stands_on_the_page(file):
    text = (records.REPOSITORY / file).read_text()
    gone = [claim for claim in CLAIMS if claim["file"] == file and claim["text"] not in text]
    assert not gone
