// Any bytes as a request: the header, then the body of the API and version that it names. Whatever decodes
// must encode, and decode again to the same; printing must take whatever decodes.
#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/messages/all.h"
#include "protocol/writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/protocol/golden/golden_file.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

template <class Request>
void decode_encode_decode(Bytes body, int16_t version) {
  Arena arena(Arena::limit_for_frame(body.size()));
  const auto first = decode<Request>(body, version, arena);
  FUZZ_CHECK(arena.used() <= Arena::limit_for_frame(body.size()));
  if (!first) return;
  Writer once;
  FUZZ_CHECK(encode(*first, version, once).has_value());
  Arena again;
  const auto second = decode<Request>(once.written(), version, again);
  FUZZ_CHECK(second.has_value());
  Writer twice;
  FUZZ_CHECK(encode(*second, version, twice).has_value());
  FUZZ_CHECK(std::ranges::equal(once.written(), twice.written()));
  FUZZ_CHECK(to_json(*first, version) == to_json(*second, version));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes body;
  const auto header = decode_request_header(std::as_bytes(std::span(data, size)), body);
  if (!header) return 0;
  auto request = [&]<class Request, class Response>() {
    decode_encode_decode<Request>(body, header->api_version);
  };
  with_api(header->api_key, request);
  return 0;
}

// The longest golden request of each API and version, behind its header.
std::vector<Buffer> millrace::fuzz::seeds() {
  std::map<std::pair<std::string, int>, const test::GoldenMessage*> longest;
  for (const test::GoldenMessage& golden : test::golden_messages(MILLRACE_GOLDEN_MESSAGES)) {
    if (golden.kind != "request") continue;
    const test::GoldenMessage*& best = longest[{golden.name, golden.version}];
    if (best == nullptr || golden.bytes.size() > best->bytes.size()) best = &golden;
  }
  std::vector<Buffer> inputs;
  for (const auto& [name, golden] : longest) {
    for (const ApiInfo& api : kApis) {
      if (api.name != golden->name) continue;
      Writer writer;
      const RequestHeader header{.api_key = api.key, .api_version = golden->version, .client_id = "fuzz"};
      FUZZ_CHECK(encode(header, writer).has_value());
      writer.append(golden->bytes);
      inputs.push_back(writer.take());
    }
  }
  return inputs;
}
