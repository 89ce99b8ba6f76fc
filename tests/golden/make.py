"""Write the golden files anew, or hold a fresh computation against them.

python tests/golden/make.py smoke laptop     writes smoke.* and laptop.*
python tests/golden/make.py smoke --compare  writes nothing; 1 thread, every bit must be equal
python tests/golden/make.py smoke --compare --threads 2 --dtype float32
                                             the bands for other machines count
"""

import argparse
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import behaviour
import comparison


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profiles", nargs="+", choices=list(behaviour.SYSTEMS))
    parser.add_argument("--compare", action="store_true", help="write nothing, list differences")
    parser.add_argument("--threads", type=int, default=1, help="with --compare; 1 by default")
    parser.add_argument("--dtype", default="auto", help="with --compare: float32 or bfloat16")
    given = parser.parse_args()
    if not given.compare and (given.threads, given.dtype) != (1, "auto"):
        parser.error("golden files are written with one thread and the profile's own dtype")
    found = [line for profile in given.profiles for line in _work(profile, given)]
    return 1 if found else 0


def _work(profile: str, given: argparse.Namespace) -> list[str]:
    """Write or compare one profile; returns the differences."""
    started = time.perf_counter()
    with comparison.threads(given.threads):
        here = comparison.fingerprint()
        result = behaviour.compute(profile, given.dtype)
    print(f"{profile}: computed in {time.perf_counter() - started:.0f} s", flush=True)
    if not given.compare:
        comparison.save(profile, result, here)
        return []
    golden, made_on = comparison.load(profile)
    same = made_on == here and given.dtype == "auto"
    found = comparison.differences(golden, result, same_machine=same)
    print("  bit for bit" if same else "  within the bands for other machines", flush=True)
    print(*(f"  {line}" for line in found or ["no difference"]), sep="\n", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
