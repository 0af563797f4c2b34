"""The commands: one table, one grammar, one way to run them."""

from backend.commands.grammar import Parsed, complete, parse, split
from backend.commands.model import Command, Outcome, Param
from backend.commands.run import allowed, execute
from backend.commands.table import COMMANDS, command

__all__ = [
    "COMMANDS",
    "Command",
    "Outcome",
    "Param",
    "Parsed",
    "allowed",
    "command",
    "complete",
    "execute",
    "parse",
    "split",
]
