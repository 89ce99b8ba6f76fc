"""The second of three submissions of lesson 05, and the points of each."""

HALF_RIGHT = {
    "similarity": """
def my_similarity(codes, cf_vectors):
    unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    return (codes == codes[(unit @ unit.T).argmax(axis=1)]).mean(axis=0)
""",
    "shared": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
