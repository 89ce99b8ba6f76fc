"""The two figures of docs/performance.md, from the JSON of a run: python -m benchmarks.figures
[RESULTS] [FOLDER].
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from letterlib.errors import LetterError  # noqa: E402
from letterlib.plots import GREY, PALETTE  # noqa: E402
from letterlib.store import atomic_write, read_json  # noqa: E402


def draw(results: Path, folder: Path) -> list[Path]:
    """Draw scaling_users.png and scaling_items.png into `folder` from the JSON in `results`."""
    drawn = []
    for name, plot in (("scaling_users", _users), ("scaling_items", _items)):
        result = read_json(results / f"{name}.json")
        points = next(row["series"] for row in result["rows"] if row["series"])
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
        plot(axes, points)
        _sign(figure, result)
        with atomic_write(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150, format="png")
        plt.close(figure)
        drawn.append(folder / f"{name}.png")
    return drawn


def _users(axes: list[Axes], points: list[dict[str, float]]) -> None:
    users, (left, right) = [p["users"] for p in points], axes
    for colour, (key, label) in enumerate(
        {
            "epoch_s": "training, one epoch (scaled from a sample)",
            "decode_all_s": "recommending to every user (scaled)",
            "prepare_s": "split and cases (measured whole)",
        }.items()
    ):
        _line(left, users, [p[key] for p in points], label, colour)
    change = points[-1]["examples_per_s"] / points[0]["examples_per_s"]
    left.set(xscale="log", yscale="log", xlabel="users", ylabel="seconds")
    left.set_title(
        f"Training runs at {users[-1]:,} users at {change:.2f}\nof its speed at {users[0]:,}"
    )
    left.set_ylim(top=left.get_ylim()[1] * 1e4)  # room for the legend above the curves
    left.legend(frameon=False, loc="upper left")
    _memory(right, users, points, "users")


def _items(axes: list[Axes], points: list[dict[str, float]]) -> None:
    items, speed = [p["items"] for p in points], [p["users_per_s"] for p in points]
    left, right = axes
    _line(left, items, speed, "beam 20, 10 items", 0)
    left.set(xscale="log", xlabel="items", ylabel="users per second", ylim=(0, 1.15 * max(speed)))
    left.set_title(
        f"With {items[-1] // items[0]:,} times the items decoding runs\n"
        f"at {speed[-1] / speed[0]:.2f} of its speed"
    )
    _memory(right, items, points, "items")


def _memory(ax: Axes, x: list[float], points: list[dict[str, float]], what: str) -> None:
    memory = [p["peak_memory_gb"] for p in points]
    _line(ax, x, memory, "peak memory", 3)
    ax.set(xscale="log", xlabel=what, ylabel="GB, whole process", ylim=(0, 1.15 * max(memory)))
    ax.set_title(
        f"{x[-1]:,} {what} take {memory[-1]:.1f} GB,\n{memory[-1] - memory[0]:.1f} GB more than "
        f"{x[0]:,}"
    )


def _line(ax: Axes, x: list[float], y: list[float], label: str, colour: int) -> None:
    ax.plot(x, y, marker="osD^"[colour], color=PALETTE[colour], label=label)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _sign(figure: plt.Figure, result: dict[str, Any]) -> None:
    about, threads = result["machine"], result["settings"]["threads"]
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    said = f"{about['processor']}, {threads} thread(s), torch {about['torch']}"
    figure.text(0.995, 0.01, said, ha="right", fontsize=8, color=GREY)


def main() -> None:
    given = [Path(one) for one in sys.argv[1:]]
    defaults = [Path(__file__).parent / "results", Path("docs/figures")]
    try:
        print(*draw(*given, *defaults[len(given) :]), sep="\n")
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
