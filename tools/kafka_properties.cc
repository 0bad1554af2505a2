#include "tools/kafka_properties.h"

#include <fmt/format.h>

#include <map>

namespace millrace::tools {
namespace {

// The properties by name, on top of their defaults; only known names.
Result<std::map<std::string, std::string>> overlay(std::map<std::string, std::string> values,
                                                   const std::vector<std::string>& properties) {
  for (const std::string& property : properties) {
    const size_t equals = property.find('=');
    const auto known = values.find(property.substr(0, equals));
    if (known == values.end() || equals == std::string::npos) {
      std::string names;
      for (const auto& [name, value] : values) names += (names.empty() ? "" : ", ") + name;
      return fail(ErrorCode::kInvalidRequest,
                  fmt::format("unknown property \"{}\"; there are {}", property, names));
    }
    known->second = property.substr(equals + 1);
  }
  return values;
}

// Literal text inside a format string.
std::string literal(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '%') out += '%';
    if (c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Result<ReaderProperties> reader_properties(const std::vector<std::string>& properties) {
  Result<std::map<std::string, std::string>> values =
      overlay({{"parse.key", "false"}, {"key.separator", "\t"}, {"null.marker", ""}}, properties);
  if (!values) return std::unexpected(values.error());
  return ReaderProperties{values->at("parse.key") == "true", values->at("key.separator"),
                          values->at("null.marker")};
}

Result<std::string> formatter_properties(const std::vector<std::string>& properties) {
  Result<std::map<std::string, std::string>> values = overlay({{"print.timestamp", "false"},
                                                               {"print.partition", "false"},
                                                               {"print.offset", "false"},
                                                               {"print.headers", "false"},
                                                               {"print.key", "false"},
                                                               {"print.value", "true"},
                                                               {"key.separator", "\t"},
                                                               {"line.separator", "\n"}},
                                                              properties);
  if (!values) return std::unexpected(values.error());
  std::string format;
  const auto add = [&](const char* name, const char* field) {
    if (values->at(name) == "true")
      format += (format.empty() ? "" : literal(values->at("key.separator"))) + field;
  };
  // Kafka's order and words.
  add("print.timestamp", "CreateTime:%T");
  add("print.partition", "Partition:%p");
  add("print.offset", "Offset:%o");
  add("print.headers", "%h");
  add("print.key", "%k");
  add("print.value", "%s");
  return format + literal(values->at("line.separator"));
}

}  // namespace millrace::tools
