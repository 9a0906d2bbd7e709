"""The errors a user can meet: each says what, where, expected, found and remedy in one line."""

from __future__ import annotations


class NeurokdError(Exception):
    """Base of every error that neurokd raises for input it refuses or work it cannot do.

    The command line turns it into one line on stderr and exit status 2.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        found: str = "",
        remedy: str = "",
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(self.line())

    def line(self) -> str:
        """The whole message on one line: ``where: what (expected …, found …); remedy``."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        detail = [
            f"{label} {text}"
            for label, text in (("expected", self.expected), ("found", self.found))
            if text
        ]
        if detail:
            parts.append(f"({', '.join(detail)})")
        message = " ".join(parts)
        if self.remedy:
            message = f"{message}; {self.remedy}"
        return " ".join(message.split())


class UsageError(NeurokdError):
    """An argument or a configuration value that makes no sense, or that is not offered."""


class FileFormatError(NeurokdError):
    """A file that is missing, truncated, foreign or inconsistent in itself."""


class ShapeMismatchError(NeurokdError):
    """Two things whose shapes had to fit do not."""


class UnsupportedModuleError(NeurokdError):
    """A torch module or operation that has no exact meaning in NIR."""


class UnsupportedNodeError(NeurokdError):
    """A node of a NIR graph that a target cannot express."""


class CapacityError(NeurokdError):
    """A number that does not fit where the chip has to put it."""


class BackendUnavailableError(NeurokdError):
    """A runtime that is not installed here."""


class BackendFailedError(NeurokdError):
    """A runtime that crashed, hung past its time limit, or answered nonsense."""


class TrainingDivergedError(NeurokdError):
    """A training run whose loss is no longer a finite number, or grows without bound."""


class DeadLayerError(NeurokdError):
    """A layer of spiking neurons that carries no information: silent, or firing at every step."""
