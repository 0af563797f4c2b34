"""The commands: one table, one grammar, one way to run them."""

from backend.commands.grammar import complete, parse, split
from backend.commands.model import Command, Outcome, Param, Parsed, Result
from backend.commands.run import allowed, execute, execute_all, refusal
from backend.commands.table import COMMANDS, command

__all__ = [
    "COMMANDS",
    "Command",
    "Outcome",
    "Param",
    "Parsed",
    "Result",
    "allowed",
    "command",
    "complete",
    "execute",
    "execute_all",
    "parse",
    "refusal",
    "split",
]
