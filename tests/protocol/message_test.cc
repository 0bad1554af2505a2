#include <catch2/catch.hpp>

#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/produce.h"
#include "protocol/writer.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

Buffer bytes_of(std::initializer_list<int> values) {
  Buffer buffer;
  for (int value : values) buffer.push_back(static_cast<std::byte>(value));
  return buffer;
}

template <class Message>
Buffer encoded(const Message& message, int16_t version) {
  Writer writer;
  REQUIRE(encode(message, version, writer));
  return writer.take();
}

}  // namespace

TEST_CASE("a request is written byte for byte as the protocol guide says", "[message]") {
  ApiVersionsRequest request{.client_software_name = "ab", .client_software_version = "1"};
  CHECK(encoded(request, 0).empty());
  CHECK(encoded(request, 3) == bytes_of({3, 'a', 'b', 2, '1', 0}));
}

TEST_CASE("a value that the version can't carry is refused, unless it may be dropped", "[message]") {
  Writer writer;
  FetchRequest request;
  CHECK(encode(request, 4, writer));
  const size_t before = writer.size();
  request.rack_id = "a rack";
  CHECK(encode(request, 4, writer));
  request.forgotten_topics_data = {};
  std::vector<FetchRequest::ForgottenTopic> forgotten(1);
  request.forgotten_topics_data = forgotten;
  const auto refused = encode(request, 4, writer);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kUnsupportedVersion);
  CHECK(refused.error().message.find("forgottenTopicsData") != std::string::npos);
  CHECK(writer.size() == 2 * before);
  CHECK(encode(request, 7, writer));
}

TEST_CASE("null is refused where the version doesn't know it", "[message]") {
  Writer writer;
  MetadataRequest request{.topics = std::nullopt};
  CHECK(encode(request, 1, writer));
  CHECK_FALSE(encode(request, 0, writer));
}

TEST_CASE("a version outside of the schema is refused both ways", "[message]") {
  Writer writer;
  Arena arena;
  CHECK(encode(ProduceRequest{}, 2, writer).error().code == ErrorCode::kUnsupportedVersion);
  CHECK(encode(ProduceRequest{}, 14, writer).error().code == ErrorCode::kUnsupportedVersion);
  CHECK(decode<ProduceRequest>({}, -1, arena).error().code == ErrorCode::kUnsupportedVersion);
}

TEST_CASE("records in a file leave a splice where they belong", "[message]") {
  std::vector<FetchResponse::Topic::Partition> partitions(2);
  partitions[0].records = Records::in_file(300, 7);
  partitions[1].records = Records::of(as_bytes("xyz"));
  std::vector<FetchResponse::Topic> topics(1);
  topics[0].partitions = partitions;
  for (int16_t version : {int16_t{4}, int16_t{17}}) {
    Writer writer;
    REQUIRE(encode(FetchResponse{.responses = topics}, version, writer));
    REQUIRE(writer.splices().size() == 1);
    const Splice splice = writer.splices()[0];
    CHECK(splice.size == 300);
    CHECK(splice.id == 7);
    Buffer whole = writer.take();
    whole.insert(whole.begin() + static_cast<ptrdiff_t>(splice.at), 300, std::byte{'r'});
    Arena arena;
    const auto decoded = decode<FetchResponse>(whole, version, arena);
    REQUIRE(decoded);
    CHECK(decoded->responses[0].partitions[0].records.size() == 300);
    CHECK(as_text(*decoded->responses[0].partitions[1].records.bytes) == "xyz");
  }
}

TEST_CASE("headers follow the API's version; ApiVersions' response has the oldest", "[header]") {
  Writer writer;
  encode(ResponseHeader{.correlation_id = 1}, ApiKey::kApiVersions, 3, writer);
  CHECK(writer.size() == 4);
  encode(ResponseHeader{.correlation_id = 1}, ApiKey::kMetadata, 9, writer);
  CHECK(writer.size() == 9);

  const RequestHeader header{
      .api_key = ApiKey::kMetadata, .api_version = 9, .correlation_id = 5, .client_id = "me"};
  Writer request;
  REQUIRE(encode(header, request));
  CHECK(request.written().size() == 13);
  Bytes body;
  const auto decoded = decode_request_header(request.written(), body);
  REQUIRE(decoded);
  CHECK(decoded->client_id == "me");
  CHECK(decoded->correlation_id == 5);
  CHECK(body.empty());
  for (size_t size = 0; size < request.written().size(); ++size) {
    CHECK_FALSE(decode_request_header(request.written().first(size), body));
  }
}
