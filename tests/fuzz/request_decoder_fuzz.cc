// Any bytes as a request: the header, then the body of the API and version that it names. Whatever decodes
// must encode, and decode again to the same; printing must take whatever decodes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/messages/all.h"
#include "protocol/writer.h"

using namespace millrace;
using namespace millrace::protocol;

namespace {

// The driver reports an abort together with the input that led to it.
void require(bool holds) {
  if (!holds) std::abort();
}

template <class Request>
void decode_encode_decode(Bytes body, int16_t version) {
  Arena arena(Arena::limit_for_frame(body.size()));
  const auto first = decode<Request>(body, version, arena);
  require(arena.used() <= Arena::limit_for_frame(body.size()));
  if (!first) return;
  Writer once;
  require(encode(*first, version, once).has_value());
  Arena again;
  const auto second = decode<Request>(once.written(), version, again);
  require(second.has_value());
  Writer twice;
  require(encode(*second, version, twice).has_value());
  require(std::ranges::equal(once.written(), twice.written()));
  require(to_json(*first, version) == to_json(*second, version));
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
