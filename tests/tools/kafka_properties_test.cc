#include "tools/kafka_properties.h"

#include <catch2/catch.hpp>

using namespace millrace::tools;

TEST_CASE("Kafka's console consumer's properties become a format") {
  CHECK(*formatter_properties({}) == "%s\n");
  CHECK(*formatter_properties({"print.key=true"}) == "%k\t%s\n");
  CHECK(*formatter_properties({"print.key=true", "key.separator=%", "print.offset=true"}) ==
        "Offset:%o%%%k%%%s\n");
  CHECK(*formatter_properties({"print.value=false", "print.timestamp=true", "line.separator=;"}) ==
        "CreateTime:%T;");
  CHECK_FALSE(formatter_properties({"print.keys=true"}));
  CHECK_FALSE(formatter_properties({"print.key"}));
}

TEST_CASE("Kafka's console producer's properties") {
  CHECK(reader_properties({"parse.key=true", "key.separator=:"})->key_separator == ":");
  CHECK(reader_properties({"parse.key=true"})->parse_key);
  CHECK_FALSE(reader_properties({})->parse_key);
  CHECK(reader_properties({"ignore.error=true"}).error().message ==
        "unknown property \"ignore.error=true\"; there are key.separator, null.marker, parse.key");
}
