#include "tools/command_line.h"

#include <fmt/format.h>

// The only file that sees CLI11: it is slow to compile.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "tools/help.h"

namespace millrace::tools {
namespace {

// One CLI11 application per row of the table, and the values it collects.
struct Row {
  CLI::App* app = nullptr;
  const Command* command = nullptr;
  Arguments arguments;
};

std::string cli_names(const Option& option) {
  std::string names;
  for (const std::string& name : option.spellings()) names += (names.empty() ? "" : ",") + name;
  if (option.positional) names = option.names + (names.empty() ? "" : ",") + names;
  return names;
}

void add_flag(Row& row, const Option& option) {
  const std::string key = option.key();
  row.app->add_flag_callback(cli_names(option), [&row, key] { row.arguments.add(key, "true"); });
}

void add_option(Row& row, const Option& option) {
  const auto take = [&row, &option](const CLI::results_t& values) {
    for (const std::string& value : values) {
      if (!option.choices.empty() &&
          std::find(option.choices.begin(), option.choices.end(), value) == option.choices.end()) {
        throw CLI::ValidationError(
            option.key(), fmt::format("\"{}\" is none of {}", value, fmt::join(option.choices, ", ")));
      }
      if (const auto complaint = option.check ? option.check(value) : std::nullopt) {
        throw CLI::ValidationError(option.key(), *complaint);
      }
      row.arguments.add(option.key(), value);
    }
    return true;
  };
  CLI::Option* added = row.app->add_option(cli_names(option), take, option.help);
  added->type_size(1)->required(option.required)->allow_extra_args(option.positional && option.repeatable);
  if (option.repeatable) {
    added->expected(1, CLI::detail::expected_max_vector_size)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    added->allow_extra_args(option.positional);
  }
  if (!option.environment.empty()) added->envname(option.environment);
}

CLI::App* find_or_add(CLI::App& parent, const std::string& word) {
  for (CLI::App* child : parent.get_subcommands([](CLI::App*) { return true; })) {
    if (child->get_name() == word) return child;
  }
  CLI::App* child = parent.add_subcommand(word);
  child->set_help_flag("-h,--help");
  child->allow_extras(false);
  return child;
}

// The words of argv that lead into the table, e.g. "topic create".
std::string path_of(std::span<const Command> commands, int argc, const char* const* argv) {
  std::string path;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const std::string longer = path.empty() ? argv[i] : path + " " + argv[i];
    const bool known = std::any_of(commands.begin(), commands.end(), [&](const Command& command) {
      return command.path == longer || command.path.starts_with(longer + " ");
    });
    if (!known) break;
    path = longer;
  }
  return path;
}

const Command* find_command(std::span<const Command> commands, std::string_view path) {
  for (const Command& command : commands) {
    if (command.path == path && command.run) return &command;
  }
  return nullptr;
}

// The first word that found no place, or empty. CLI11's own message lists them backwards.
std::string first_leftover(const CLI::App& app) {
  for (std::string& word : app.remaining(true)) {
    if (word != "--") return std::move(word);
  }
  return {};
}

// --json is an option of some commands; others have a choice of formats.
bool wants_output_json(const Command* command, const std::string& word) {
  if (command == nullptr || word != "--json") return false;
  return std::ranges::any_of(command->options, [](const Option& option) {
    const std::vector<std::string> names = option.spellings();
    return std::ranges::find(names, "--output") != names.end() &&
           std::ranges::find(option.choices, "json") != option.choices.end();
  });
}

// What is wrong with a word that found no place, and what was probably meant.
std::string explain_leftover(std::span<const Command> commands, const std::string& path,
                             const Command* command, const std::string& leftover) {
  const bool option = leftover.starts_with("-");
  const std::string word = option ? leftover.substr(0, leftover.find('=')) : leftover;
  std::string message;
  std::vector<std::string> candidates;
  if (option) {
    message = fmt::format("no option {}", word);
    candidates.emplace_back("--help");
    if (path.empty()) candidates.emplace_back("--version");
    for (const Option& row : command != nullptr ? command->options : std::vector<Option>{}) {
      for (std::string& name : row.spellings()) candidates.push_back(std::move(name));
    }
  } else if (command == nullptr) {
    message = fmt::format("no command \"{}\"", path.empty() ? word : path + " " + word);
    candidates = words_below(commands, path);
  } else {
    message = fmt::format("unexpected argument \"{}\"", word);
  }
  const std::string near = wants_output_json(command, word) ? "--output json" : nearest(word, candidates);
  return near.empty() ? message : message + fmt::format("; did you mean {}?", near);
}

// What a command needs and wasn't given, or CLI11's words for it.
std::string explain_missing(const Command& command, const std::string& message) {
  const std::string name = message.substr(0, message.find(" is required"));
  for (const Option& option : command.options) {
    const std::vector<std::string> spellings = option.spellings();
    if (option.names == name || std::find(spellings.begin(), spellings.end(), name) != spellings.end())
      return fmt::format("{} is missing", option.positional ? option.value : name);
  }
  return message;
}

// An option that came last, without what belongs to it; or CLI11's words.
std::string explain_without_value(const Command& command, const std::string& message) {
  const std::string name = message.substr(0, message.find(": "));
  for (const Option& option : command.options) {
    const std::vector<std::string> spellings = option.spellings();
    if (std::find(spellings.begin(), spellings.end(), name) != spellings.end())
      return fmt::format("{} needs a value: {}", name, option.value);
  }
  return message;
}

// A check's words, after the option that it is about.
std::string explain_value(const Command* command, const std::string& message) {
  const std::string key = message.substr(0, message.find(": "));
  const bool positional = command != nullptr && std::any_of(command->options.begin(), command->options.end(),
                                                            [&](const Option& option) {
                                                              return option.positional && option.names == key;
                                                            });
  return (positional ? "" : "--") + message;
}

// CLI11's words for a usage error, and what was probably meant.
std::string explain(std::span<const Command> commands, const std::string& path, const std::string& leftover,
                    const CLI::ParseError& error) {
  const Command* command = find_command(commands, path);
  const bool missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  const bool refused = dynamic_cast<const CLI::ValidationError*>(&error) != nullptr;
  const bool without_value = dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr;
  std::string message = error.what();
  // A mistyped option leaves its value to be taken for an argument, or what it should have given missing.
  const bool mistyped = leftover.starts_with("-") && (missing || refused);
  if (mistyped || (!leftover.empty() && dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)) {
    message = explain_leftover(commands, path, command, leftover);
  } else if (refused) {
    message = explain_value(command, message);
  } else if (without_value && command != nullptr) {
    message = explain_without_value(*command, message);
  } else if (missing) {
    message = command == nullptr ? "which command?" : explain_missing(*command, message);
  }
  return message + fmt::format("\nSee: millrace{}{} --help", path.empty() ? "" : " ", path);
}

// After a flush that failed.
int complain_about_output(const std::string& path, Console& console) {
  console.complain(path, fmt::format("standard output: {}", std::strerror(errno)));
  return kExitFailed;
}

void finish(Row& row) {
  for (const Option& option : row.command->options) {
    const std::string key = option.key();
    if (!option.fallback.empty() && !row.arguments.has(key)) row.arguments.add(key, option.fallback);
  }
}

}  // namespace

int run_command_line(std::span<const Command> commands, int argc, const char* const* argv, Console& console) {
  CLI::App app("millrace");
  app.set_help_flag("-h,--help");
  bool version = false;
  app.add_flag("--version", version);
  std::deque<Row> rows;
  for (const Command& command : commands) {
    CLI::App* child = &app;
    for (const std::string& word : split(command.path, ' ')) child = find_or_add(*child, word);
    Row& row = rows.emplace_back(Row{child, &command, {}});
    for (const Option& option : command.options) {
      option.value.empty() && !option.positional ? add_flag(row, option) : add_option(row, option);
    }
  }
  const std::string path = path_of(commands, argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    console.write(help_text(commands, path, console.colour_out));
    return console.flush() ? kExitDone : complain_about_output(path, console);
  } catch (const CLI::ParseError& error) {
    console.complain(find_command(commands, path) == nullptr ? "" : path,
                     explain(commands, path, first_leftover(app), error));
    return kExitUsage;
  }
  if (version) {
    console.write("millrace " MILLRACE_VERSION "\n");
    return console.flush() ? kExitDone : complain_about_output(path, console);
  }
  for (Row& row : rows) {
    if (row.command->path != path || !row.command->run) continue;
    finish(row);
    const int code = row.command->run(row.arguments, console);
    return console.flush() || code != kExitDone ? code : complain_about_output(path, console);
  }
  // A group without a command, or nothing at all: show what there is.
  console.note(help_text(commands, path, console.colour_err));
  return kExitUsage;
}

}  // namespace millrace::tools
