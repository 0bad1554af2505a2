// JSON as both brokers' answers are compared in: a tree to put things in order, then one line per field.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::differential {

struct Json {
  enum class Kind { kScalar, kObject, kArray };

  Kind kind = Kind::kScalar;
  // A scalar as it is spelled; texts without their quotes.
  std::string scalar;
  bool is_text = false;
  // Members of an object in their order; an array's elements have no names.
  std::vector<std::pair<std::string, Json>> members;

  static Json text(std::string value) { return {.scalar = std::move(value), .is_text = true}; }
  static Json number(int64_t value) { return {.scalar = std::to_string(value)}; }
  static Json object() { return {.kind = Kind::kObject}; }
  static Json array() { return {.kind = Kind::kArray}; }

  void add(std::string name, Json value) { members.emplace_back(std::move(name), std::move(value)); }
  void add(Json value) { members.emplace_back(std::string(), std::move(value)); }
  // Null without such a member.
  Json* find(std::string_view name);
};

// Reads what our printer writes; an assertion-like exception (std::runtime_error) for anything else.
Json parse_json(std::string_view text);

// Every field of an answer by its path, as "topics[a].partitions[0].errorCode". The elements of an array of
// objects are called by what identifies them (name, id, index), so that their order doesn't matter; `ordered`
// adds one field per array for it.
using Fields = std::map<std::string, std::string>;
Fields fields_of(const Json& json, bool ordered);

}  // namespace millrace::differential
