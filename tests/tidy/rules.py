"""The rules. Each takes a Tree and returns its violations; ALL lists them."""

import re

from coroutine_rule import awaited_conditions, coroutine_temporaries
from functions import brace_functions, python_functions
from tree import Violation

MAX_FILE_LINES = 1000
MAX_FUNCTION_LINES = 100

TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE",
    ".ci", ".clang-format", ".clang-tidy", ".gitignore", ".gitattributes", ".editorconfig",
    "protocol", "storage", "broker", "tools", "tests", "conf",
}  # fmt: skip

# Modules from the bottom up; each may include those before it and itself.
CHAIN = [
    "protocol", "storage", "broker/runtime", "broker/net", "broker/metadata", "broker/replication",
    "broker/coordinator", "broker/security", "broker/api", "broker",
]  # fmt: skip
MAY_INCLUDE = {name: set(CHAIN[: i + 1]) for i, name in enumerate(CHAIN)}
MAY_INCLUDE["broker/security"] -= {"broker/replication", "broker/coordinator"}
MAY_INCLUDE["tools"] = {"protocol", "storage", "tools"}
# A program of its own, built first: it sees its own directory, by plain names.
MAY_INCLUDE["protocol/compiler"] = {None}
# The executable's commands join broker and command line; so does main.
MAY_INCLUDE["broker/commands"] = {*CHAIN, "broker/commands", "tools"}
MAIN = "broker/main.cc"

# System headers that a module must do without.
SOCKETS = r"boost/|sys/socket\.h|netinet/|arpa/|sys/epoll\.h"
MUST_NOT_USE = {
    "protocol": rf"{SOCKETS}|rocksdb/|fstream>|filesystem>|fcntl\.h|unistd\.h|sys/uio\.h|coroutine>|thread>|chrono>",
    "storage": rf"{SOCKETS}|coroutine>|thread>|chrono>",
    "tools": "rocksdb/",
    "protocol/compiler": rf"{SOCKETS}|rocksdb/",
}

EMPTY_NAMES = {
    "util", "utils", "utility", "utilities", "helper", "helpers", "common", "type", "types", "impl", "manager",
    "managers", "misc", "stuff", "base", "core", "lib",
}  # fmt: skip
# As the last word of a longer name.
EMPTY_LAST_WORDS = {"util", "utils", "helper", "helpers", "misc", "impl", "manager", "common"}

# Split, so that this file doesn't violate what it looks for.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|not yet impl" r"emented|\bunimpl" r"emented\b")
FOREIGN = re.compile(
    r"SPDX-License" r"-Identifier|\bCopyright\s+(?:\(c\)|©|\d{4})|Licensed under" r" the|All rights" r" reserved", re.I
)
FOREIGN_PLACES = {"third_party", "third-party", "thirdparty", "vendor", "external", "node_modules", "deps"}
FOREIGN_SUFFIXES = {".jar", ".so", ".a", ".o", ".dll", ".class", ".whl", ".gz", ".zip", ".tar", ".exe"}

# Directories of tests that mirror no directory of the source.
TEST_KINDS = {"sim", "fuzz", "bench", "clients", "scenarios", "tidy", "peers", "differential", "crash"}


def module_of(path):
    """The module that a file belongs to, or None (tests, scripts)."""
    parts = path.split("/")
    pair = "/".join(parts[:2])
    if len(parts) > 2 and pair in MAY_INCLUDE:
        return pair
    return parts[0] if parts[0] in MAY_INCLUDE and len(parts) > 1 else None


def include_direction(tree):
    found = []
    for file in tree.files:
        module = module_of(file.path)
        if not file.is_cpp or module is None or file.path == MAIN:
            continue
        for number, line in enumerate(file.lines, 1):
            quoted = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if quoted and module_of(quoted[1]) not in MAY_INCLUDE[module]:
                what = f"{module} may not include {quoted[1]}"
                found.append(Violation(file.path, number, "include-direction", what))
            system = re.match(r"\s*#\s*include\s*<(.+>)", line)
            if system and module in MUST_NOT_USE and re.match(MUST_NOT_USE[module], system[1]):
                what = f"{module} does without <{system[1]}"
                found.append(Violation(file.path, number, "include-direction", what))
    return found


def file_size(tree):
    return [
        Violation(f.path, MAX_FILE_LINES, "file-size", f"{len(f.lines)} lines; over {MAX_FILE_LINES} it is two things")
        for f in tree.files
        if f.is_code and len(f.lines) > MAX_FILE_LINES
    ]


def function_size(tree):
    found = []
    for file in tree.files:
        if file.is_cpp or file.suffix == ".java":
            functions = brace_functions(file.text)
        elif file.is_python:
            functions = python_functions(file.text)
        else:
            continue
        for name, line, size in functions:
            if size > MAX_FUNCTION_LINES:
                what = f"{name} has {size} lines; over {MAX_FUNCTION_LINES} it is two things"
                found.append(Violation(file.path, line, "function-size", what))
    return found


def empty_names(tree):
    found = []
    for file in tree.files:
        *directories, _ = file.path.split("/")
        words = file.stem.split("_")
        if file.stem in EMPTY_NAMES or (len(words) > 1 and words[-1] in EMPTY_LAST_WORDS):
            found.append(Violation(file.path, 1, "empty-name", f"'{file.stem}' says nothing"))
        for name in set(directories) & EMPTY_NAMES:
            found.append(Violation(file.path, 1, "empty-name", f"directory '{name}' says nothing"))
    return found


def file_names(tree):
    return [
        Violation(f.path, 1, "file-name", "files of C++ are named in snake_case")
        for f in tree.files
        if f.is_cpp and not re.fullmatch(r"[a-z][a-z0-9_]*\.(?:cc|h)", f.name)
    ] + [
        Violation(f.path, 1, "file-name", "C++ files end in .cc and .h")
        for f in tree.files
        if f.suffix in (".cpp", ".hpp", ".cxx", ".hxx", ".c", ".inl")
    ]


def header_opening(tree):
    found = []
    for file in tree.with_suffix(".h"):
        if not re.match(r"//\s*\S", file.text):
            found.append(Violation(file.path, 1, "header-opening", "opens with what it is for, as a comment"))
        pragmas = [line for line in file.lines if line.strip() == "#pragma once"]
        if len(pragmas) != 1:
            found.append(Violation(file.path, 1, "pragma-once", "has one #pragma once"))
        if re.search(r"^\s*#\s*ifndef\s+\w+_H_?\b", file.text, re.M):
            found.append(Violation(file.path, 1, "pragma-once", "has an include guard"))
        for number, line in enumerate(file.lines, 1):
            if re.match(r"using namespace ", line):
                found.append(Violation(file.path, number, "using-namespace", "pushed on whoever includes it"))
    return found


def type_names(tree):
    found = []
    for file in tree.files:
        if not file.is_cpp:
            continue
        for number, line in enumerate(file.lines, 1):
            declared = re.match(r"\s*(?:class|struct|enum class|enum|union)\s+(\w+)\s*(?:final\s*)?(?::(?!:)|[{;]|$)", line)
            if declared and not re.match(r"[A-Z][A-Za-z0-9]*$", declared[1]):
                found.append(Violation(file.path, number, "type-name", f"{declared[1]}: types are PascalCase"))
    return found


def unfinished(tree):
    return [
        Violation(file.path, number, "unfinished", line.strip()[:80])
        for file in tree.files
        if file.text is not None
        for number, line in enumerate(file.lines, 1)
        if UNFINISHED.search(line)
    ]


def white_space(tree):
    found = []
    for file in tree.files:
        if not file.text:
            continue
        for number, line in enumerate(file.text.split("\n"), 1):
            if line != line.rstrip():
                found.append(Violation(file.path, number, "white-space", "at the end of the line"))
            if "\t" in line and (file.is_cpp or file.is_python or file.suffix == ".java"):
                found.append(Violation(file.path, number, "white-space", "a tab"))
        if not file.text.endswith("\n"):
            found.append(Violation(file.path, len(file.lines), "white-space", "no line end at the end"))
    return found


def layout(tree):
    found = []
    for file in tree.files:
        top = file.path.split("/")[0]
        if top not in TOP_LEVEL:
            found.append(Violation(file.path, 1, "layout", f"'{top}' is not part of the layout"))
        if file.is_cpp and "/" not in file.path:
            found.append(Violation(file.path, 1, "layout", "code belongs to a module"))
    return found


def tests_mirror_the_tree(tree):
    directories = {f.directory for f in tree.files if f.is_cpp and not f.path.startswith("tests/")}
    found = []
    for file in tree.files:
        if not file.path.startswith("tests/") or not file.name.endswith("_test.cc"):
            continue
        mirrored = file.directory[len("tests/") :]
        if mirrored not in directories and mirrored.split("/")[0] not in TEST_KINDS:
            found.append(Violation(file.path, 1, "tests-mirror", f"there is no directory '{mirrored}'"))
    return found


def no_foreign_code(tree):
    found = []
    for file in tree.files:
        if set(file.path.split("/")) & FOREIGN_PLACES or file.name == ".gitmodules":
            found.append(Violation(file.path, 1, "foreign-code", "a place for other people's code"))
        if file.suffix in FOREIGN_SUFFIXES:
            found.append(Violation(file.path, 1, "foreign-code", "a built file"))
        if file.is_code and file.name != "LICENSE":
            for number, line in enumerate(file.lines, 1):
                if FOREIGN.search(line):
                    found.append(Violation(file.path, number, "foreign-code", line.strip()[:80]))
    return found


def careful_bash(tree):
    found = []
    for file in tree.files:
        if file.is_bash and not re.search(r"^set -euo pipefail$", file.text, re.M):
            found.append(Violation(file.path, 1, "careful-bash", "set -euo pipefail"))
        if file.is_bash and not re.match(r"#.*\n# \S", file.text):
            found.append(Violation(file.path, 2, "careful-bash", "opens with what it is for, as a comment"))
    return found


SETTINGS_TABLES = ("broker/metadata/broker_settings.cc", "broker/metadata/topic_settings.cc")
BROKER_TABLE = SETTINGS_TABLES[0]
EXAMPLE = "conf/millrace.yaml"


def settings_are_documented(tree):
    """Every row has a text, and every row of the broker's table stands in the example configuration."""
    texts = {f.path: f.text for f in tree.files}
    found = []
    for path in SETTINGS_TABLES:
        for row in re.split(r"(?=Setting\{)", texts.get(path, ""))[1:]:
            name = re.search(r'\.name\s*=\s*"([^"]+)"', row)
            if not name:
                continue
            line = texts[path][: texts[path].index(row)].count("\n") + 1
            if not re.search(r'\.documentation\s*=\s*"[^"]{10,}', row):
                found.append(Violation(path, line, "settings", f"{name[1]} is not documented"))
            if path == BROKER_TABLE and not _is_in_example(name[1], texts.get(EXAMPLE, "")):
                found.append(Violation(path, line, "settings", f"{name[1]} is not in {EXAMPLE}"))
    return found


def _is_in_example(name, example):
    return re.search(rf"^#?\s*{re.escape(name)}:", example, re.M) is not None


ALL = [
    include_direction, file_size, function_size, empty_names, file_names, header_opening, type_names, unfinished,
    white_space, layout, tests_mirror_the_tree, no_foreign_code, careful_bash, settings_are_documented,
    awaited_conditions,
    coroutine_temporaries,
]  # fmt: skip
