"""The second of three submissions of lesson 01, and the points of each."""

HALF_RIGHT = {
    "masked-mean": """
def my_masked_mean(states, mask):
    return states.mean(dim=1)
""",
    "mean-cosine": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
