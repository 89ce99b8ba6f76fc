"""The second of three submissions of lesson 03, and the points of each."""

HALF_RIGHT = {
    "cf-loss": """
def my_cf_loss(quantised, collaborative):
    logits = collaborative @ quantised.T
    return F.cross_entropy(logits, torch.arange(len(logits)))
""",
    "next-items": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
