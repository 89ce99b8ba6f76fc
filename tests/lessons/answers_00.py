"""The second of three submissions of lesson 00, and the points of each."""

HALF_RIGHT = {
    "hold-out": """
def my_hold_out(items, n):
    return items[:-2 * n], items[-n:], items[-2 * n:-n]
""",
    "recall": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
