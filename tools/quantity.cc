#include "tools/quantity.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>

namespace millrace::tools {
namespace {

// Takes a decimal number from the front of the text.
std::optional<double> take_number(std::string_view& text) {
  double number = 0;
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) == 0) return std::nullopt;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

// Takes letters from the front of the text.
std::string_view take_letters(std::string_view& text) {
  size_t size = 0;
  while (size < text.size() && std::isalpha(static_cast<unsigned char>(text[size])) != 0) ++size;
  const std::string_view letters = text.substr(0, size);
  text.remove_prefix(size);
  return letters;
}

std::optional<double> unit_ms(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit == "s") return 1000;
  if (unit == "m" || unit == "min") return 60'000;
  if (unit == "h") return 3'600'000;
  if (unit == "d") return 86'400'000;
  if (unit == "w") return 604'800'000;
  return std::nullopt;
}

// Far below where a double can't tell milliseconds apart, far above any use.
constexpr double kLargest = 9e15;

}  // namespace

std::optional<int64_t> parse_size(std::string_view text) {
  std::optional<double> number = take_number(text);
  if (!number) return std::nullopt;
  std::string unit;
  for (const char c : text) unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kUnits = "kmgt";
  if (!unit.empty() && unit != "b") {
    const size_t power = kUnits.find(unit[0]);
    const std::string_view rest = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || !(rest.empty() || rest == "b" || rest == "ib"))
      return std::nullopt;
    for (size_t i = 0; i <= power; ++i) *number *= 1024;
  }
  if (*number > kLargest) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    const std::optional<double> number = take_number(text);
    if (!number) return std::nullopt;
    const std::optional<double> unit = unit_ms(take_letters(text));
    if (!unit) return std::nullopt;
    total += *number * *unit;
  }
  if (total > kLargest) return std::nullopt;
  return static_cast<int64_t>(total);
}

std::string format_size(double bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string format_count(int64_t count) {
  std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string format_duration(int64_t duration_ms) {
  if (duration_ms < 1000) return fmt::format("{}ms", duration_ms);
  const int64_t seconds = duration_ms / 1000;
  if (seconds < 60) return fmt::format("{:.1f}s", static_cast<double>(duration_ms) / 1000);
  if (seconds < 3600) return fmt::format("{}m {}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h {}m", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{}d {}h", seconds / 86400, seconds % 86400 / 3600);
}

Check size_value(int64_t least) {
  return [least](const std::string& value) -> std::optional<std::string> {
    const std::optional<int64_t> size = parse_size(value);
    if (!size) return fmt::format("\"{}\" is not a size; write 500, 64k, 1M or 2G", value);
    if (*size < least) return fmt::format("{} is less than {} bytes", value, least);
    return std::nullopt;
  };
}

Check duration_value() {
  return [](const std::string& value) -> std::optional<std::string> {
    if (parse_duration_ms(value)) return std::nullopt;
    return fmt::format("\"{}\" is not a duration; write 500ms, 30s, 5m, 1h30m or 2d", value);
  };
}

}  // namespace millrace::tools
