"""What can go wrong with a call."""

from flashbid_client.models import Problem


class FlashbidError(Exception):
    """A call that has no answer to return."""


class Unreachable(FlashbidError):
    """No answer came. A request that changes something may have been done or not."""


class Refused(FlashbidError):
    """The service refused the call. `code` is stable, for programs to branch on; the message is
    a sentence for people. `problem` has all that was said.
    """

    def __init__(self, problem: Problem, retry_after_seconds: float | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.status, self.code = problem.status, problem.code
        self.retry_after_seconds = retry_after_seconds
