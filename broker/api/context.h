// One request while it is handled: where it came from, what the handler works on, what the answer needs
// besides the response itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/api/services.h"
#include "broker/net/request.h"
#include "protocol/api.h"
#include "protocol/arena.h"
#include "protocol/field.h"
#include "storage/file_system.h"

namespace millrace::api {

struct Context {
  Services& services;
  net::Request& request;
  // Owns the arrays and texts of request and response.
  Arena& arena;
  protocol::ApiKey api_key;
  int16_t version = 0;
  std::optional<std::string_view> client_id;

  // File slices of the response; Records::external_id is the place here.
  std::vector<storage::FileSlice> slices;
  // False: no response at all (Produce with acks=0).
  bool respond = true;
  // Not empty: the connection is closed for this reason, after the response if there is one.
  std::string close_reason;

  runtime::Shard& shard() const { return *request.shard; }
  ShardServices& here() const { return services.of(*request.shard); }
  const metadata::ImagePtr& image() const { return services.metadata.image(); }
  const metadata::BrokerConfig& config() const { return here().config; }
  int64_t now_ms() const { return request.shard->clock().now_ms(); }

  // In the middle of long work: lets the shard do what else is waiting.
  runtime::Task<> give_way() const { return shard().sleep_ms(0); }

  // For a handler that waits for long, or with many others, before it does: gives back the request's frame
  // and what the arena holds, whose place `kept` takes and stays charged as the frame was. Neither the
  // decoded request's texts and arrays nor client_id may be looked at any more.
  void release_request(Arena kept = Arena()) {
    client_id.reset();
    arena = std::move(kept);
    request.release_frame(static_cast<int64_t>(arena.used()));
  }

  // The text as the arena's own, for responses.
  std::string_view text(std::string_view text) const { return arena.copy(text); }
  std::optional<std::string_view> nullable(const std::optional<std::string>& text) const {
    if (!text) return std::nullopt;
    return arena.copy(*text);
  }
  // Null for an empty text, as error messages are. One that names what is as long as a string can be is cut
  // off, between two characters.
  std::optional<std::string_view> message(std::string_view text) const {
    if (text.empty()) return std::nullopt;
    constexpr size_t kMostBytesBehindFirst = 3;  // of a character in UTF-8
    const auto is_behind_first = [&](size_t at) { return (static_cast<uint8_t>(text[at]) & 0xc0) == 0x80; };
    size_t size = std::min<size_t>(text.size(), protocol::kMaxStringSize);
    for (size_t i = 0; i < kMostBytesBehindFirst && size < text.size() && is_behind_first(size); ++i) --size;
    return arena.copy(text.substr(0, size));
  }
};

// What authorized-operations fields say where nobody asked, or nobody decides (no authorizer): KIP-430.
constexpr int32_t kNoAuthorizedOperations = INT32_MIN;

}  // namespace millrace::api
