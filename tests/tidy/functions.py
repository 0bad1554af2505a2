"""Finds the functions of a source file and their sizes, without a compiler: braces and what stands before them."""

import ast
import re

# Comments, raw strings, strings, characters (not the ' within 1'000), preprocessor lines: none holds a brace that
# counts. Line ends stay, so that line numbers do.
_OPAQUE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<tag>[^\s()\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*\"|"""
    r"""(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'|^[ \t]*\#(?:\\\n|[^\n])*""",
    re.S | re.M,
)
_SCOPE = re.compile(r"^(?:inline\s+|export\s+|public\s+|final\s+|static\s+)*(?:namespace|class|struct|union|enum|extern)\b")
_LAMBDA = re.compile(r"\]\s*(?:\(|\{|<|mutable|$)")
_ASSIGNMENT = re.compile(r"(?<![=!<>+\-*/%&|^])=(?!=)")
# Before the brace of a member in a constructor's list, as in A::A(int a) : a_(a), b_{a}.
_INITIALIZER = re.compile(r"\)[^()]*[^:]:[^:].*[\w>]$", re.S)
_IN_HEADER = "in header"


def brace_functions(text):
    """Yields (name, first line, number of lines) of each function in C++ or Java that isn't within another."""
    text = blank_opaque(text)
    stack = []  # For each open brace: None for a scope or data, _IN_HEADER, or the (name, line) of a function.
    begin = 0  # Where the current declaration begins.
    for match in re.finditer(r"[{};]", text):
        at = match.start()
        if match[0] == "{":
            header = text[begin:at]
            inside = any(isinstance(entry, tuple) for entry in stack)
            if not inside and _INITIALIZER.search(header):
                stack.append(_IN_HEADER)
                continue
            is_function = not inside and _opens_function(header)
            stack.append(_describe(text, begin, header) if is_function else None)
            begin = at + 1
        elif match[0] == "}":
            entry = stack.pop() if stack else None
            if entry is _IN_HEADER:
                continue
            if entry is not None:
                yield entry[0], entry[1], text.count("\n", 0, at) + 1 - entry[1] + 1
            begin = at + 1
        elif _parens_balance(text[begin:at]):
            begin = at + 1


def python_functions(text):
    """The same for Python; nested functions count for themselves too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def blank_opaque(text):
    """The text without its comments, strings and preprocessor lines; every position stays where it was in its line."""
    return _OPAQUE.sub(_blank, text)


def _blank(match):
    newlines = re.sub(r"[^\n]", " ", match[0])
    return newlines if match[0].lstrip().startswith(("/", "#")) else '""' + newlines[2:]


def _opens_function(header):
    declaration = _without_template(re.sub(r"\[\[.*?\]\]", "", header).strip())
    if _SCOPE.match(declaration):
        return False
    outside = re.sub(r"\([^()]*\)", "()", declaration)
    while (shorter := re.sub(r"\((?:[^()]|\(\))+\)", "()", outside)) != outside:
        outside = shorter
    if "operator" not in outside and _ASSIGNMENT.search(outside):
        return bool(_LAMBDA.search(outside))
    return "(" in outside


def _without_template(declaration):
    while declaration.startswith("template"):
        depth = 0
        for i, c in enumerate(declaration):
            depth += (c == "<") - (c == ">" and declaration[i - 1] != "-")
            if c == ">" and depth == 0:
                declaration = declaration[i + 1 :].lstrip()
                break
        else:
            return declaration
    return declaration


def _describe(text, begin, header):
    first = begin + len(header) - len(header.lstrip())
    name = re.search(r"([~\w:]+|operator\S+)\s*\(", header)
    return (name[1] if name else "lambda"), text.count("\n", 0, first) + 1


def _parens_balance(header):
    """A semicolon within the parentheses of a for ends nothing."""
    return header.count("(") == header.count(")")
