#include "tools/record_format.h"

#include <array>
#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;

namespace {

std::string written(std::string_view format, const ConsumedRecord& record) {
  const Result<OutputFormat> parsed = OutputFormat::parse(format);
  REQUIRE(parsed);
  std::string out;
  parsed->append(out, record);
  return out;
}

InputRecord read(std::string_view format, std::string_view text) {
  const Result<InputFormat> parsed = InputFormat::parse(format);
  REQUIRE(parsed);
  Result<InputRecord> record = parsed->read(text);
  REQUIRE(record);
  return std::move(*record);
}

}  // namespace

TEST_CASE("records are written by a format") {
  const std::array<HeaderView, 2> headers = {HeaderView{"a", "1"}, HeaderView{"b", std::nullopt}};
  ConsumedRecord record{.topic = "t",
                        .partition = 3,
                        .offset = 42,
                        .timestamp_ms = 7,
                        .key = "k1",
                        .value = "value",
                        .headers = headers};
  CHECK(written("%t [%p] %o %T %k=%s (%K,%S) %h%%\\n", record) == "t [3] 42 7 k1=value (2,5) a=1,b=NULL%\n");
  CHECK(written("%R%s", record) == std::string("\0\0\0\x05value", 9));
  CHECK(written("\\x41\\t\\\\%%k", record) == "A\t\\%k");
  record.key.reset();
  record.value.reset();
  CHECK(written("%k|%K|%s|%S", record) == "|-1||-1");
  CHECK(written("%R", record) == "\xff\xff\xff\xff");
}

TEST_CASE("records are read by a format") {
  const InputRecord plain = read("%s\\n", "hello");
  CHECK(plain.value == "hello");
  CHECK_FALSE(plain.key);
  const InputRecord keyed = read("%k:%s\\n", "a:b:c");
  CHECK(keyed.key == "a");
  CHECK(keyed.value == "b:c");
  const InputRecord all = read("[%p] %T %h|%k\\t%s", "[2] 1970-01-01T00:00:01Z x=1,y=|k\tv");
  CHECK(all.partition == 2);
  CHECK(all.timestamp_ms == 1000);
  REQUIRE(all.headers.size() == 2);
  CHECK(all.headers[0].name == "x");
  CHECK(all.headers[1].value == "");
  CHECK(all.key == "k");
  CHECK(all.value == "v");
  CHECK(InputFormat::parse("%s||")->terminator() == "||");
  CHECK(InputFormat::parse("%s")->terminator() == "\n");
}

TEST_CASE("input that doesn't follow the format is refused") {
  const auto complaint = [](std::string_view format, std::string_view text) {
    const Result<InputRecord> record = InputFormat::parse(format)->read(text);
    return record ? "accepted" : record.error().message;
  };
  CHECK(complaint("%k:%s", "no delimiter") == "no \":\" after %k");
  CHECK(complaint("%p %s", "x y") == "%p: \"x\" is not a number");
  CHECK(complaint("%p %s", "99999999999 y") == "%p: \"99999999999\" is not a number");
  CHECK(complaint("%T %s", "noon y") == "%T: \"noon\" is not a time");
  CHECK(complaint("%h %s", "a y") == "%h: \"a\" is not NAME=VALUE");
  CHECK(complaint("<%s>", "x") == "doesn't start with \"<\"");
}

TEST_CASE("bad formats are refused") {
  CHECK_FALSE(OutputFormat::parse("%q"));
  CHECK_FALSE(OutputFormat::parse("abc%"));
  CHECK_FALSE(OutputFormat::parse("\\q"));
  CHECK_FALSE(OutputFormat::parse("\\x4"));
  CHECK_FALSE(InputFormat::parse("%k%s"));
  CHECK_FALSE(InputFormat::parse("%o"));
  CHECK_FALSE(InputFormat::parse("nothing"));
}
