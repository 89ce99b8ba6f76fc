"""The course: exercises, their checks, figures, and the building of notebooks."""

from letterlib.errors import require

for package in ("matplotlib", "nbgrader", "transformers"):
    require(package, "course")
