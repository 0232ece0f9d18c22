"""The test kit: what programs, and journals of your own, are tested with."""

from .journal_contract import JournalContract

__all__ = ["JournalContract"]
