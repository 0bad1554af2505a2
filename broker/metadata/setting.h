// One row of a settings table (a topic's or the broker's), and the checks that every value passes, with
// Kafka's words for what is wrong. Parsing, validation, descriptions, --help and documentation all come from
// the row.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"

namespace millrace::metadata {

// Numbers as DescribeConfigs writes them on the wire.
enum class ConfigType : int8_t {
  kUnknown = 0,
  kBoolean = 1,
  kString = 2,
  kInt = 3,
  kShort = 4,
  kLong = 5,
  kDouble = 6,
  kList = 7,
  kClass = 8,
  kPassword = 9,
};

// What a number counts; decides which suffixes a configuration file may use ("512MiB", "7d").
enum class Unit : int8_t { kNone, kBytes, kMilliseconds, kMinutes, kHours };

// How a setting of the broker may change while it runs.
enum class Scope : int8_t {
  kReadOnly,   // at start only
  kPerBroker,  // also by AlterConfigs, for one broker
  kCluster,    // also by AlterConfigs, for one broker or as the default of all
};

constexpr int64_t kMaxLong = std::numeric_limits<int64_t>::max();
constexpr int64_t kMinLong = std::numeric_limits<int64_t>::min();

struct Setting {
  std::string_view name;
  ConfigType type = ConfigType::kString;
  // The value where nobody sets one, as text; nothing where Kafka has null.
  std::optional<std::string_view> default_value;
  std::string_view documentation;
  Unit unit = Unit::kNone;
  Scope scope = Scope::kReadOnly;
  // Inclusive bounds of a number.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  // A number outside the bounds that is allowed all the same (Kafka's "or -1").
  std::optional<int64_t> exception = std::nullopt;
  // The only texts allowed, separated by spaces (for a list: of each item); empty: any.
  std::string_view choices = {};
  // A check of its own on the whole text, after all others; returns what is wrong, or nothing.
  std::optional<std::string> (*check)(std::string_view name, std::string_view value) = nullptr;
  // A topic's setting: the broker settings that give its default, first one first.
  std::span<const std::string_view> broker_names = {};
  // Another name for the same setting.
  std::string_view alias = {};
  bool sensitive = false;
};

// Checks a value as Kafka does. Fails with kInvalidConfig and Kafka's message, e.g. "Invalid value x for
// configuration retention.ms: Not a number of type LONG".
Result<> check_value(const Setting& setting, std::string_view value);

// Readers of values that passed check_value. Surrounding blanks don't count.
int64_t parse_integer(std::string_view value);
double parse_double(std::string_view value);
bool parse_boolean(std::string_view value);
// Items between commas, without surrounding blanks; the empty text is the empty list.
std::vector<std::string> parse_list(std::string_view value);

// The value as DescribeConfigs shows it: trimmed, booleans in small letters, lists joined by commas alone.
std::string canonical_value(const Setting& setting, std::string_view value);

// The row of that name (or alias), or null.
const Setting* find_setting(std::span<const Setting> table, std::string_view name);

std::string_view trim(std::string_view text);

// "boolean", "int", "long" ...: for --help and documentation.
std::string_view type_name(ConfigType type);

// What the setting accepts, in words for a person: "a number from 1 to 9, or -1".
std::string allowed_values(const Setting& setting);

}  // namespace millrace::metadata
