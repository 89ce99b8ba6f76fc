"""The second of three submissions of lesson 11, and the points of each."""

HALF_RIGHT = {
    "holm": """
def my_holm(p_values):
    return np.minimum(1, p_values * len(p_values))
""",
    "choice": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 8, "half": 2, "untouched": 0}
