"""The second of three submissions of lesson 04, and the points of each."""

HALF_RIGHT = {
    "draw-positives": """
def my_sample_positives(codes, groups):
    same_group = (groups[codes][:, None] == groups).float()
    return torch.multinomial(same_group, 1)[:, 0]
""",
    "sinkhorn": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
