"""The one error a user's own input can cause."""


class BadInput(ValueError):
    """Something given by the user cannot be used.

    The message is one line (or a short list) that names the path, name or row, what was expected and what to do.
    Commands print it to stderr and exit with code 2; notebooks show it as it is.
    """
