#include "tests/differential/expectations.h"

#include <fstream>
#include <stdexcept>

namespace millrace::differential {
namespace {

constexpr std::string_view kWhy = "why:";
constexpr std::string_view kSeparator = "::";

std::string trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> parts;
  for (size_t at; (at = line.find(kSeparator)) != std::string_view::npos;) {
    parts.push_back(trim(line.substr(0, at)));
    line.remove_prefix(at + kSeparator.size());
  }
  parts.push_back(trim(line));
  return parts;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Expectations::Expectations(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": can't be read");
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with(kWhy)) {
      reasons_.push_back(trim(std::string_view(line).substr(kWhy.size())));
      continue;
    }
    const std::vector<std::string> parts = split(line);
    const std::string place = path + ":" + std::to_string(number) + ": ";
    if (reasons_.empty()) throw std::runtime_error(place + "no reason (why: ...) before this entry");
    if (parts.size() != 2 && parts.size() != 4) {
      throw std::runtime_error(place + "expected STEP :: FIELD or STEP :: FIELD :: KAFKA :: MILLRACE");
    }
    Entry& entry = entries_.emplace_back();
    entry.line = number;
    entry.reason = reasons_.size() - 1;
    entry.step = parts[0];
    entry.path = parts[1];
    if (parts.size() == 4) {
      entry.kafka = parts[2];
      entry.millrace = parts[3];
    }
  }
}

const Expectations::Entry* Expectations::find(const Difference& difference) const {
  for (const Entry& entry : entries_) {
    if (matches(entry.step, difference.step) && matches(entry.path, difference.path) &&
        matches(entry.kafka, difference.kafka) && matches(entry.millrace, difference.millrace)) {
      return &entry;
    }
  }
  return nullptr;
}

bool Expectations::knows(const Difference& difference) const { return find(difference) != nullptr; }

bool Expectations::accept(const Difference& difference) {
  const Entry* entry = find(difference);
  if (entry != nullptr) ++entries_[static_cast<size_t>(entry - entries_.data())].count;
  return entry != nullptr;
}

}  // namespace millrace::differential
