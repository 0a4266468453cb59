"""The error of files that do not hold what they should."""


class DataError(ValueError):
    """A file is not what it was said to be; its message is one line for the reader's eyes."""
