#include "protocol/writer.h"

#include <catch2/catch.hpp>

#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/metadata.h"

using namespace millrace;
using namespace millrace::protocol;

TEST_CASE("a string is refused where its length doesn't fit", "[writer]") {
  const std::string longest(kMaxStringSize, 'x');
  const std::string longer(kMaxStringSize + 1, 'x');
  for (int16_t version : {int16_t{4}, int16_t{12}}) {
    std::vector<MetadataRequest::Topic> topics(1);
    Writer writer;
    topics[0].name = longest;
    CHECK(encode(MetadataRequest{.topics = topics}, version, writer));
    const size_t before = writer.size();
    topics[0].name = longer;
    const auto refused = encode(MetadataRequest{.topics = topics}, version, writer);
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().message, Catch::Contains("32767"));
    CHECK(writer.size() == before);
  }
}

TEST_CASE("a tagged field of any length stands behind its size", "[writer]") {
  // The size takes one byte, two, three: the value moves to make room.
  for (size_t size :
       {size_t{0}, size_t{1}, size_t{125}, size_t{126}, size_t{127}, size_t{16382}, size_t{20000}}) {
    const std::string cluster_id(size, 'c');
    Writer writer;
    REQUIRE(encode(FetchRequest{.cluster_id = cluster_id}, 12, writer));
    Arena arena;
    const auto decoded = decode<FetchRequest>(writer.written(), 12, arena);
    REQUIRE(decoded);
    CHECK(decoded->cluster_id == cluster_id);
  }
}

TEST_CASE("a tagged field at its default is not written", "[writer]") {
  Writer plain;
  REQUIRE(encode(FetchRequest{}, 17, plain));
  Writer tagged;
  REQUIRE(encode(FetchRequest{.replica_state = {.replica_id = 3}}, 17, tagged));
  CHECK(tagged.size() == plain.size() + 2 + 4 + 8 + 1);
}

TEST_CASE("a tagged field that a version lacks is refused unless at its default", "[writer]") {
  Writer writer;
  CHECK(encode(FetchRequest{.cluster_id = "ignorable"}, 4, writer));
  CHECK_FALSE(encode(FetchRequest{.replica_state = {.replica_id = 3}}, 14, writer));
  CHECK_FALSE(encode(FetchRequest{.replica_state = {.replica_id = 3}}, 4, writer));
}

TEST_CASE("a refused message leaves no splice behind", "[writer]") {
  std::vector<FetchResponse::Topic::Partition> partitions(2);
  partitions[0].records = Records::in_file(100, 1);
  std::vector<FetchResponse::Topic> topics(1);
  topics[0].partitions = partitions;
  Writer writer;
  REQUIRE(encode(FetchResponse{.responses = topics}, 4, writer));
  partitions[1].preferred_read_replica = 5;
  CHECK_FALSE(encode(FetchResponse{.responses = topics}, 4, writer));
  CHECK(writer.splices().size() == 1);
  CHECK(writer.size_with_splices() == writer.size() + 100);
}

TEST_CASE("splices belong to what was last written", "[writer]") {
  std::vector<FetchResponse::Topic::Partition> partitions(1);
  partitions[0].records = Records::in_file(100, 1);
  std::vector<FetchResponse::Topic> topics(1);
  topics[0].partitions = partitions;
  Writer writer;
  REQUIRE(encode(FetchResponse{.responses = topics}, 4, writer));
  writer.take();
  CHECK(writer.splices().size() == 1);
  encode(ResponseHeader{.correlation_id = 1}, ApiKey::kMetadata, 1, writer);
  REQUIRE(encode(MetadataResponse{}, 1, writer));
  CHECK(writer.splices().empty());
}

TEST_CASE("a cleared writer writes as a new one, in the memory that it has", "[writer]") {
  std::vector<FetchResponse::Topic::Partition> partitions(1);
  partitions[0].records = Records::in_file(100, 1);
  std::vector<FetchResponse::Topic> topics(1);
  topics[0].partitions = partitions;
  Writer writer(0);
  REQUIRE(encode(FetchResponse{.responses = topics}, 4, writer));
  const size_t capacity = writer.capacity_bytes();
  writer.clear();
  CHECK(writer.size() == 0);
  CHECK(writer.size_with_splices() == 0);
  CHECK(writer.capacity_bytes() == capacity);
  REQUIRE(encode(MetadataResponse{}, 1, writer));
  Writer fresh;
  REQUIRE(encode(MetadataResponse{}, 1, fresh));
  CHECK(as_text(writer.written()) == as_text(fresh.written()));
  CHECK(writer.splices().empty());
}

TEST_CASE("a number already written can be put right", "[writer]") {
  Writer writer(0);
  writer.integer(int32_t{0});
  writer.integer(int16_t{-2});
  writer.patch_int32(0, 0x01020304);
  const Buffer bytes = writer.take();
  REQUIRE(bytes.size() == 6);
  CHECK(bytes[0] == std::byte{1});
  CHECK(bytes[3] == std::byte{4});
  CHECK(bytes[5] == std::byte{0xfe});
  CHECK(writer.size() == 0);
}
