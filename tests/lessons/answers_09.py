"""The second of three submissions of lesson 09, and the points of each."""

HALF_RIGHT = {
    "bpr": """
def my_bpr(user, liked, other):
    return -torch.sigmoid((user * (liked - other)).sum(dim=1)).mean()
""",
    "paired": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
