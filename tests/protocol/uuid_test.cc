#include "protocol/uuid.h"

#include <catch2/catch.hpp>

using millrace::Uuid;

TEST_CASE("a UUID prints as 22 characters and reads back", "[uuid]") {
  const Uuid id = Uuid::from_random(0x0123456789abcdef, 0xfedcba9876543210);
  CHECK(id.to_string().size() == 22);
  CHECK(Uuid::parse(id.to_string()) == id);
}

TEST_CASE("Kafka's own text of a UUID is understood", "[uuid]") {
  // The cluster id that Kafka's documentation uses throughout.
  const auto id = Uuid::parse("4L6g3nShT-eMCtK--X86sw");
  REQUIRE(id);
  CHECK(id->to_string() == "4L6g3nShT-eMCtK--X86sw");
  CHECK(std::to_integer<int>(id->bytes[0]) == 0xe0);
}

TEST_CASE("text that is no UUID is refused", "[uuid]") {
  CHECK_FALSE(Uuid::parse(""));
  CHECK_FALSE(Uuid::parse("4L6g3nShT-eMCtK--X86s"));
  CHECK_FALSE(Uuid::parse("4L6g3nShT-eMCtK--X86s!"));
  CHECK_FALSE(Uuid::parse("4L6g3nShT-eMCtK--X86sx"));
}
