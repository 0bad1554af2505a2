#include "tools/client/address.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;

TEST_CASE("brokers' addresses") {
  using Addresses = std::vector<Address>;
  CHECK(*parse_addresses("localhost") == Addresses{{"localhost", 9092}});
  CHECK(*parse_addresses("a:1, b:65535") == Addresses{{"a", 1}, {"b", 65535}});
  CHECK(*parse_addresses("[::1]:9093,::1") == Addresses{{"::1", 9093}, {"::1", 9092}});
  CHECK(Address{"::1", 9093}.to_string() == "[::1]:9093");
  CHECK(Address{"a", 1}.to_string() == "a:1");
}

TEST_CASE("what is no address") {
  for (const char* text : {"", ":9092", "a:", "a:0", "a:65536", "a:x", "[::1", "[::1]9092", "a,,b", "a:1,"}) {
    INFO(text);
    const Result<std::vector<Address>> parsed = parse_addresses(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().message.find("HOST:PORT") != std::string::npos);
  }
}
