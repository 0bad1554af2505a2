#include "broker/config_value.h"

#include <fmt/format.h>

#include <charconv>
#include <span>

namespace millrace::broker {
namespace {

using metadata::Setting;
using metadata::Unit;

struct Suffix {
  std::string_view name;
  int64_t factor;
};

// The last one of a size that divides a value is the one that people read.
constexpr Suffix kBytes[] = {
    {"B", 1},         {"KB", 1000},     {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000},
    {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},  {"TiB", 1LL << 40},
};
constexpr Suffix kTimes[] = {
    {"ms", 1},        {"s", 1000},       {"min", 60'000},    {"m", 60'000},
    {"h", 3'600'000}, {"d", 86'400'000}, {"w", 604'800'000},
};

std::span<const Suffix> suffixes(Unit unit) {
  if (unit == Unit::kNone) return {};
  return unit == Unit::kBytes ? std::span<const Suffix>(kBytes) : std::span<const Suffix>(kTimes);
}

// The unit of the setting's raw number, in the smallest one (bytes, ms).
int64_t own_factor(Unit unit) {
  if (unit == Unit::kMinutes) return 60'000;
  if (unit == Unit::kHours) return 3'600'000;
  return 1;
}

std::string suffix_list(Unit unit) {
  std::string text;
  for (const Suffix& suffix : suffixes(unit))
    text += fmt::format("{}{}", text.empty() ? "" : ", ", suffix.name);
  return text;
}

std::unexpected<Error> bad(std::string why) { return fail(ErrorCode::kInvalidConfig, std::move(why)); }

}  // namespace

Result<std::string> plain_value(const Setting& setting, std::string_view text) {
  text = metadata::trim(text);
  if (setting.unit == Unit::kNone) return std::string(text);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest = metadata::trim(text.substr(static_cast<size_t>(end - text.data())));
  // Without digits, or without more than digits, Kafka's own check has the right words.
  if (error == std::errc::invalid_argument || rest.empty()) return std::string(text);
  for (const Suffix& suffix : suffixes(setting.unit)) {
    if (suffix.name != rest) continue;
    int64_t small = 0;
    if (error != std::errc() || __builtin_mul_overflow(number, suffix.factor, &small))
      return bad("it is too large");
    if (small % own_factor(setting.unit) != 0) {
      return bad(
          fmt::format("it is not a whole number of {}", setting.unit == Unit::kHours ? "hours" : "minutes"));
    }
    return fmt::format("{}", small / own_factor(setting.unit));
  }
  return bad(fmt::format("'{}' is no unit; units are {}", rest, suffix_list(setting.unit)));
}

std::string readable_value(const Setting& setting, std::string_view value) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number <= 0) return std::string(value);
  int64_t small = 0;
  if (__builtin_mul_overflow(number, own_factor(setting.unit), &small)) return std::string(value);
  const Suffix* best = nullptr;
  for (const Suffix& suffix : suffixes(setting.unit)) {
    const bool decimal_bytes =
        setting.unit == Unit::kBytes && suffix.name.find('i') == std::string_view::npos;
    if (decimal_bytes || suffix.name == "min" || suffix.name == "w") continue;
    if (small % suffix.factor == 0) best = &suffix;
  }
  return best == nullptr ? std::string(value) : fmt::format("{}{}", small / best->factor, best->name);
}

Result<std::string> checked_value(const Setting& setting, std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    std::string message = fmt::format("{}: '{}' is not allowed: {}", setting.name, text, why);
    if (setting.check == nullptr) message += fmt::format(" (allowed: {}", allowed_values(setting));
    if (setting.check == nullptr && setting.unit != Unit::kNone) {
      message += fmt::format("; units: {}", suffix_list(setting.unit));
    }
    if (setting.check == nullptr) message += ")";
    return bad(std::move(message));
  };
  const Result<std::string> plain = plain_value(setting, text);
  if (!plain) return refuse(plain.error().message);
  if (const Result<> checked = check_value(setting, *plain); !checked) {
    const std::string marker = fmt::format("configuration {}: ", setting.name);
    const std::string& message = checked.error().message;
    const size_t at = message.find(marker);
    return refuse(at == std::string::npos ? message : message.substr(at + marker.size()));
  }
  return canonical_value(setting, *plain);
}

}  // namespace millrace::broker
