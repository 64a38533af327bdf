"""The one error that people are meant to read."""


class LabError(ValueError):
    """Something the user can put right: one sentence that says what was wrong and what to do.

    The command and the apps show its message without a traceback; in a notebook it reads as any
    other exception.
    """
