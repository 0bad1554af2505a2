#include "broker/metadata/setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace millrace::metadata {
namespace {

bool is_blank(char c) { return static_cast<unsigned char>(c) <= ' '; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view number_type(ConfigType type) {
  switch (type) {
    case ConfigType::kShort:
      return "SHORT";
    case ConfigType::kLong:
      return "LONG";
    case ConfigType::kDouble:
      return "DOUBLE";
    default:
      return "INT";
  }
}

Result<> invalid(const Setting& setting, std::string_view value, std::string_view why) {
  return fail(ErrorCode::kInvalidConfig,
              fmt::format("Invalid value {} for configuration {}: {}", value, setting.name, why));
}

std::optional<int64_t> read_integer(ConfigType type, std::string_view text) {
  text = trim(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (type == ConfigType::kInt && number != static_cast<int32_t>(number)) return std::nullopt;
  if (type == ConfigType::kShort && number != static_cast<int16_t>(number)) return std::nullopt;
  return number;
}

std::optional<double> read_double(std::string_view text) {
  text = trim(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(number)) return std::nullopt;
  return number;
}

// As Java prints a double that a person would write: 2 is "2.0", and what is very large "1.5E300".
std::string double_text(double number) {
  std::string text = fmt::format("{}", number);
  if (text.find('n') != std::string::npos) return text;
  const size_t exponent = text.find("e+");
  if (exponent != std::string::npos) text.replace(exponent, 2, "E");
  if (text.find_first_of(".e") == std::string::npos) text.insert(std::min(exponent, text.size()), ".0");
  return text;
}

std::string choices_text(const Setting& setting) {
  std::string text(setting.choices);
  for (size_t at = text.find(' '); at != std::string::npos; at = text.find(' ', at + 2))
    text.replace(at, 1, ", ");
  return text;
}

bool is_choice(const Setting& setting, std::string_view value) {
  std::string_view rest = setting.choices;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == value) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::string bound_text(double bound) { return fmt::format("{:.15g}", bound); }

Result<> check_bounds(const Setting& setting, double number, std::string_view shown) {
  const bool low = number < setting.min;
  const bool high = number > setting.max;
  if (!low && !high) return {};
  if (setting.exception) {
    if (number == static_cast<double>(*setting.exception)) return {};
    return invalid(setting, shown,
                   fmt::format("Value must be between {} and {} or equal to {}", bound_text(setting.min),
                               bound_text(setting.max), *setting.exception));
  }
  if (low) return invalid(setting, shown, "Value must be at least " + bound_text(setting.min));
  return invalid(setting, shown, "Value must be no more than " + bound_text(setting.max));
}

Result<> check_number(const Setting& setting, std::string_view value) {
  const std::string not_a_number = fmt::format("Not a number of type {}", number_type(setting.type));
  if (setting.type == ConfigType::kDouble) {
    const std::optional<double> number = read_double(value);
    if (!number) return invalid(setting, value, not_a_number);
    return check_bounds(setting, *number, double_text(*number));
  }
  const std::optional<int64_t> number = read_integer(setting.type, value);
  if (!number) return invalid(setting, value, not_a_number);
  return check_bounds(setting, static_cast<double>(*number), fmt::format("{}", *number));
}

Result<> check_text(const Setting& setting, std::string_view value) {
  if (setting.choices.empty()) return {};
  const std::string why = "String must be one of: " + choices_text(setting);
  if (setting.type != ConfigType::kList) {
    return is_choice(setting, trim(value)) ? Result<>{} : invalid(setting, trim(value), why);
  }
  for (const std::string& item : parse_list(value)) {
    if (!is_choice(setting, item)) return invalid(setting, item, why);
  }
  return {};
}

Result<> check_by_type(const Setting& setting, std::string_view value) {
  switch (setting.type) {
    case ConfigType::kBoolean: {
      const std::string small = lower(trim(value));
      if (small == "true" || small == "false") return {};
      return invalid(setting, value, "Expected value to be either true or false");
    }
    case ConfigType::kInt:
    case ConfigType::kShort:
    case ConfigType::kLong:
    case ConfigType::kDouble:
      return check_number(setting, value);
    default:
      return check_text(setting, value);
  }
}

}  // namespace

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

Result<> check_value(const Setting& setting, std::string_view value) {
  if (Result<> checked = check_by_type(setting, value); !checked) return checked;
  if (setting.check != nullptr) {
    if (const auto why = setting.check(setting.name, value)) {
      const bool list = setting.type == ConfigType::kList;
      return invalid(setting,
                     list ? fmt::format("[{}]", canonical_value(setting, value)) : std::string(value), *why);
    }
  }
  return {};
}

int64_t parse_integer(std::string_view value) { return read_integer(ConfigType::kLong, value).value_or(0); }

double parse_double(std::string_view value) { return read_double(value).value_or(0); }

bool parse_boolean(std::string_view value) { return lower(trim(value)) == "true"; }

std::vector<std::string> parse_list(std::string_view value) {
  std::vector<std::string> items;
  value = trim(value);
  if (value.empty()) return items;
  while (true) {
    const size_t comma = value.find(',');
    items.emplace_back(trim(value.substr(0, comma)));
    if (comma == std::string_view::npos) return items;
    value.remove_prefix(comma + 1);
  }
}

std::string canonical_value(const Setting& setting, std::string_view value) {
  switch (setting.type) {
    case ConfigType::kBoolean:
      return lower(trim(value));
    case ConfigType::kDouble:
      return double_text(parse_double(value));
    case ConfigType::kInt:
    case ConfigType::kShort:
    case ConfigType::kLong:
      return fmt::format("{}", parse_integer(value));
    case ConfigType::kList:
      return fmt::format("{}", fmt::join(parse_list(value), ","));
    default:
      return std::string(trim(value));
  }
}

const Setting* find_setting(std::span<const Setting> table, std::string_view name) {
  for (const Setting& setting : table) {
    if (setting.name == name || (!setting.alias.empty() && setting.alias == name)) return &setting;
  }
  return nullptr;
}

std::string_view type_name(ConfigType type) {
  switch (type) {
    case ConfigType::kBoolean:
      return "boolean";
    case ConfigType::kInt:
      return "int";
    case ConfigType::kShort:
      return "short";
    case ConfigType::kLong:
      return "long";
    case ConfigType::kDouble:
      return "double";
    case ConfigType::kList:
      return "list";
    case ConfigType::kClass:
      return "class";
    case ConfigType::kPassword:
      return "password";
    default:
      return "string";
  }
}

std::string allowed_values(const Setting& setting) {
  switch (setting.type) {
    case ConfigType::kBoolean:
      return "true or false";
    case ConfigType::kInt:
    case ConfigType::kShort:
    case ConfigType::kLong:
    case ConfigType::kDouble:
      break;
    case ConfigType::kList:
      return setting.choices.empty() ? "a list" : "a list of " + choices_text(setting);
    default:
      return setting.choices.empty() ? "a text" : "one of " + choices_text(setting);
  }
  std::string text = setting.type == ConfigType::kDouble ? "a number" : "a whole number";
  const bool has_min = std::isfinite(setting.min);
  const bool has_max = std::isfinite(setting.max);
  if (has_min && has_max) {
    text += fmt::format(" from {} to {}", bound_text(setting.min), bound_text(setting.max));
  } else if (has_min) {
    text += fmt::format(", at least {}", bound_text(setting.min));
  } else if (has_max) {
    text += fmt::format(", at most {}", bound_text(setting.max));
  }
  if (setting.exception) text += fmt::format(", or {}", *setting.exception);
  return text;
}

}  // namespace millrace::metadata
