#include "tools/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "tools/help.h"

namespace millrace::tools {
namespace {

// The command that lists what may stand for the option's value, or nothing. It asks the broker in
// MILLRACE_BROKER; quiet and quick when there is none.
std::string list_command(const Option& option) {
  const std::string_view what = option.completion == Completion::kTopic   ? "topic"
                                : option.completion == Completion::kGroup ? "group"
                                                                          : "";
  return what.empty() ? "" : fmt::format("millrace {} list --names --timeout 1s 2>/dev/null", what);
}

// Every path that has words below it: "", "topic", ...
std::vector<std::string> groups(std::span<const Command> commands) {
  std::set<std::string> paths = {""};
  for (const Command& command : commands) {
    for (size_t at = command.path.find(' '); at != std::string::npos; at = command.path.find(' ', at + 1)) {
      paths.insert(command.path.substr(0, at));
    }
  }
  return {paths.begin(), paths.end()};
}

std::vector<std::string> option_words(const Command& command) {
  std::vector<std::string> words;
  for (const Option& option : command.options) {
    for (std::string& word : option.positional ? std::vector<std::string>{} : option.spellings())
      words.push_back(std::move(word));
  }
  words.emplace_back("--help");
  return words;
}

auto first_positional(const Command& command) {
  return std::find_if(command.options.begin(), command.options.end(),
                      [](const Option& option) { return option.positional; });
}

// Shell code for single quotes.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += "'\\''" : out += c;
  return out + "'";
}

std::string bash_candidates(const Option& option) {
  if (!option.choices.empty())
    return fmt::format("-W {}", quoted(fmt::format("{}", fmt::join(option.choices, " "))));
  if (option.completion == Completion::kFile) return "-f";
  if (const std::string list = list_command(option); !list.empty()) return fmt::format("-W \"$({})\"", list);
  return "-W ''";
}

std::string summary_of(std::span<const Command> commands, const std::string& path) {
  for (const Command& command : commands) {
    if (command.path == path) return command.summary;
  }
  return path;
}

std::string join_path(const std::string& group, const std::string& word) {
  return group.empty() ? word : group + " " + word;
}

// The cases that follow the words typed so far into the table, one per group and word: `line` has a place for
// what is matched and one for the path that it leads to.
std::string path_cases(std::span<const Command> commands, const std::string& line) {
  std::string out;
  for (const std::string& group : groups(commands)) {
    for (const std::string& word : words_below(commands, group)) {
      out += fmt::format(fmt::runtime(line), quoted(group + " " + word), quoted(join_path(group, word)));
    }
  }
  return out;
}

// The cases that complete an option's value after the option: what `action` says, and no more.
std::string value_cases(std::span<const Command> commands,
                        const std::function<std::string(const Option&)>& action) {
  std::string out;
  for (const Command& command : commands) {
    for (const Option& option : command.options) {
      if (option.positional || option.value.empty()) continue;
      std::string patterns;
      for (const std::string& word : option.spellings()) {
        patterns += (patterns.empty() ? "" : "|") + quoted(command.path + " " + word);
      }
      out += fmt::format("    {}) {}; return ;;\n", patterns, action(option));
    }
  }
  return out;
}

}  // namespace

std::string bash_completion(std::span<const Command> commands) {
  std::string out =
      "# bash completion for millrace. Load it with: source <(millrace completion bash)\n"
      "_millrace() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  out += path_cases(commands, "      {}) path={} ;;\n");
  out += "    esac\n  done\n  case \"$path $prev\" in\n";
  out += value_cases(commands, [](const Option& option) {
    return fmt::format("COMPREPLY=($(compgen {} -- \"$cur\"))", bash_candidates(option));
  });
  out += "  esac\n  case $path in\n";
  for (const std::string& group : groups(commands)) {
    out += fmt::format("    {}) COMPREPLY=($(compgen -W {} -- \"$cur\")) ;;\n", quoted(group),
                       quoted(fmt::format("{}", fmt::join(words_below(commands, group), " "))));
  }
  for (const Command& command : commands) {
    if (!command.run) continue;
    out +=
        fmt::format("    {})\n      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W {} -- \"$cur\"))\n",
                    quoted(command.path), quoted(fmt::format("{}", fmt::join(option_words(command), " "))));
    const auto positional = first_positional(command);
    if (positional != command.options.end()) {
      out += fmt::format("      else COMPREPLY=($(compgen {} -- \"$cur\"))\n", bash_candidates(*positional));
    }
    out += "      fi ;;\n";
  }
  return out + "  esac\n}\ncomplete -F _millrace millrace\n";
}

std::string zsh_completion(std::span<const Command> commands) {
  std::string out =
      "#compdef millrace\n"
      "# zsh completion for millrace. Load it with: source <(millrace completion zsh)\n"
      "_millrace() {\n"
      "  local cur=${words[CURRENT]} prev=${words[CURRENT-1]} path_= i\n"
      "  local -a candidates\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    case \"$path_ ${words[i]}\" in\n";
  out += path_cases(commands, "      {}) path_={} ;;\n");
  const auto action = [](const Option& option) -> std::string {
    if (!option.choices.empty()) return fmt::format("compadd -- {}", fmt::join(option.choices, " "));
    if (option.completion == Completion::kFile) return "_files";
    if (const std::string list = list_command(option); !list.empty())
      return fmt::format("compadd -- $({})", list);
    return fmt::format("_message {}", quoted(option.value));
  };
  const auto described = [](const std::string& word, std::string text) {
    // _describe splits at the first colon of each candidate.
    return quoted(word + ":" + std::move(text));
  };
  out += "    esac\n  done\n  case \"$path_ $prev\" in\n";
  out += value_cases(commands, action);
  out += "  esac\n  case $path_ in\n";
  for (const std::string& group : groups(commands)) {
    out += fmt::format("    {}) candidates=(", group.empty() ? "''" : quoted(group));
    for (const std::string& word : words_below(commands, group)) {
      out += described(word, summary_of(commands, join_path(group, word))) + " ";
    }
    out += "); _describe command candidates ;;\n";
  }
  for (const Command& command : commands) {
    if (!command.run) continue;
    out += fmt::format("    {})\n      if [[ $cur == -* ]]; then candidates=(", quoted(command.path));
    for (const Option& option : command.options) {
      for (const std::string& word : option.positional ? std::vector<std::string>{} : option.spellings()) {
        out += described(word, option.help) + " ";
      }
    }
    out += "'--help:This page'); _describe option candidates\n";
    const auto positional = first_positional(command);
    if (positional != command.options.end()) out += fmt::format("      else {}\n", action(*positional));
    out += "      fi ;;\n";
  }
  return out + "  esac\n}\ncompdef _millrace millrace\n";
}

std::string fish_completion(std::span<const Command> commands) {
  std::string out =
      "# fish completion for millrace. Load it with: millrace completion fish | source\n"
      "function __millrace_path\n"
      "  set -l path ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$path $word\"\n";
  out += path_cases(commands, "      case {}; set path {}\n");
  out += "    end\n  end\n  test \"$path\" = \"$argv[1]\"\nend\n";
  for (const std::string& group : groups(commands)) {
    for (const std::string& word : words_below(commands, group)) {
      out += fmt::format("complete -c millrace -f -n \"__millrace_path {}\" -a {} -d {}\n", quoted(group),
                         word, quoted(summary_of(commands, join_path(group, word))));
    }
  }
  const auto candidates = [](const Option& option) -> std::string {
    if (!option.choices.empty())
      return fmt::format(" -f -a {}", quoted(fmt::format("{}", fmt::join(option.choices, " "))));
    if (const std::string list = list_command(option); !list.empty())
      return fmt::format(" -f -a {}", quoted(fmt::format("({})", list)));
    return option.completion == Completion::kFile ? " -F" : "";
  };
  for (const Command& command : commands) {
    const std::string condition =
        fmt::format("complete -c millrace -n \"__millrace_path {}\"", quoted(command.path));
    for (const Option& option : command.options) {
      if (option.positional) {
        if (!candidates(option).empty()) out += condition + candidates(option) + "\n";
        continue;
      }
      std::string words;
      for (const std::string& word : option.spellings()) {
        words += word.starts_with("--") ? " -l " + word.substr(2) : " -s " + word.substr(1);
      }
      out += fmt::format("{}{}{} -d {}{}\n", condition, words, option.value.empty() ? "" : " -r",
                         quoted(option.help), option.value.empty() ? "" : candidates(option));
    }
  }
  return out;
}

}  // namespace millrace::tools
