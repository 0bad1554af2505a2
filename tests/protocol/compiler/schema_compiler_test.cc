// Good schemas mean what they should, bad ones are refused with the line and what to do. That the generated
// code encodes as Kafka does is golden_test.cc's matter.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "checker.h"
#include "emitter.h"
#include "field_code.h"
#include "names.h"
#include "parser.h"

using namespace millrace::compiler;

namespace {

struct Compiled {
  Schema schema;
  std::vector<Problem> problems;
};

Compiled compile(const std::string& text, const std::string& file = "schema/sample.api") {
  Compiled compiled;
  compiled.schema = parse(text, file, compiled.problems);
  if (compiled.problems.empty()) check(compiled.schema, compiled.problems);
  return compiled;
}

// A schema whose request has these fields; the first of them is line 3.
std::string with_request(const std::string& fields) {
  return "api Sample 7  versions 0-4  flexible 2+\nrequest\n" + fields + "response\n  error_code error\n";
}

const Field& first_field(const Compiled& compiled) {
  return compiled.schema.messages.at(0).body.fields.at(0);
}

void expect_problem(const std::string& text, int line, const std::string& words,
                    const std::string& file = "schema/sample.api") {
  const Compiled compiled = compile(text, file);
  INFO(text);
  REQUIRE_FALSE(compiled.problems.empty());
  CHECK(compiled.problems[0].line == line);
  CHECK_THAT(compiled.problems[0].text, Catch::Contains(words));
}

void expect_field_problem(const std::string& field, const std::string& words) {
  expect_problem(with_request("  " + field + "\n"), 3, words);
}

}  // namespace

TEST_CASE("a schema gives key, versions, sections and fields", "[schema]") {
  const Compiled compiled = compile(
      "# Notes open the file.\n"
      "api Sample 7   versions 1-4   flexible 3+   # and may end a line\n"
      "\n"
      "request\n"
      "  name     string\n"
      "  topics   []Topic?    2+  ignorable\n"
      "    id     uuid        3+  tag 0\n"
      "    level  int8        = -1\n"
      "\n"
      "response\n"
      "  error_code  error\n");
  for (const Problem& problem : compiled.problems) UNSCOPED_INFO(problem.line << ": " << problem.text);
  REQUIRE(compiled.problems.empty());
  CHECK(compiled.schema.notes == std::vector<std::string>{" Notes open the file."});
  CHECK(compiled.schema.key == 7);
  REQUIRE(compiled.schema.messages.size() == 2);
  const Message& request = compiled.schema.messages[0];
  CHECK(request.body.name == "SampleRequest");
  CHECK(request.versions == VersionRange{1, 4});
  CHECK(request.flexible == VersionRange{3, VersionRange::kOpen});
  const Field& topics = request.body.fields.at(1);
  CHECK(topics.versions == VersionRange{2, 4});
  CHECK(topics.nullable_versions == VersionRange{2, 4});
  CHECK(topics.ignorable);
  REQUIRE(topics.structure != nullptr);
  CHECK(topics.structure->full_name == "SampleRequest::Topic");
  // A field without versions has those of what it belongs to.
  CHECK(topics.structure->fields.at(1).versions == VersionRange{2, 4});
  CHECK(topics.structure->fields.at(0).tag == 0);
}

TEST_CASE("the smallest encoding is known for each version", "[schema]") {
  const Compiled compiled =
      compile(with_request("  items  []Item\n"
                           "    name    string\n"
                           "    blob    bytes     1+\n"
                           "    id      uuid      4+\n"
                           "    extra   int64     3+  tag 0\n"
                           "    inner   Inner?    2+\n"
                           "      a     int32\n"));
  REQUIRE(compiled.problems.empty());
  const Message& request = compiled.schema.messages[0];
  const Struct& item = *first_field(compiled).structure;
  CHECK(min_size(item, request, 0) == 2);
  CHECK(min_size(item, request, 1) == 2 + 4);
  CHECK(min_size(item, request, 2) == 1 + 1 + 1 + 1);
  CHECK(min_size(item, request, 3) == 4);
  CHECK(min_size(item, request, 4) == 4 + 16);
}

TEST_CASE("C++ types and defaults follow the schema's", "[schema]") {
  const auto code = [](const std::string& field) {
    const Compiled compiled = compile(with_request("  " + field + "\n"));
    for (const Problem& problem : compiled.problems) UNSCOPED_INFO(problem.line << ": " << problem.text);
    REQUIRE(compiled.problems.empty());
    return cpp_type(first_field(compiled)) + initializer(first_field(compiled)) + " / " +
           default_code(first_field(compiled));
  };
  CHECK(code("a int32 = -1") == "int32_t = -1 / -1");
  CHECK(code("a int32 = -2147483648") ==
        "int32_t = std::numeric_limits<int32_t>::min() / std::numeric_limits<int32_t>::min()");
  CHECK(code("a bool = true") == "bool = true / true");
  CHECK(code("a float64") == "double = 0 / 0");
  CHECK(code("a error") == "ErrorCode = ErrorCode::kNone / ErrorCode::kNone");
  CHECK(code("a string? = null") == "std::optional<std::string_view> / std::nullopt");
  CHECK(code("a string?") == "std::optional<std::string_view> = std::string_view{} / std::string_view()");
  CHECK(code("a []int32?") == "std::optional<Array<int32_t>> = Array<int32_t>{} / kEmpty");
  CHECK(code("a records?") == "Records / std::nullopt");
  CHECK(code("a uuid") == "Uuid / kEmpty");
}

TEST_CASE("a struct may be declared once and used several times", "[schema]") {
  const Compiled compiled =
      compile(with_request("  struct Place\n"
                           "    host  string\n"
                           "  here   Place\n"
                           "  there  []Place\n"));
  REQUIRE(compiled.problems.empty());
  const Struct& body = compiled.schema.messages[0].body;
  CHECK(body.fields.at(0).structure == body.fields.at(1).structure);
}

TEST_CASE("a record file has sections of its own versions", "[schema]") {
  const Compiled compiled = compile(
      "record Sample 3\nkey  versions 0  flexible none\n  group string\nvalue  versions 0-4  flexible 4+\n  "
      "a int32\n",
      "sample.record");
  REQUIRE(compiled.problems.empty());
  CHECK(compiled.schema.messages.at(0).body.name == "SampleKey");
  CHECK_FALSE(compiled.schema.messages[0].flexible);
  CHECK(compiled.schema.messages.at(1).versions == VersionRange{0, 4});
  CHECK(file_stem(compiled.schema) == "sample_record");
}

TEST_CASE("a line that can't be read is refused with its number", "[schema]") {
  expect_problem("", 1, "begin with 'api");
  expect_problem("service Sample 7\n", 1, "not 'service'");
  expect_problem("api\n", 1, "a name must follow");
  expect_problem("api Sample x  versions 0\n", 1, "'x' is no key");
  expect_problem("api Sample 7\n", 1, "add 'versions FIRST-LAST'");
  expect_problem("api Sample 7  versions one\n", 1, "'one' is no range");
  expect_problem("api Sample 7  version 1\n", 1, "unknown word 'version'");
  expect_problem("api Sample 7  versions 1\n  a int32\n", 2, "outside of a section");
  expect_problem("api Sample 7  versions 1\nquestion\n  a int32\n", 2, "unknown section 'question'");
  expect_problem("api Sample 7  versions 1\nrequest\n\ta int32\n", 3, "a tab");
  expect_problem(with_request("  a int32\n    b int32\n c int32\n"), 5, "indented by 1");
  expect_field_problem("a", "the type of 'a' is missing");
  expect_field_problem("a int32 ignoreable", "is it 'ignorable'?");
  expect_field_problem("a int32 2+ 3+", "a second range");
  expect_field_problem("a int32 2x", "'2x' is no range");
  expect_field_problem("a int32 tag one", "'one' is no tag");
  expect_field_problem("a int32 =", "a value must follow '='");
  expect_field_problem("struct", "write 'struct NAME'");
}

TEST_CASE("what makes no sense is refused with what to do", "[schema]") {
  expect_field_problem("a int31", "is it 'int32'?");
  expect_field_problem("a Topic", "unknown type 'Topic'");
  expect_field_problem("TopicName string", "snake_case");
  expect_field_problem("default int32", "a word of C++");
  expect_field_problem("a int32?", "has no null");
  expect_field_problem("a int32 = x", "no value of type int32");
  expect_field_problem("a int8 = 128", "no value of type int8");
  expect_field_problem("a uint16 = -1", "no value of type uint16");
  expect_field_problem("a []int32 = 1", "no value of type []int32");
  expect_field_problem("a string = null", "add '?'");
  expect_field_problem("a int32 5+", "run backwards");
  expect_field_problem("a int32 0-5", "go beyond 0-4");
  expect_field_problem("a string 2+ nullable 1+", "nullable in versions 1-4 but present in 2-4");
  expect_field_problem("a string 2+ nullable 2+", "write 'string?'");
  expect_field_problem("a int32 ignorable", "remove it");
  expect_field_problem("a int32 tag 0", "flexible versions only");
  expect_field_problem("a int32 2+ tag 1", "count from 0");
  expect_field_problem("a []records", "write 'records'");
  expect_problem(with_request("  a int32 2+ tag 0\n  b int32 2+ tag 0\n"), 4, "taken by line 3");
  expect_problem(with_request("  a int32\n  a int64\n"), 4, "a second field 'a'");
  expect_problem(with_request("  a []T\n    x int32\n  b []T\n    y int32\n"), 5, "a second struct 'T'");
  expect_problem(with_request("  a []Bytes\n    x int32\n"), 3, "is taken");
  expect_problem(with_request("  a int32\n    x int32\n"), 3, "remove the indent");
  expect_problem(with_request("  struct T\n    x int32\n"), 3, "never used");
  expect_problem(with_request("  a []T 3+\n    x int32 2+\n"), 4, "go beyond 3-4");
}

TEST_CASE("a file must fit its declaration", "[schema]") {
  expect_problem(with_request("  a int32\n"), 1, "belongs into a file sample.api", "schema/other.api");
  expect_problem("api Sample 7  versions 0\nrequest\n  a int32\n", 1, "response is missing");
  expect_problem("api Sample  versions 0\nrequest\n  a int32\nresponse\n", 1, "the key is missing");
  expect_problem("api Sample 7  versions 0+\nrequest\n  a int32\nresponse\n", 2, "have no end");
  expect_problem("api Sample 7  versions 0-2  flexible 3+\nrequest\n  a int32\nresponse\n", 2,
                 "'flexible none'");
  expect_problem("api Sample 7  versions 0-2  flexible 1-2\nrequest\n  a int32\nresponse\n", 2, "stays so");
  expect_problem("api Sample 7  versions 3-2\nrequest\n  a int32\nresponse\n", 2, "run backwards");
  expect_problem(with_request("  a int32\n") + "request\n", 6, "a second section");
}

TEST_CASE("two APIs can't have one key", "[schema]") {
  std::vector<Schema> schemas;
  schemas.push_back(compile(with_request("  a int32\n")).schema);
  CHECK(check_together(schemas).empty());
  schemas.push_back(compile(with_request("  a int32\n")).schema);
  schemas[1].file = "other.api";
  const auto problems = check_together(schemas);
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].file == "other.api");
  CHECK_THAT(problems[0].problem.text, Catch::Contains("schema/sample.api"));
}

TEST_CASE("names change their spelling", "[schema]") {
  CHECK(snake_case("ListOffsets") == "list_offsets");
  CHECK(pascal_case("list_offsets") == "ListOffsets");
  CHECK(camel_case("throttle_time_ms") == "throttleTimeMs");
  CHECK(is_snake_case("topic_id"));
  CHECK_FALSE(is_snake_case("topicId"));
  CHECK_FALSE(is_snake_case("_topic"));
  CHECK(nearest("strng", {"string", "bytes"}) == "string");
  CHECK(nearest("zebra", {"string", "bytes"}).empty());
}
