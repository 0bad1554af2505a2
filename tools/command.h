// What a command of the command line is: a row of names, options and a function. Parsing, help and shell
// completion all come from this table, so none of them can fall behind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/console.h"

namespace millrace::tools {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Says what is wrong with a value, in words that follow the option's name; nothing when it is right.
using Check = std::function<std::optional<std::string>(const std::string& value)>;

// What a shell may offer for a value that has no fixed choices.
enum class Completion { kNone, kFile, kTopic, kGroup };

struct Option {
  // "-p,--partition"; the name of a positional argument stands without dashes. Values are asked for under
  // the long name, without dashes.
  std::string names;
  // Kafka's names for the same thing, e.g. "--bootstrap-server"; they work, and help names them in passing.
  std::string aliases = {};
  // Stands for the value in help, e.g. "N"; empty for a flag.
  std::string value = {};
  std::string help = {};
  // Value when neither given nor in the environment.
  std::string fallback = {};
  std::string environment = {};
  std::vector<std::string> choices = {};
  Check check = {};
  bool positional = false;
  bool required = false;
  bool repeatable = false;
  Completion completion = Completion::kNone;

  // The long name without dashes, or a positional argument's name.
  std::string key() const;
  // "-p", "--partition" and so on, aliases last; a positional argument's aliases only.
  std::vector<std::string> spellings() const;
};

// The values given, by key. Checked already: asking for an integer never fails on an option whose check is
// `integer`.
class Arguments {
 public:
  void add(const std::string& key, std::string value) { values_[key].push_back(std::move(value)); }

  // Whether it was given on the command line, stands in the environment or has a fallback.
  bool has(const std::string& key) const { return values_.contains(key); }
  // The last value, or `otherwise`.
  std::string text(const std::string& key, std::string otherwise = {}) const;
  std::optional<std::string> maybe(const std::string& key) const;
  std::vector<std::string> all(const std::string& key) const;
  int64_t integer(const std::string& key, int64_t otherwise = 0) const;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

struct Command {
  // "topic create": words that lead to it.
  std::string path;
  // One line for the list of commands.
  std::string summary;
  // What help says below the options: rules, defaults, examples.
  std::string details;
  std::vector<Option> options;
  // Does the work and returns the exit code. Complains on `console.err` itself.
  std::function<int(const Arguments&, Console&)> run;
};

// Splits "a,b" at the separator; nothing for an empty text.
std::vector<std::string> split(std::string_view text, char separator);

// Checks: a decimal integer within bounds; NAME=VALUE with a name.
Check integer(int64_t least, int64_t most);
Check assignment();

// The nearest of the candidates to a mistyped word, or empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace millrace::tools
