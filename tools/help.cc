#include "tools/help.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::tools {
namespace {

constexpr size_t kWidth = 100;
constexpr size_t kHelpColumn = 30;

// Appends words to `page`, breaking lines at kWidth; lines after the first start at `indent`.
void append_wrapped(std::string& page, std::string_view text, size_t indent) {
  size_t column = indent;
  bool first = true;
  for (const std::string& word : split(text, ' ')) {
    if (!first && column + 1 + word.size() > kWidth) {
      page += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      page += ' ';
      ++column;
    }
    page += word;
    column += word.size();
    first = false;
  }
  page += '\n';
}

void append_entry(std::string& page, const std::string& left, std::string_view right, bool colour) {
  page += "  " + styled(left, Style::kBold, colour);
  const size_t used = left.size() + 2;
  page +=
      used + 2 > kHelpColumn ? '\n' + std::string(kHelpColumn, ' ') : std::string(kHelpColumn - used, ' ');
  append_wrapped(page, right, kHelpColumn);
}

std::string describe(const Option& option) {
  std::string text = option.help;
  if (!option.choices.empty()) text += fmt::format(" ({})", fmt::join(option.choices, "|"));
  if (option.repeatable && !option.positional) text += "; repeatable";
  if (!option.fallback.empty()) text += fmt::format(" [{}]", option.fallback);
  if (!option.environment.empty()) text += fmt::format(" [env {}]", option.environment);
  if (!option.aliases.empty())
    text += fmt::format(" (Kafka: {})", fmt::join(split(option.aliases, ','), ", "));
  return text;
}

std::string left_side(const Option& option) {
  if (option.positional) return option.value;
  std::string left = fmt::format("{}", fmt::join(split(option.names, ','), ", "));
  if (!option.names.starts_with("--")) return option.value.empty() ? left : left + " " + option.value;
  return "    " + left + (option.value.empty() ? "" : " " + option.value);
}

std::string usage_line(const Command& command) {
  std::string line = "millrace " + command.path;
  for (const Option& option : command.options) {
    if (!option.positional) continue;
    std::string word = option.value + (option.repeatable ? "..." : "");
    // A name that Kafka's spelling can also give still has to be given.
    line += option.required || !option.aliases.empty() ? " " + word : " [" + word + "]";
  }
  return line + " [options]";
}

std::string command_page(const Command& command, bool colour) {
  std::string page =
      command.summary + "\n\n" + styled("Usage:", Style::kBold, colour) + " " + usage_line(command) + "\n";
  bool positionals = false;
  for (const Option& option : command.options) {
    if (!option.positional) continue;
    if (!positionals) page += "\n";
    positionals = true;
    append_entry(page, left_side(option), describe(option), colour);
  }
  page += "\n" + styled("Options:", Style::kBold, colour) + "\n";
  for (const Option& option : command.options) {
    if (!option.positional) append_entry(page, left_side(option), describe(option), colour);
  }
  append_entry(page, "-h, --help", "This page", colour);
  if (!command.details.empty())
    page += "\n" + command.details + (command.details.ends_with("\n") ? "" : "\n");
  return page;
}

// The part of a path that follows `prefix`, or nothing when it doesn't lead there.
std::string_view below(std::string_view path, std::string_view prefix) {
  if (prefix.empty()) return path;
  if (path.size() <= prefix.size() || !path.starts_with(prefix) || path[prefix.size()] != ' ') return {};
  return path.substr(prefix.size() + 1);
}

std::string group_page(std::span<const Command> commands, std::string_view path, bool colour) {
  std::string page = "A log broker that speaks Kafka's protocol.\n";
  for (const Command& command : commands) {
    if (command.path == path) page = command.summary + "\n";
  }
  const std::string prefix = path.empty() ? "" : std::string(path) + " ";
  page += "\n" + styled("Usage:", Style::kBold, colour) + " millrace " + prefix + "COMMAND [options]\n\n" +
          styled("Commands:", Style::kBold, colour) + "\n";
  for (const Command& command : commands) {
    if (command.run && !below(command.path, path).empty()) {
      append_entry(page, command.path, command.summary, colour);
    }
  }
  page += "\nmillrace " + prefix + "COMMAND --help says more.";
  page += " Exit codes: 0 done, 1 failed, 2 usage.\n";
  return page;
}

}  // namespace

std::string help_text(std::span<const Command> commands, std::string_view path, bool colour) {
  for (const Command& command : commands) {
    if (command.path == path && command.run) return command_page(command, colour);
  }
  return group_page(commands, path, colour);
}

std::vector<std::string> words_below(std::span<const Command> commands, std::string_view path) {
  std::vector<std::string> words;
  for (const Command& command : commands) {
    const std::string_view rest = below(command.path, path);
    const std::string word(rest.substr(0, rest.find(' ')));
    if (!word.empty() && std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

}  // namespace millrace::tools
