#include "tools/timestamp.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <chrono>

#include "tools/quantity.h"

namespace millrace::tools {
namespace {

// Takes exactly `count` digits from the front of the text.
std::optional<int> take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  int number = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) == 0) return std::nullopt;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// "Z" or "+02:00" or "-0530", to the end of the text; in minutes.
std::optional<int> take_zone_minutes(std::string_view& text) {
  if (take(text, 'Z') || take(text, 'z')) return 0;
  const int sign = text.starts_with('-') ? -1 : 1;
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  const std::optional<int> hours = take_digits(text, 2);
  take(text, ':');
  const std::optional<int> minutes = take_digits(text, 2);
  if (!hours || !minutes || *hours > 18 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes);
}

// ".5", ".500", ".123456789"; digits after the third are dropped.
std::optional<int> take_fraction_ms(std::string_view& text) {
  if (!take(text, '.')) return 0;
  int ms = 0;
  size_t digits = 0;
  for (; !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0; ++digits) {
    if (digits < 3) ms = ms * 10 + (text[0] - '0');
    text.remove_prefix(1);
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 3; ++digits) ms *= 10;
  return ms;
}

std::optional<int64_t> take_time_of_day_ms(std::string_view& text) {
  const std::optional<int> hours = take_digits(text, 2);
  if (!hours || !take(text, ':')) return std::nullopt;
  const std::optional<int> minutes = take_digits(text, 2);
  std::optional<int> seconds = 0;
  std::optional<int> ms = 0;
  if (take(text, ':')) {
    seconds = take_digits(text, 2);
    ms = take_fraction_ms(text);
  }
  if (!minutes || !seconds || !ms || *hours > 23 || *minutes > 59 || *seconds > 60) return std::nullopt;
  return ((*hours * 60 + *minutes) * 60 + *seconds) * int64_t{1000} + *ms;
}

std::optional<int64_t> parse_iso_8601(std::string_view text) {
  const std::optional<int> year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const std::optional<int> month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const std::optional<int> day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const int64_t midnight_ms = std::chrono::sys_days(date).time_since_epoch().count() * int64_t{86'400'000};
  if (text.empty()) return midnight_ms;
  if (!take(text, 'T') && !take(text, 't') && !take(text, ' ')) return std::nullopt;
  const std::optional<int64_t> time_ms = take_time_of_day_ms(text);
  const std::optional<int> zone_minutes = time_ms ? take_zone_minutes(text) : std::nullopt;
  if (!zone_minutes || !text.empty()) return std::nullopt;
  return midnight_ms + *time_ms - *zone_minutes * int64_t{60'000};
}

}  // namespace

std::optional<int64_t> parse_timestamp_ms(std::string_view text, int64_t now_ms) {
  if (text == "now") return now_ms;
  if (text.starts_with('-')) {
    const std::optional<int64_t> ago_ms = parse_duration_ms(text.substr(1));
    return ago_ms ? std::optional(now_ms - *ago_ms) : std::nullopt;
  }
  int64_t epoch_ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch_ms);
  if (error == std::errc() && end == text.data() + text.size()) return epoch_ms;
  return parse_iso_8601(text);
}

std::string format_timestamp(int64_t timestamp_ms) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(timestamp_ms)};
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(days);
  const int64_t ms = (time - days).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), ms / 3'600'000,
                     ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
}

int64_t wall_clock_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace millrace::tools
