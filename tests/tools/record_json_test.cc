#include "tools/record_json.h"

#include <array>
#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;

TEST_CASE("records as JSON lines come back the same") {
  const std::string binary("\x00\xff\x10", 3);
  const std::array<HeaderView, 3> headers = {HeaderView{"a", "1"}, HeaderView{"b", std::nullopt},
                                             HeaderView{"c", binary}};
  const ConsumedRecord record{.topic = "t",
                              .partition = 3,
                              .offset = 42,
                              .timestamp_ms = 7,
                              .key = "schlüssel",
                              .value = binary,
                              .headers = headers};
  std::string line;
  append_record_json(line, record);
  CHECK(line ==
        "{\"topic\":\"t\",\"partition\":3,\"offset\":42,\"timestamp\":7,\"timestamp_type\":\"create\","
        "\"key\":\"schlüssel\","
        "\"value_base64\":\"AP8Q\",\"headers\":[{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"b\",\"value\":"
        "null},"
        "{\"name\":\"c\",\"value_base64\":\"AP8Q\"}]}\n");
  const Result<InputRecord> back = read_record_json(line);
  REQUIRE(back);
  CHECK(back->partition == 3);
  CHECK(back->timestamp_ms == 7);
  CHECK(back->key == "schlüssel");
  CHECK(back->value == binary);
  REQUIRE(back->headers.size() == 3);
  CHECK(back->headers[0].value == "1");
  CHECK_FALSE(back->headers[1].value);
  CHECK(back->headers[2].value == binary);
}

TEST_CASE("null keys and values differ from empty ones") {
  std::string line;
  append_record_json(line, {.topic = "t", .key = std::nullopt, .value = ""});
  CHECK(line.find("\"key\":null,\"value\":\"\"") != std::string::npos);
  CHECK(line.find("\"timestamp_type\":\"none\"") != std::string::npos);
  const Result<InputRecord> back = read_record_json(line);
  REQUIRE(back);
  CHECK_FALSE(back->key);
  CHECK(back->value == "");
  CHECK_FALSE(back->timestamp_ms);
}

TEST_CASE("JSON written by hand") {
  const Result<InputRecord> record = read_record_json(
      R"({"value": {"id": 1, "tags": ["x"]}, "headers": {"h": "1", "n": 2}, "timestamp": "1970-01-01T00:00:01Z"})");
  REQUIRE(record);
  CHECK(record->value == R"({"id":1,"tags":["x"]})");
  CHECK(record->timestamp_ms == 1000);
  REQUIRE(record->headers.size() == 2);
  CHECK(record->headers[1].value == "2");
  CHECK(read_record_json("{}"));
}

TEST_CASE("what is wrong with a JSON record") {
  const auto complaint = [](std::string_view line) {
    const Result<InputRecord> record = read_record_json(line);
    return record ? "accepted" : record.error().message;
  };
  CHECK(complaint("[]") == "not a JSON object; write {\"key\":..., \"value\":...}");
  CHECK(complaint(R"({"vlaue":"x"})") == "unknown member \"vlaue\"; did you mean \"value\"?");
  CHECK(complaint(R"({"value_base64":"!"})") == "\"value_base64\" is not base64");
  CHECK(complaint(R"({"partition":-1})") == "\"partition\" is not a partition's number");
  CHECK(complaint(R"({"timestamp":"noon"})") ==
        "\"timestamp\" is neither milliseconds since 1970 nor ISO 8601 with a zone");
  CHECK(complaint(R"({"headers":3})") == "\"headers\" is neither a list nor an object");
  CHECK(complaint(R"({"headers":[{"value":"x"}]})") ==
        "a header is not of the form {\"name\":..., \"value\":...}");
  CHECK(complaint("{").starts_with("not JSON at character 2"));
}
