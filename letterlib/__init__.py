"""LETTER, step by step: learnable identifiers for generative recommendation, and what they are
compared with.

Begin with `letterlib.pipeline.pipeline.Pipeline`, or with its pieces: `data.dataset`,
`tokenization.letter`, `generation.tiger`, `decoding.beam_search`, `evaluation.evaluate`.
docs/architecture.md has the picture of the house.
"""

__version__ = "0.1.0"
