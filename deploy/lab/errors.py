"""The one error that the lab's commands end with: what is wrong, and the way out."""


class LabError(Exception):
    """Something the user can mend. `remedy` says how."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  -> {remedy}")
        self.problem = problem
        self.remedy = remedy
