"""The second of three submissions of lesson 07, and the points of each."""

HALF_RIGHT = {
    "batch": """
def my_batch(prompts, responses, end):
    both = [torch.cat(p) for p in zip(prompts, responses)]
    tokens = torch.nn.utils.rnn.pad_sequence(both, True, end)
    read = torch.tensor([len(p) for p in prompts])[:, None]
    return tokens, tokens != end, torch.arange(tokens.shape[1]) >= read
""",
    "windows": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
