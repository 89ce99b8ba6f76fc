"""The second of three submissions of lesson 06, and the points of each."""

HALF_RIGHT = {
    "training-pair": """
def my_training_pair(history, target, item_tokens, length):
    end = torch.tensor([EOS])
    targets = torch.cat([item_tokens[target], end])
    return torch.cat([item_tokens[history[-length:]].flatten(), end]), targets, targets
""",
    "partial-auc": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
