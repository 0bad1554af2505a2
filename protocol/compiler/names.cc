#include "names.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <set>

namespace millrace::compiler {
namespace {

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::string snake_case(std::string_view pascal) {
  std::string snake;
  for (char c : pascal) {
    if (is_upper(c) && !snake.empty()) snake += '_';
    snake += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return snake;
}

std::string pascal_case(std::string_view snake) {
  std::string pascal;
  bool word_starts = true;
  for (char c : snake) {
    if (c == '_') {
      word_starts = true;
      continue;
    }
    pascal += word_starts ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    word_starts = false;
  }
  return pascal;
}

std::string camel_case(std::string_view snake) {
  std::string camel = pascal_case(snake);
  if (!camel.empty()) camel[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(camel[0])));
  return camel;
}

bool is_snake_case(std::string_view name) {
  if (name.empty() || !is_lower(name.front()) || name.back() == '_') return false;
  if (name.find("__") != std::string_view::npos) return false;
  return std::ranges::all_of(name, [](char c) { return is_lower(c) || is_digit(c) || c == '_'; });
}

bool is_pascal_case(std::string_view name) {
  if (name.empty() || !is_upper(name.front())) return false;
  return std::ranges::all_of(name, [](char c) { return is_lower(c) || is_upper(c) || is_digit(c); });
}

bool is_reserved(std::string_view name) {
  static const std::set<std::string_view> kWords = {
      "alignas",   "and",      "asm",     "auto",     "bool",     "break",    "case",      "catch",
      "char",      "class",    "concept", "const",    "continue", "default",  "delete",    "do",
      "double",    "else",     "enum",    "explicit", "export",   "extern",   "false",     "float",
      "for",       "friend",   "goto",    "if",       "inline",   "int",      "long",      "mutable",
      "namespace", "new",      "not",     "operator", "or",       "private",  "protected", "public",
      "register",  "requires", "return",  "short",    "signed",   "sizeof",   "static",    "struct",
      "switch",    "template", "this",    "throw",    "true",     "try",      "typedef",   "typename",
      "union",     "unsigned", "using",   "virtual",  "void",     "volatile", "while",     "xor"};
  return kWords.contains(name);
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace millrace::compiler
