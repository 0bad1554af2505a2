#include "tools/json.h"

#include <catch2/catch.hpp>

using millrace::Result;
using millrace::tools::Json;

TEST_CASE("JSON comes out as it went in") {
  for (const char* text :
       {"null", "true", "false", "0", "-7", "9223372036854775807", "1.5", "\"\"", "[]", "{}",
        R"({"a":[1,2,{"b":null}],"c":"x"})", R"("tab\tquote\"backslash\\line\n")", "\"grüße\""}) {
    const Result<Json> json = Json::parse(text);
    INFO(text);
    REQUIRE(json);
    CHECK(json->dump() == text);
  }
}

TEST_CASE("escapes of JSON strings") {
  CHECK(*Json::parse(R"("\u00fc\/\b\f\r")")->if_string() == "ü/\b\f\r");
  CHECK(*Json::parse(R"("\ud83d\ude00")")->if_string() == "\xf0\x9f\x98\x80");
  CHECK(Json(std::string("\x01\x7f")).dump() == R"("\u0001\u007f")");
  // Not UTF-8: a stray byte, a cut sequence, an overlong form, a surrogate.
  CHECK(Json(std::string("a\xff!")).dump() == "\"a\\ufffd!\"");
  CHECK(Json(std::string("\xe2\x82")).dump() == "\"\\ufffd\\ufffd\"");
  CHECK(Json(std::string("\xc0\x80")).dump() == "\"\\ufffd\\ufffd\"");
  CHECK(Json::name(std::string("a\xff")).dump() == "\"a\\\\xff\"");
  CHECK(Json::name(std::optional<std::string>()).is_null());
}

TEST_CASE("bad JSON says where and why") {
  const auto message = [](std::string_view text) {
    const Result<Json> json = Json::parse(text);
    return json ? "accepted" : json.error().message;
  };
  CHECK(message("") == "not JSON at character 1: a value is missing");
  CHECK(message("{\"a\" 1}") == "not JSON at character 6: ':' is missing");
  CHECK(message("[1,2") == "not JSON at character 5: ',' or ']' is missing");
  CHECK(message("\"abc") == "not JSON at character 2: the string doesn't end");
  CHECK(message("1 2") == "not JSON at character 3: unexpected text after the value");
  CHECK(message(R"("\ud83d")") == "not JSON at character 8: half of a surrogate pair is missing");
  CHECK(message(R"("\q")") == "not JSON at character 3: unknown escape");
  CHECK(message("{a:1}") == "not JSON at character 2: a member's name in quotes is missing");
  CHECK(message("nul") != "accepted");
  CHECK(message("1-2") != "accepted");
  CHECK(message(std::string(100'000, '[')).find("nested too deeply") != std::string::npos);
}

TEST_CASE("JSON over lines") {
  Json json = Json::object();
  json.set("a", Json::list()).set("b", std::move(Json::list().push(1).push("x")));
  CHECK(json.dump(2) == "{\n  \"a\": [],\n  \"b\": [\n    1,\n    \"x\"\n  ]\n}");
}
