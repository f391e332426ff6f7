"""`--help` in groups, in plain text: for terminals without colours, logs and the pages in `docs/` alike."""

import re
from typing import Any

from typer.core import TyperCommand

# Fewer options are read at a glance.
_FLAT = 8
# What all commands have stands last, with --help.
_SHARED = "Messages"
_PYTHON_TYPE = re.compile(r" <(str|path|list\[(str|path)\])>")


class GroupedCommand(TyperCommand):
    """A command whose options stand under the headings that they name as `rich_help_panel`, where there are many."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments, then groups in the order of their first options; what all commands have comes last."""
        arguments, options = list[Any](), list[Any]()
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                arguments.append((_PYTHON_TYPE.sub("", record[0]), record[1]))
            else:
                options.append((getattr(param, "rich_help_panel", None) or _SHARED, record))
        groups: dict[str, list[Any]] = {}
        for title, record in sorted(options, key=lambda option: option[0] == _SHARED):
            groups.setdefault(title, []).append(record)
        if len(options) <= _FLAT:
            groups = {"Options": [record for _, record in options]}
        for title, records in (("Arguments", arguments), *groups.items()):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
