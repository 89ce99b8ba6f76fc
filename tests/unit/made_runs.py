"""Runs that end in a second or two, on a made data set, for tests of records, grids and
interruptions.
"""

from letterlib.pipeline.parameters import RunParameters

SMALL = ("tiger.epochs=6", "tiger.examples=400", "tokenizer.epochs=6", "sasrec_32.epochs=2")


def small_run(**changes) -> RunParameters:
    """TIGER on the made data set, at its smallest, with these parameters changed."""
    sizes = {"codes": 16} | (
        {"clusters": 4} if changes.get("tokenizer", "letter") in ("letter", "div") else {}
    )
    given = dict(dataset="made", profile="smoke", device="cpu", options=SMALL) | sizes | changes
    return RunParameters.checked(**given)
