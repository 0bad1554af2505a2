#include "tools/table.h"

#include <catch2/catch.hpp>

using millrace::tools::Table;

TEST_CASE("columns are aligned, numbers to the right") {
  Table table({"NAME", ">COUNT", "NOTE"});
  CHECK(table.empty());
  table.add({"grüße", "7", ""});
  table.add({"x", "12,345", "y"});
  CHECK(table.render(false) ==
        "NAME    COUNT  NOTE\n"
        "grüße       7\n"
        "x      12,345  y\n");
}

TEST_CASE("a name of any bytes keeps to its cell") {
  Table table({"GROUP", ">LAG"});
  table.add({"a\x1b[31mb\nc", "1"});
  table.add({"\xff\xc3\xbc\x7f\xc2\x9b", "2"});
  CHECK(table.render(false) ==
        "GROUP              LAG\n"
        "a\\x1b[31mb\\x0ac      1\n"
        "\\xff\xc3\xbc\\x7f\\xc2\\x9b    2\n");
}

TEST_CASE("a huge name pads its own line only") {
  const std::string huge(32'000, 'g');
  Table table({"GROUP", ">LAG"});
  table.add({huge, "1"});
  table.add({"small", "2"});
  CHECK(table.render(false) == "GROUP  LAG\n" + huge + "    1\n" + "small    2\n");
}

TEST_CASE("colour only when asked for") {
  Table table({"A"});
  table.add({"b"});
  CHECK(table.render(true) == "\x1b[1mA\x1b[0m\nb\n");
  CHECK(table.render(false) == "A\nb\n");
}
