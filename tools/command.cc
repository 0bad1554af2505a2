#include "tools/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

namespace millrace::tools {
namespace {

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at + 1);
  }
  return parts;
}

std::string Option::key() const {
  if (positional) return names;
  std::string best;
  for (const std::string& name : split(names, ',')) {
    const size_t start = name.find_first_not_of('-');
    if (name.size() - start > best.size()) best = name.substr(start);
  }
  return best;
}

std::vector<std::string> Option::spellings() const {
  std::vector<std::string> all;
  if (!positional) all = split(names, ',');
  for (std::string& alias : split(aliases, ',')) all.push_back(std::move(alias));
  return all;
}

std::string Arguments::text(const std::string& key, std::string otherwise) const {
  const auto found = values_.find(key);
  return found == values_.end() || found->second.empty() ? std::move(otherwise) : found->second.back();
}

std::optional<std::string> Arguments::maybe(const std::string& key) const {
  const auto found = values_.find(key);
  if (found == values_.end() || found->second.empty()) return std::nullopt;
  return found->second.back();
}

std::vector<std::string> Arguments::all(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

int64_t Arguments::integer(const std::string& key, int64_t otherwise) const {
  const auto found = values_.find(key);
  if (found == values_.end() || found->second.empty()) return otherwise;
  return parse_integer(found->second.back()).value_or(otherwise);
}

Check integer(int64_t least, int64_t most) {
  return [=](const std::string& value) -> std::optional<std::string> {
    const std::optional<int64_t> number = parse_integer(value);
    if (!number) return fmt::format("\"{}\" is not a whole number", value);
    if (*number >= least && *number <= most) return std::nullopt;
    if (most == INT64_MAX) return fmt::format("{} is less than {}", *number, least);
    return fmt::format("{} is not between {} and {}", *number, least, most);
  };
}

Check assignment() {
  return [](const std::string& value) -> std::optional<std::string> {
    const size_t at = value.find('=');
    if (at != std::string::npos && at > 0) return std::nullopt;
    return fmt::format("\"{}\" is not of the form NAME=VALUE", value);
  };
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = candidate;
  }
  return best;
}

}  // namespace millrace::tools
