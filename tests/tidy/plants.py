"""Violations planted on purpose, and clean code that looks like one: what each rule must and must not see."""

import dataclasses

import rules
from tree import File, Tree


@dataclasses.dataclass(frozen=True)
class Plant:
    rule: object
    path: str
    text: str
    is_violation: bool
    # What else is in the tree.
    beside: tuple = ()

    def complaint(self):
        """What is wrong with the rule, or None."""
        seen = self.rule(Tree([File(self.path, self.text), *self.beside]))
        if bool(seen) == self.is_violation:
            return None
        verdict = "misses" if self.is_violation else f"sees '{seen[0]}' in"
        return f"{self.rule.__name__} {verdict} {self.path}: {self.text[:60]!r}"


def bad(rule, path, text="", beside=()):
    return Plant(rule, path, text, True, tuple(beside))


def good(rule, path, text="", beside=()):
    return Plant(rule, path, text, False, tuple(beside))


def _function(lines, opening="int f(int a) {"):
    return opening + "\n" + "  ++a;\n" * (lines - 2) + "}\n"


LONG, SHORT = rules.MAX_FUNCTION_LINES + 1, rules.MAX_FUNCTION_LINES
HEADER = "// What it is for.\n#pragma once\n"
TABLE = rules.BROKER_TABLE
ROW = 'Setting{.name = "a.b", .documentation = "What it does and why."},\n'
EXAMPLE = [File(rules.EXAMPLE, "# What it does.\n#a.b: 1\n")]

INCLUDES = [
    bad(rules.include_direction, "protocol/x.cc", '#include "storage/log.h"\n'),
    bad(rules.include_direction, "storage/x.h", '#include "broker/net/request.h"\n'),
    bad(rules.include_direction, "broker/net/x.cc", '#include "broker/api/table.h"\n'),
    bad(rules.include_direction, "tools/x.cc", '#include "broker/config.h"\n'),
    bad(rules.include_direction, "tools/commands/x.cc", '#  include "broker/metadata/store.h"\n'),
    bad(rules.include_direction, "storage/x.cc", '#include "../protocol/bytes.h"\n'),
    bad(rules.include_direction, "storage/x.cc", '#include "bytes.h"\n'),
    bad(rules.include_direction, "protocol/compiler/x.cc", '#include "protocol/bytes.h"\n'),
    bad(rules.include_direction, "protocol/x.cc", "#include <boost/asio.hpp>\n"),
    bad(rules.include_direction, "protocol/x.cc", "#include <unistd.h>\n"),
    bad(rules.include_direction, "storage/x.cc", "#include <boost/asio.hpp>\n"),
    good(rules.include_direction, "broker/api/x.cc", '#include "broker/net/request.h"\n#include "storage/log.h"\n'),
    good(rules.include_direction, "broker/x.cc", '#include "broker/api/table.h"\n'),
    good(rules.include_direction, "broker/commands/x.cc", '#include "tools/command.h"\n#include "broker/server.h"\n'),
    bad(rules.include_direction, "broker/api/x.cc", '#include "broker/commands/run.h"\n'),
    good(rules.include_direction, "broker/main.cc", '#include "tools/command_line.h"\n'),
    good(rules.include_direction, "protocol/compiler/x.cc", '#include "parser.h"\n'),
    good(rules.include_direction, "storage/x.cc", "#include <rocksdb/db.h>\n"),
    good(rules.include_direction, "protocol/x.cc", '#include "protocol/messages/fetch.h"\n'),
]

SIZES = [
    bad(rules.file_size, "storage/x.cc", "\n" * (rules.MAX_FILE_LINES + 1)),
    bad(rules.file_size, "tools/x", "#!/usr/bin/env bash\n" * (rules.MAX_FILE_LINES + 1)),
    good(rules.file_size, "storage/x.cc", "\n" * rules.MAX_FILE_LINES),
    bad(rules.function_size, "storage/x.cc", _function(LONG)),
    bad(rules.function_size, "storage/x.cc", "namespace a {\nclass B {\n" + _function(LONG) + "};\n}\n"),
    bad(rules.function_size, "storage/x.cc", _function(LONG, "A::A(int a) : a_(a), b_{a} {")),
    bad(rules.function_size, "storage/x.cc", _function(LONG, "template <class T = int>\nauto f(T a) -> int {")),
    bad(rules.function_size, "storage/x.cc", _function(LONG, "bool operator==(const A& a) const noexcept {")),
    bad(rules.function_size, "storage/x.cc", _function(LONG, "constexpr auto f = [](int a) {")),
    bad(rules.function_size, "tests/x_test.cc", _function(LONG, 'TEST_CASE("a { b") {')),
    bad(rules.function_size, "storage/x.cc", "int f(int a) {\n  const char c = '}';  // }\n" + "  ++a;\n" * 99 + "}\n"),
    bad(rules.function_size, "storage/x.cc", "int f() {\n  for (int i = 0; i < 9; ++i) {\n" + "  g();\n" * 99 + "  }\n}\n"),
    bad(rules.function_size, "tests/x.py", "def f():\n" + "    pass\n" * 100),
    bad(rules.function_size, "tests/X.java", "class X {\n" + _function(LONG, "static int f(int a) {") + "}\n"),
    good(rules.function_size, "storage/x.cc", _function(SHORT)),
    good(rules.function_size, "storage/x.cc", "constexpr A kTable[] = {\n" + "  {1, f(2)},\n" * 200 + "};\n"),
    good(rules.function_size, "storage/x.cc", "class A : public B<int(int)> {\n" + "  int f() { return 1; }\n" * 200 + "};\n"),
    good(rules.function_size, "storage/x.cc", _function(60) + _function(60, "int g(int a = 0) {")),
    good(rules.function_size, "storage/x.cc", 'const char* k = R"(\n' + "f() {\n" * 200 + ')";\n'),
]

NAMES = [
    bad(rules.empty_names, "storage/utils.h"),
    bad(rules.empty_names, "broker/api/string_helpers.cc"),
    bad(rules.empty_names, "broker/common/x.cc"),
    bad(rules.empty_names, "storage/log_impl.h"),
    bad(rules.empty_names, "broker/manager.cc"),
    good(rules.empty_names, "storage/log.h"),
    bad(rules.file_names, "storage/LogFile.h"),
    bad(rules.file_names, "storage/log.cpp"),
    good(rules.file_names, "storage/log_2.cc"),
    bad(rules.type_names, "storage/x.h", "struct log_config {\n"),
    bad(rules.type_names, "storage/x.cc", "  enum class Bad_Name : int {\n"),
    good(rules.type_names, "storage/x.h", "class LogConfig final : public A {\n  struct stat info;\n"),
    good(rules.type_names, "storage/x.h", "template <>\nstruct std::hash<A> {\n"),
]

HEADERS = [
    bad(rules.header_opening, "storage/x.h", "#pragma once\n// Too late.\n"),
    bad(rules.header_opening, "storage/x.h", "// No pragma.\n"),
    bad(rules.header_opening, "storage/x.h", HEADER + "#ifndef X_H\n"),
    bad(rules.header_opening, "storage/x.h", HEADER + "using namespace std;\n"),
    good(rules.header_opening, "storage/x.h", HEADER),
]

TEXT = [
    bad(rules.unfinished, "storage/x.cc", "// TO" "DO: later\n"),
    bad(rules.unfinished, "tests/x.py", "# FIX" "ME\n"),
    good(rules.unfinished, "storage/x.cc", "// What is to do next.\n"),
    bad(rules.white_space, "storage/x.cc", "int a; \n"),
    bad(rules.white_space, "storage/x.cc", "\tint a;\n"),
    bad(rules.white_space, "README.md", "text\r\n"),
    bad(rules.white_space, "conf/x.yaml", "a: 1"),
    good(rules.white_space, "storage/x.cc", "int a;\n\nint b;\n"),
]

PLACES = [
    bad(rules.layout, "src/x.cc"),
    bad(rules.layout, "notes.txt"),
    good(rules.layout, "conf/x.yaml"),
    bad(rules.tests_mirror_the_tree, "tests/stoarge/log_test.cc", "", [File("storage/log.cc", "")]),
    good(rules.tests_mirror_the_tree, "tests/storage/log_test.cc", "", [File("storage/log.cc", "")]),
    good(rules.tests_mirror_the_tree, "tests/fuzz/decoder_test.cc"),
    bad(rules.no_foreign_code, "storage/third_party/x.cc"),
    bad(rules.no_foreign_code, "tools/x.jar"),
    bad(rules.no_foreign_code, "storage/x.cc", "// Copy" "right (c) 2013 Somebody\n"),
    bad(rules.no_foreign_code, "storage/x.h", "// SPDX-License" "-Identifier: MIT\n"),
    good(rules.no_foreign_code, "storage/x.h", "// Right to copy.\n"),
    bad(rules.careful_bash, "tools/x", "#!/usr/bin/env bash\n# Does it.\necho\n"),
    bad(rules.careful_bash, "tools/x", "#!/bin/bash\nset -euo pipefail\n"),
    good(rules.careful_bash, "tools/x", "#!/usr/bin/env bash\n# Does it.\nset -euo pipefail\n"),
]

SETTINGS = [
    bad(rules.settings_are_documented, TABLE, ROW),
    bad(rules.settings_are_documented, TABLE, 'Setting{.name = "a.b"},\n', EXAMPLE),
    bad(rules.settings_are_documented, TABLE, ROW.replace("What it does and why.", ""), EXAMPLE),
    good(rules.settings_are_documented, TABLE, ROW, EXAMPLE),
    good(rules.settings_are_documented, rules.SETTINGS_TABLES[1], ROW),
]

COROUTINES = [
    bad(rules.awaited_conditions, "storage/x.cc", "  if (!co_await f(a)) co_return;\n"),
    bad(rules.awaited_conditions, "storage/x.cc", "  while (a && co_await f(a)) {\n"),
    bad(rules.awaited_conditions, "storage/x.cc", "  if (auto x = g(); co_await f(x) == 1) co_return;\n"),
    bad(rules.awaited_conditions, "storage/x.cc", "  for (const auto& x : co_await f(a)) g(x);\n"),
    good(rules.awaited_conditions, "storage/x.cc", "  if (const bool done = co_await f(a); !done) co_return;\n"),
    good(rules.awaited_conditions, "storage/x.cc", "  if (Result<> done = co_await f(a)) co_return;\n"),
    good(rules.awaited_conditions, "storage/x.cc", "  if (a) co_await f(a);\n  while (b) x = co_await f(b);\n"),
    bad(rules.coroutine_temporaries, "storage/x.cc", "  co_await shard.call([&] { return 1; });\n"),
    bad(rules.coroutine_temporaries, "storage/x.cc", "  auto x = co_await shard.call([a](int b) mutable {\n  });\n"),
    bad(rules.coroutine_temporaries, "storage/x.cc", "  co_return co_await f(a, Options{.size = 1});\n"),
    bad(rules.coroutine_temporaries, "storage/x.cc", "  if (!co_await f(a, {1, 2})) {\n"),
    bad(rules.coroutine_temporaries, "storage/x.cc", "  co_await f(\n      g(std::pair<int, int>{1, 2}));\n"),
    good(rules.coroutine_temporaries, "storage/x.cc", "  auto f = [&] { return A{1}; };\n  co_await shard.call(f);\n"),
    good(rules.coroutine_temporaries, "storage/x.cc", "  co_await f(a[i], b()[0]);\n  g(A{1});\n"),
    good(rules.coroutine_temporaries, "storage/x.cc", "  // co_await f([&] {});\n"),
    good(rules.coroutine_temporaries, "storage/x.cc", "  co_await f([](int a) { return A{a}; });\n"),
    good(rules.coroutine_temporaries, "storage/x.cc", "  g(co_await f(a), [&] { return 1; });\n"),
]

ALL = [*COROUTINES, *INCLUDES, *SIZES, *NAMES, *HEADERS, *TEXT, *PLACES, *SETTINGS]
