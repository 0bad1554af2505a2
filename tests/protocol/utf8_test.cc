#include "protocol/utf8.h"

#include <catch2/catch.hpp>

using namespace millrace::protocol;

TEST_CASE("what isn't UTF-8 is printed byte by byte, and differs from what is") {
  for (const std::string_view text :
       {"", "plain", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(is_utf8(text));
    CHECK(printable(text) == text);
  }
  for (const std::string_view text :
       {"\xff", "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "\xe2\x82",
        "\xf0\x9f\x98", "\xf5\x80\x80\x80"}) {
    CHECK_FALSE(is_utf8(text));
  }
  CHECK(printable("a\xff\xc3\xbc\xc3") == "a\\xff\xc3\xbc\\xc3");
  CHECK(printable("\\xff") == "\\x5cxff");
  CHECK(printable("\\\xff") == "\\x5c\\xff");
  CHECK(printable("C:\\new") == "C:\\new");
}
