"""The one exception for mistakes that a user can mend."""


class LetterError(Exception):
    """Bad input: one line that says what is wrong, where, and what to do about it.

    The command line prints the line alone and exits with code 2; a traceback would bury it.
    Programming errors stay ordinary exceptions, because their traceback is the useful part.
    """


class Unavailable(LetterError):
    """A system or figure needs what this data set does not have. Of many, the others can go on without it."""
