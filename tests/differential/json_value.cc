#include "tests/differential/json_value.h"

#include <array>
#include <cstdint>
#include <stdexcept>

namespace millrace::differential {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json value() {
    switch (peek()) {
      case '{':
        return object();
      case '[':
        return array();
      case '"':
        return Json::text(string());
      default:
        return scalar();
    }
  }

 private:
  char peek() const {
    if (text_.empty()) throw std::runtime_error("JSON ends early");
    return text_.front();
  }
  bool skip(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  Json object() {
    Json out = Json::object();
    skip('{');
    while (!skip('}')) {
      std::string name = string();
      if (!skip(':')) throw std::runtime_error("no colon after a member's name");
      out.add(std::move(name), value());
      skip(',');
    }
    return out;
  }

  Json array() {
    Json out = Json::array();
    skip('[');
    while (!skip(']')) {
      out.add(value());
      skip(',');
    }
    return out;
  }

  Json scalar() {
    const size_t size = std::min(text_.find_first_of(",]}"), text_.size());
    Json out{.scalar = std::string(text_.substr(0, size))};
    text_.remove_prefix(size);
    return out;
  }

  // Escapes stay as they are but for quote and backslash: both sides are printed by the same printer.
  std::string string() {
    if (!skip('"')) throw std::runtime_error("no string where one must be");
    std::string out;
    while (!skip('"')) {
      if (peek() == '\\' && text_.size() > 1 && (text_[1] == '"' || text_[1] == '\\')) text_.remove_prefix(1);
      out += peek();
      text_.remove_prefix(1);
    }
    return out;
  }

  std::string_view text_;
};

// What tells the elements of an array apart, by precedence.
constexpr std::array kIdentities = {"partitionIndex", "index",        "partition", "name",    "topic",
                                    "topicId",        "resourceName", "brokerId",  "nodeId",  "apiKey",
                                    "producerId",     "logDir",       "groupId",   "memberId"};

std::string identity_of(const Json& element) {
  for (const char* name : kIdentities) {
    for (const auto& [member, value] : element.members) {
      if (member != name || value.kind != Json::Kind::kScalar || value.scalar == "null") continue;
      // Resources of two types may have one name; synonyms of one name come from several sources.
      std::string identity = value.scalar;
      for (const auto& [other, qualifier] : element.members) {
        if (other == "resourceType" || other == "source") identity += "/" + qualifier.scalar;
      }
      return identity;
    }
  }
  return {};
}

void flatten(const Json& json, const std::string& path, bool ordered, Fields& out);

void flatten_array(const Json& json, const std::string& path, bool ordered, Fields& out) {
  std::map<std::string, int> seen;
  std::string order;
  for (size_t i = 0; i < json.members.size(); ++i) {
    const Json& element = json.members[i].second;
    std::string name = element.kind == Json::Kind::kObject ? identity_of(element) : std::string();
    if (name.empty()) name = "#" + std::to_string(i);
    if (const int times = ++seen[name]; times > 1) name += "#" + std::to_string(times);
    order += (i > 0 ? " " : "") + name;
    flatten(element, path + "[" + name + "]", ordered, out);
  }
  out[path + ".size"] = std::to_string(json.members.size());
  if (ordered) out[path + ".order"] = order;
}

void flatten(const Json& json, const std::string& path, bool ordered, Fields& out) {
  if (json.kind == Json::Kind::kScalar) {
    out[path] = json.is_text ? '"' + json.scalar + '"' : json.scalar;
  } else if (json.kind == Json::Kind::kArray) {
    flatten_array(json, path, ordered, out);
  } else {
    for (const auto& [name, value] : json.members)
      flatten(value, path.empty() ? name : path + "." + name, ordered, out);
  }
}

}  // namespace

Json* Json::find(std::string_view name) {
  for (auto& [member, value] : members) {
    if (member == name) return &value;
  }
  return nullptr;
}

Json parse_json(std::string_view text) { return Parser(text).value(); }

Fields fields_of(const Json& json, bool ordered) {
  Fields out;
  flatten(json, "", ordered, out);
  return out;
}

}  // namespace millrace::differential
