"""The second of three submissions of lesson 02, and the points of each."""

HALF_RIGHT = {
    "residual-quantize": """
def my_residual_quantize(z, codebooks):
    codes = torch.stack([nearest_code(z, codebook) for codebook in codebooks], dim=1)
    return codes, sum(codebook[code] for codebook, code in zip(codebooks, codes.T))
""",
    "straight-through": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 16, "half": 11, "untouched": 0}
