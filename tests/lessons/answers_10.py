"""The second of three submissions of lesson 10, and the points of each."""

HALF_RIGHT = {
    "key": """
def my_key(given, defaults, folders):
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
""",
    "variances": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 8, "half": 2, "untouched": 0}
