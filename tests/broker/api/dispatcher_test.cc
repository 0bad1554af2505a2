#include "broker/api/dispatcher.h"

#include <catch2/catch.hpp>

#include "broker/api/api_table.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/metadata.h"
#include "tests/broker/api/test_broker.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

TEST_CASE("ApiVersions names exactly what the table serves", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  ApiVersionsRequest request;
  request.client_software_name = "test";
  request.client_software_version = "1";
  for (int16_t version = 0; version <= 4; ++version) {
    const auto response = client.call<ApiVersionsResponse>(request, version);
    CHECK(response.error_code == ErrorCode::kNone);
    REQUIRE(response.api_keys.size() == api_table().size());
    for (size_t i = 0; i < api_table().size(); ++i) {
      CHECK(response.api_keys[i].api_key == static_cast<int16_t>(api_table()[i].key));
      CHECK(response.api_keys[i].max_version == api_table()[i].max_version);
    }
  }
}

TEST_CASE("an unknown version of ApiVersions is answered in version 0, with the range", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  // A header of version 2 with a body that nobody can know.
  const unsigned char frame[] = {0, 18, 0x7f, 0xff, 0, 0, 0, 42, 0xff, 0xff, 0, 1, 2, 3};
  client.send_frame(std::as_bytes(std::span(frame)));
  const auto response = client.receive<ApiVersionsResponse>(ApiKey::kApiVersions, 0);
  CHECK(client.received_id() == 42);
  CHECK(response.error_code == ErrorCode::kUnsupportedVersion);
  REQUIRE(response.api_keys.size() == 1);
  CHECK(response.api_keys[0].api_key == 18);
}

TEST_CASE("a key, a version or a body that can't be served closes the connection, and only that", "[api]") {
  TestBroker broker;
  TestClient bystander(broker.port());
  const std::vector<std::vector<unsigned char>> frames = {
      {0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff},   // no such API
      {0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0},  // Metadata version 99
      {0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0},   // Produce version 2: advertised for librdkafka, not served
      {0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff},  // two thousand million topics
      {0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff},                          // a client id beyond the end
  };
  for (const auto& frame : frames) {
    TestClient client(broker.port());
    client.send_frame(std::as_bytes(std::span(frame)));
    CHECK_FALSE(client.receive_frame());
  }
  MetadataRequest all;
  all.topics = std::nullopt;
  CHECK(bystander.call<MetadataResponse>(all, 9).brokers.size() == 1);
}
