#include "protocol/printer.h"

#include <catch2/catch.hpp>

#include "protocol/messages/fetch.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/offset_commit_record.h"
#include "protocol/messages/produce.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

std::string printed_topic(std::string_view name) {
  std::vector<MetadataRequest::Topic> topics(1);
  topics[0].name = name;
  return to_json(MetadataRequest{.topics = topics}, 1);
}

}  // namespace

TEST_CASE("a message prints the fields of its version", "[printer]") {
  CHECK(to_json(OffsetCommitValue{.offset = 5, .metadata = "m"}, 0) ==
        R"({"offset":5,"metadata":"m","commitTimestamp":0})");
  CHECK(to_json(OffsetCommitValue{.offset = 5, .leader_epoch = 2}, 4) ==
        R"({"offset":5,"leaderEpoch":2,"metadata":"","commitTimestamp":0})");
  CHECK(to_json(MetadataRequest{.topics = std::nullopt}, 1) == R"({"topics":null})");
}

TEST_CASE("text that JSON or UTF-8 can't carry is replaced", "[printer]") {
  CHECK(printed_topic("a\"\\\n\x01") == R"({"topics":[{"name":"a\"\\\u000a\u0001"}]})");
  CHECK(printed_topic("\xc3\xbc\xf0\x9f\x8c\x8a") ==
        "{\"topics\":[{\"name\":\"\xc3\xbc\xf0\x9f\x8c\x8a\"}]}");
  for (const char* bad : {"\xff", "\xc3", "\xc0", "\xf5"}) {
    CHECK(printed_topic(bad) == "{\"topics\":[{\"name\":\"\xef\xbf\xbd\"}]}");
  }
  // A surrogate and a longer spelling than needed: each byte of them is replaced.
  CHECK(printed_topic("\xed\xa0\x80") ==
        "{\"topics\":[{\"name\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}]}");
  CHECK(printed_topic("\xe0\x80\x80") ==
        "{\"topics\":[{\"name\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}]}");
}

TEST_CASE("records print as their size, wherever they are", "[printer]") {
  std::vector<ProduceRequest::Topic::Partition> partitions(3);
  partitions[1].records = Records::of(as_bytes("abc"));
  partitions[2].records = Records::in_file(700, 1);
  std::vector<ProduceRequest::Topic> topics(1);
  topics[0].partition_data = partitions;
  CHECK_THAT(to_json(ProduceRequest{.topic_data = topics}, 9),
             Catch::Contains(R"({"index":0,"records":null},{"index":0,"recordsSizeInBytes":3},)"
                             R"({"index":0,"recordsSizeInBytes":700})"));
}
