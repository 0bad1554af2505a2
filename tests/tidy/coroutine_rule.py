"""GCC 12 destroys an aggregate temporary or a capturing lambda within a co_await expression twice: both must be named
first. This finds those written out within the operand of a co_await; which braces make an aggregate it can't know, so
every temporary made with braces counts.

It also destroys what is awaited in the condition of an if, while or switch before it is resumed, unless the condition
declares a variable. And in a range-for the awaited range may die before its loop."""

import re

from functions import blank_opaque
from tree import Violation

_AWAIT = re.compile(r"\bco_await\b")
_CONDITION = re.compile(r"\b(if|while|switch|for)\s*(?:constexpr\s*)?\(")
_DECLARATION = re.compile(r"[\w:<>,&*\s]+[\s&*]\w+\s*=[^=]")
_OPEN, _CLOSE = "([{", ")]}"


def coroutine_temporaries(tree):
    found = []
    for file in tree.files:
        if not file.is_cpp or "co_await" not in (file.text or ""):
            continue
        text = blank_opaque(file.text)
        for match in _AWAIT.finditer(text):
            for at, what in _temporaries(text, match.end()):
                line = text.count("\n", 0, at) + 1
                found.append(Violation(file.path, line, "coroutine", f"{what} within co_await: name it, then await it"))
    return found


def awaited_conditions(tree):
    found = []
    for file in tree.files:
        if not file.is_cpp or "co_await" not in (file.text or ""):
            continue
        text = blank_opaque(file.text)
        for match in _CONDITION.finditer(text):
            inside = text[match.end() : _matching(text, match.end() - 1)]
            if _is_awaited(match[1], inside):
                line = text.count("\n", 0, match.start()) + 1
                what = f"co_await as the condition of {match[1]}: name the result, then test it"
                found.append(Violation(file.path, line, "coroutine", what))
    return found


def _is_awaited(keyword, inside):
    if keyword == "for":
        head, colon, awaited = inside.partition(" : ")
        return bool(colon) and ";" not in head and bool(_AWAIT.search(awaited))
    condition = inside.rpartition(";")[2]
    return bool(_AWAIT.search(condition)) and not _DECLARATION.match(condition.strip())


def _temporaries(text, begin):
    """Yields (position, what) for each offender from `begin` to the end of the co_await's operand."""
    depth = 0
    at = begin
    while at < len(text):
        c = text[at]
        if c == "[" and _begins_lambda(text, at):
            close = _matching(text, at)
            if text[at + 1 : close].strip():
                yield at, "a lambda with captures"
            at = _matching(text, _body_of_lambda(text, close))
        elif c == "{":
            yield at, "a temporary made with braces"
            at = _matching(text, at)
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        if depth < 0 or (depth == 0 and c in ";,"):
            return
        at += 1


def _begins_lambda(text, at):
    """A bracket behind a name, a call or an index is an index."""
    before = text[:at].rstrip()
    return not before or not (before[-1].isalnum() or before[-1] in "_)]\"") or before.endswith(("return", "co_await"))


def _body_of_lambda(text, close):
    """The position of the brace that opens the body, behind parameters, specifiers and result."""
    at = close + 1
    while at < len(text) and text[at] != "{":
        at = _matching(text, at) + 1 if text[at] == "(" else at + 1
    return min(at, len(text) - 1)


def _matching(text, at):
    """The position of what closes the bracket at `at`; the end of the text when nothing does."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in _OPEN) - (text[i] in _CLOSE)
        if depth == 0:
            return i
    return len(text) - 1
