#include "tools/client/connection.h"

#include "fake_broker.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::FakeBroker;

TEST_CASE("versions: the highest that both know") {
  FakeBroker broker;
  broker.serve_topic(1);
  const auto connection = Connection::open({"127.0.0.1", broker.port()}, broker.options());
  REQUIRE(connection);
  CHECK((*connection)->version_of(ApiKey::kMetadata) == 9);
  CHECK((*connection)->version_of(ApiKey::kMetadata, 4) == 4);
  const Result<int16_t> missing = (*connection)->version_of(ApiKey::kProduce);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message.find("doesn't have Produce") != std::string::npos);
}

TEST_CASE("a broker that knows older versions of ApiVersions only is asked again") {
  FakeBroker broker;
  std::vector<int16_t> asked;
  broker.on(ApiKey::kMetadata, 1, {});
  broker.on(ApiKey::kApiVersions, 1, [&](int16_t version, Bytes) {
    asked.push_back(version);
    return broker.versions(version);
  });
  const auto connection = Connection::open({"127.0.0.1", broker.port()}, broker.options());
  REQUIRE(connection);
  CHECK(asked == std::vector<int16_t>{protocol::find_api(ApiKey::kApiVersions)->max_version, 1});
  CHECK((*connection)->version_of(ApiKey::kMetadata) == 1);
}

TEST_CASE("ranges that don't meet are told apart") {
  FakeBroker broker;
  broker.serve_topic(1);
  broker.on(ApiKey::kProduce, 2, {});
  const auto connection = Connection::open({"127.0.0.1", broker.port()}, broker.options());
  REQUIRE(connection);
  const Result<int16_t> version = (*connection)->version_of(ApiKey::kProduce);
  REQUIRE_FALSE(version);
  CHECK(version.error().code == ErrorCode::kUnsupportedVersion);
  CHECK(version.error().message.find("Produce in versions 0 to 2, this program in 3 to 13") !=
        std::string::npos);
}

TEST_CASE("a broker that closes the connection is an error and no hang") {
  FakeBroker broker;
  broker.on(ApiKey::kApiVersions, 3, [](int16_t, Bytes) { return std::nullopt; });
  const auto connection = Connection::open({"127.0.0.1", broker.port()}, broker.options());
  REQUIRE_FALSE(connection);
  CHECK(connection.error().code == ErrorCode::kNetworkException);
}
