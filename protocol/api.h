// The APIs that the schema describes: keys, names and version ranges. Which of them a broker serves is the
// broker's own table.
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/field.h"

namespace millrace::protocol {

// Kafka's API keys: kProduce = 0, kFetch = 1 and so on; generated from protocol/schema/*.api.
enum class ApiKey : int16_t;

struct ApiInfo {
  ApiKey key;
  std::string_view name;
  int16_t min_version;
  int16_t max_version;
  // kNeverFlexible where no version is.
  int16_t first_flexible;

  constexpr bool has_version(int16_t version) const {
    return min_version <= version && version <= max_version;
  }
  constexpr bool is_flexible(int16_t version) const { return version >= first_flexible; }
};

}  // namespace millrace::protocol

// Defines ApiKey's values and kApis, an array of ApiInfo in order of their keys.
#include "protocol/messages/api_table.h"

namespace millrace::protocol {

// The description of an API, null for a key without one.
constexpr const ApiInfo* find_api(ApiKey key) {
  for (const ApiInfo& api : kApis) {
    if (api.key == key) return &api;
  }
  return nullptr;
}

// Its name as in the protocol guide, e.g. "ListOffsets"; "unknown" for a key without description.
constexpr std::string_view api_name(ApiKey key) {
  const ApiInfo* api = find_api(key);
  return api != nullptr ? api->name : "unknown";
}

}  // namespace millrace::protocol
