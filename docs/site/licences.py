"""Writes the table of packages in docs/licences.md: licence, and the locked packages under it."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "licences.md"
START, END = "<!-- make licences -->\n", "<!-- end -->\n"

# What several packages write differently.
SHORT = {
    r"MIT License": "MIT",
    r"Apache( Software License| License, Version 2\.0| 2\.0( License)?)": "Apache-2.0",
    r"BSD License|3-Clause BSD License|BSD-[23]-Clause": "BSD",
    r"ISC License \(ISCL\)": "ISC",
    r"Mozilla Public License 2\.0 \(MPL 2\.0\)": "MPL-2.0",
    r"Python Software Foundation License|PSF-2\.0": "PSF",
    r"GNU General Public License v3 \(GPLv3\)": "GPL-3.0",
}


def short(licence: str) -> str:
    """One name for what SHORT lists; others as their packages write them."""
    found = (name for pattern, name in SHORT.items() if re.fullmatch(pattern, licence))
    return next(found, licence)


def main() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    names = defaultdict(list)
    for package in listed:
        name = re.sub(r"[-_.]+", "-", package["Name"]).lower()
        if name in locked:
            names[short(package["License"])].append(name)
    rows = [f"| {kind} | {', '.join(sorted(names[kind]))} |" for kind in sorted(names)]
    table = "\n".join(["| licence | packages |", "|---|---|", *rows]) + "\n"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(before + START + table + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
