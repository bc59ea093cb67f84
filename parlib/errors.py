"""The one error that a user's own input can cause."""


class BadInput(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file, row or name, what was expected and what to do. Commands print it to
    stderr and exit with code 2. Control characters are escaped and it ends after 1,900 characters, so that a name out
    of a file cannot steer or fill the terminal.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message)[:1900])[:1900])
