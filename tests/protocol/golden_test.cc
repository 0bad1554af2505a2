// Every message that the schema describes, in every version, against Apache Kafka's own encoder: its bytes
// must decode, encode again to the same bytes, and print as what Kafka prints.
#include <catch2/catch.hpp>
#include <cstdio>
#include <set>
#include <string>
#include <tuple>

#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/messages/all.h"
#include "protocol/writer.h"
#include "tests/protocol/golden/canonical_json.h"
#include "tests/protocol/golden/golden_file.h"

using namespace millrace;
using namespace millrace::protocol;
using millrace::test::CanonicalJson;
using millrace::test::golden_messages;
using millrace::test::GoldenMessage;

namespace {

ApiKey key_of(const std::string& name) {
  for (const ApiInfo& api : kApis) {
    if (api.name == name) return api.key;
  }
  FAIL("no schema describes " << name << "; run tests/protocol/golden/check --update");
  return {};
}

// Calls f.operator()<Message>() with the message's type; not for headers.
template <class F>
void with_message(const GoldenMessage& golden, F f) {
  if (golden.kind == "record") {
    REQUIRE(with_record(golden.name, f));
    return;
  }
  const bool is_request = golden.kind == "request";
  auto either = [&]<class Request, class Response>() {
    is_request ? f.template operator()<Request>() : f.template operator()<Response>();
  };
  REQUIRE(with_api(key_of(golden.name), either));
}

bool is_header(const GoldenMessage& golden) { return golden.kind.ends_with("_header"); }

// Outside of with_message's lambda, where Catch's macros would be instantiated for every message.
void check_round_trip(const GoldenMessage& golden, const Result<>& encoded, Bytes bytes,
                      const std::string& json) {
  INFO(golden.name << " " << golden.kind << " version " << golden.version);
  INFO((encoded ? "" : encoded.error().message));
  REQUIRE(encoded);
  CHECK(Buffer(bytes.begin(), bytes.end()) == golden.bytes);
  CHECK(CanonicalJson::of(json) == CanonicalJson::of(golden.json));
}

void check_failed(const GoldenMessage& golden, const Error& error) {
  FAIL_CHECK(golden.name << " " << golden.kind << " version " << golden.version << ": " << error.message);
}

}  // namespace

TEST_CASE("every message round-trips Kafka's bytes and prints as Kafka prints it", "[golden]") {
  std::set<std::tuple<std::string, std::string, int>> seen;
  for (const GoldenMessage& golden : golden_messages()) {
    if (is_header(golden)) continue;
    seen.emplace(golden.name, golden.kind, golden.version);
    auto round_trip = [&]<class Message>() {
      Arena arena(Arena::limit_for_frame(golden.bytes.size()));
      const auto message = decode<Message>(golden.bytes, golden.version, arena);
      if (!message) return check_failed(golden, message.error());
      Writer writer;
      const auto encoded = encode(*message, golden.version, writer);
      check_round_trip(golden, encoded, writer.written(), to_json(*message, golden.version));
    };
    with_message(golden, round_trip);
  }
  std::printf("golden: %zu messages x versions, %zu instances\n", seen.size(), golden_messages().size());
}

TEST_CASE("the golden messages cover the whole schema", "[golden]") {
  std::set<std::tuple<std::string, std::string, int>> seen;
  for (const GoldenMessage& golden : golden_messages())
    seen.emplace(golden.name, golden.kind, golden.version);
  for (const ApiInfo& api : kApis) {
    for (int version = api.min_version; version <= api.max_version; ++version) {
      for (const char* kind : {"request", "response", "request_header", "response_header"}) {
        INFO(api.name << " " << kind << " " << version << ": run tests/protocol/golden/check --update");
        CHECK(seen.contains({std::string(api.name), kind, version}));
      }
    }
  }
}

TEST_CASE("headers are Kafka's", "[golden]") {
  for (const GoldenMessage& golden : golden_messages()) {
    if (!is_header(golden)) continue;
    INFO(golden.name << " " << golden.kind << " version " << golden.version);
    const ApiKey key = key_of(golden.name);
    Bytes body;
    Writer writer;
    std::string correlation_id;
    if (golden.kind == "request_header") {
      const auto header = decode_request_header(golden.bytes, body);
      REQUIRE(header);
      CHECK(header->api_key == key);
      CHECK(header->api_version == golden.version);
      CHECK((golden.json.find("\"clientId\":null") != std::string::npos) == !header->client_id);
      REQUIRE(encode(*header, writer));
      correlation_id = std::to_string(header->correlation_id);
    } else {
      const auto header = decode_response_header(golden.bytes, key, golden.version, body);
      REQUIRE(header);
      encode(*header, key, golden.version, writer);
      correlation_id = std::to_string(header->correlation_id);
    }
    CHECK(body.empty());
    CHECK(writer.take() == golden.bytes);
    CHECK(golden.json.find("\"correlationId\":" + correlation_id) != std::string::npos);
  }
}

TEST_CASE("a message cut off at any byte is refused; only a request may have more behind it", "[golden]") {
  for (const GoldenMessage& golden : golden_messages()) {
    if (is_header(golden)) continue;
    size_t accepted = 0;
    ErrorCode longer = ErrorCode::kNone;
    auto cut = [&]<class Message>() {
      for (size_t size = 0; size < golden.bytes.size(); ++size) {
        // A copy of the exact size, so that a read beyond it is seen by the address sanitizer.
        const Buffer part(golden.bytes.begin(), golden.bytes.begin() + static_cast<ptrdiff_t>(size));
        Arena arena(Arena::limit_for_frame(size));
        if (decode<Message>(part, golden.version, arena)) ++accepted;
      }
      Buffer more = golden.bytes;
      more.push_back(std::byte{0});
      Arena arena;
      const auto decoded = decode<Message>(more, golden.version, arena);
      if (!decoded) longer = decoded.error().code;
    };
    with_message(golden, cut);
    INFO(golden.name << " " << golden.kind << " version " << golden.version);
    CHECK(accepted == 0);
    CHECK(longer == (golden.kind == "request" ? ErrorCode::kNone : ErrorCode::kInvalidRequest));
  }
}
