"""The one error a user's own input can cause."""


class BadInput(ValueError):
    """Something given by the user cannot be used.

    The message is one line (or a short list) that names the path, name or row, what was expected and what to do.
    Commands print it to stderr and exit with code 2; notebooks show it as it is. What does not print is escaped in it,
    and it ends after 1,900 characters: a name out of a file neither steers the terminal nor fills it.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message)[:1900])[:1900])
