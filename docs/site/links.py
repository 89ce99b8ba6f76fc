"""Print every external address that lessons and documents point to, once: `make links`."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "notebooks").rglob("*.ipynb")]
    pages += [
        page
        for part in ("benchmarks", "data", "docs", "experiments")
        for page in (REPOSITORY / part).rglob("*.md")
    ]
    texts = (page.read_text(encoding="utf-8") for page in pages)
    links = {link for text in texts for link in re.findall(r"\]\((https?://[^)\s]+)\)", text)}
    print("\n".join(sorted(links)))


if __name__ == "__main__":
    main()
