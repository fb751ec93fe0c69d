"""How edgevid writes its docstrings, for the reference: examples become code blocks, and the comment at the end of
a field's line is what the field means."""

from __future__ import annotations

import io
import re
import tokenize
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?)(?:^(?!\s*$).*\n?)*", re.MULTILINE)


def comment_of(source: str) -> str:
    """The last comment in the lines of a statement; "" where there is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, IndentationError):
        return ""
    comments = [t.string.lstrip("#: ").strip() for t in tokens if t.type == tokenize.COMMENT]
    return comments[-1] if comments and not comments[-1].startswith(("noqa", "fmt:", "type:")) else ""


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is None and obj.is_attribute and obj.lineno and obj.lines_collection:
            if comment := comment_of("\n".join(line.strip() for line in obj.source.splitlines())):
                obj.docstring = griffe.Docstring(comment, parent=obj, lineno=obj.lineno)
        elif obj.docstring is not None and ">>>" in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(lambda m: f"\n```pycon\n{m[0].strip()}\n```\n", obj.docstring.value)
