"""Make `Beauty.item.json`, the item text of our runs on Beauty, from a clone of IDGenRec.

    python experiments/beauty_item_text.py IDGenRec data/beauty

IDGenRec (github.com/agiresearch/IDGenRec) named the same 12,101 items by some six words each.
`data/beauty` holds LETTER's `Beauty.inter.json`. Tried on files made in IDGenRec's format.
"""

import argparse
import json
from pathlib import Path


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The first word of every line, and the rest of it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(key, rest) for key, _, rest in (line.partition(" ") for line in lines)]


def item_text(idgenrec: Path, beauty: Path) -> dict[int, dict[str, str]]:
    """The title of every item, by LETTER's number, which counts items as they first appear.

    Stops if the two releases do not have the same histories.
    """
    folder = idgenrec / "rec_datasets" / "Beauty"
    histories = [items.split() for _, items in read_lines(folder / "user_sequence.txt")]
    in_order = dict.fromkeys(asin for history in histories for asin in history)
    number = {asin: i for i, asin in enumerate(in_order)}
    released = json.loads((beauty / "Beauty.inter.json").read_text(encoding="utf-8"))
    if [[number[asin] for asin in history] for history in histories] != list(released.values()):
        raise SystemExit(f"{folder} and {beauty} hold other histories; nothing was written")
    names = read_lines(folder / "item_generative_indexing_phase_0.txt")
    return {number[asin]: {"title": words.strip()} for asin, words in names}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("idgenrec", type=Path, help="a clone of IDGenRec")
    parser.add_argument("beauty", type=Path, help="the folder with Beauty.inter.json")
    arguments = parser.parse_args()
    text = item_text(arguments.idgenrec, arguments.beauty)
    path = arguments.beauty / "Beauty.item.json"
    path.write_text(json.dumps(text), encoding="utf-8")
    print(f"{path}: {len(text):,} items")
