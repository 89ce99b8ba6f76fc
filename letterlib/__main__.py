"""`python -m letterlib`, where the command of that name is not on the path."""

from letterlib.cli import main

main()
