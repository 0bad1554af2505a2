#include "broker/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "broker/config_value.h"
#include "broker/metadata/group_config.h"

namespace millrace::broker {
namespace {

using metadata::Setting;

constexpr std::string_view kEnvironmentPrefix = "MILLRACE_";

std::string unknown_setting(std::string_view name) {
  return fmt::format("unknown setting {}; did you mean {}?", name, nearest_setting(name));
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

class Loader {
 public:
  void file_text(std::string_view text, std::string_view name) {
    const ParsedConfigFile parsed = parse_config_file(text);
    for (const ConfigFileError& error : parsed.errors) fail_at(name, error.position, error.message);
    std::map<std::string_view, const ConfigLine*> lines;  // by setting: an alias must not set it again
    for (const ConfigLine& line : parsed.lines) file_line(line, name, lines);
  }

  // Where the command line finds the broker; the broker itself has no use for it.
  static constexpr std::string_view kClientVariable = "MILLRACE_BROKER";

  void environment(const std::vector<std::string>& variables) {
    std::map<std::string, const Setting*> by_variable;
    for (const Setting& setting : metadata::broker_settings())
      by_variable[environment_name(setting.name)] = &setting;
    for (const std::string& variable : variables) {
      if (!variable.starts_with(kEnvironmentPrefix)) continue;
      const size_t equals = variable.find('=');
      if (equals == std::string::npos) continue;
      const std::string name = variable.substr(0, equals);
      const auto at = by_variable.find(name);
      if (at == by_variable.end()) {
        if (name == kClientVariable) continue;
        // Not ours to refuse: other programs may have variables of this prefix.
        loaded_.warnings.push_back(fmt::format("{}: no setting has this name, it has no effect", name));
        continue;
      }
      set(*at->second, variable.substr(equals + 1), {ConfigOrigin::Kind::kEnvironment, name}, name);
    }
  }

  void command_line(const std::vector<std::string>& sets) {
    for (const std::string& text : sets) {
      const size_t equals = text.find('=');
      const std::string where = "--set " + text;
      const std::string name(metadata::trim(std::string_view(text).substr(0, equals)));
      const Setting* setting = metadata::find_setting(metadata::broker_settings(), name);
      if (equals == std::string::npos) {
        fail(fmt::format("{}: expected key=value", where));
      } else if (setting == nullptr) {
        fail(fmt::format("{}: {}", where, unknown_setting(name)));
      } else {
        set(*setting, text.substr(equals + 1), {ConfigOrigin::Kind::kCommandLine, "--set"}, where);
      }
    }
  }

  // What must hold between settings; only looked at when each is good for itself.
  void between_settings() {
    if (!loaded_.errors.empty()) return;
    const auto number = [&](std::string_view name) {
      return metadata::parse_integer(loaded_.values.get(name).value_or("0"));
    };
    require(number("queued.max.request.bytes") >= number("socket.request.max.bytes"),
            "queued.max.request.bytes",
            "must be at least socket.request.max.bytes, or the largest request could never be read");
    require(number("log.cleaner.min.compaction.lag.ms") <= number("log.cleaner.max.compaction.lag.ms"),
            "log.cleaner.min.compaction.lag.ms", "must be at most log.cleaner.max.compaction.lag.ms");
    if (const auto wrong = metadata::check_group_bounds(metadata::broker_config(loaded_.values)))
      require(false, wrong->first, wrong->second);
    listeners();
  }

  LoadedConfig take() { return std::move(loaded_); }

 private:
  void fail(std::string message) { loaded_.errors.push_back(std::move(message)); }
  void fail_at(std::string_view file, ConfigPosition position, std::string_view message) {
    fail(fmt::format("{}:{}:{}: {}", file, position.line, position.column, message));
  }

  void require(bool good, std::string_view setting, std::string_view what) {
    if (!good) fail(fmt::format("{}: {} {}", origin_text(setting), setting, what));
  }

  std::string origin_text(std::string_view setting) const {
    const auto at = loaded_.origins.find(setting);
    return at == loaded_.origins.end() ? "default" : at->second.text;
  }

  void file_line(const ConfigLine& line, std::string_view file,
                 std::map<std::string_view, const ConfigLine*>& lines) {
    const Setting* setting = metadata::find_setting(metadata::broker_settings(), line.key);
    if (setting == nullptr) {
      fail_at(file, line.position, unknown_setting(line.key));
      return;
    }
    const auto [at, fresh] = lines.emplace(setting->name, &line);
    if (!fresh) {
      fail_at(file, line.position,
              fmt::format("{} is already set in line {}, as {}", setting->name, at->second->position.line,
                          at->second->key));
      return;
    }
    if (line.is_sequence && setting->type != metadata::ConfigType::kList) {
      fail_at(file, line.position, fmt::format("{}: a list, where one value is expected", line.key));
      return;
    }
    const std::string where = fmt::format("{}:{}:{}", file, line.position.line, line.position.column);
    set(*setting, line.value, {ConfigOrigin::Kind::kFile, fmt::format("{}:{}", file, line.position.line)},
        where);
  }

  void set(const Setting& setting, std::string_view value, ConfigOrigin origin, const std::string& where) {
    Result<std::string> checked = checked_value(setting, value);
    if (!checked) {
      fail(fmt::format("{}: {}", where, checked.error().message));
      return;
    }
    loaded_.values.values[std::string(setting.name)] = std::move(*checked);
    loaded_.origins[std::string(setting.name)] = std::move(origin);
  }

  void listeners() {
    const metadata::BrokerConfig config = metadata::broker_config(loaded_.values);
    std::set<std::string> protocols{"PLAINTEXT"};
    for (const std::string& item : config.listener_security_protocol_map) {
      protocols.insert(item.substr(0, item.find(':')));
    }
    std::set<std::string> names;
    for (const std::string& item : config.listeners) {
      const std::string name = metadata::parse_listener(item)->listener;
      names.insert(name);
      require(protocols.contains(name), "listeners",
              fmt::format("has a listener {} without a security protocol; add {}:PLAINTEXT to "
                          "listener.security.protocol.map, or name it PLAINTEXT",
                          name, name));
    }
    require(!names.empty(), "listeners", "has no listener");
    for (const std::string& item : config.advertised_listeners) {
      const std::string name = metadata::parse_listener(item)->listener;
      require(names.contains(name), "advertised.listeners",
              fmt::format("has {}, which is no listener of `listeners`", name));
    }
  }

  LoadedConfig loaded_;
};

LoadedConfig finish(Loader& loader, const ConfigSources& others) {
  loader.environment(others.environment);
  loader.command_line(others.sets);
  loader.between_settings();
  return loader.take();
}

}  // namespace

std::string environment_name(std::string_view setting) {
  std::string name(kEnvironmentPrefix);
  for (char c : setting) {
    if (c >= 'a' && c <= 'z') {
      name += static_cast<char>(c - 'a' + 'A');
    } else {
      name += c == '.' ? '_' : c;
    }
  }
  return name;
}

std::string_view nearest_setting(std::string_view name) {
  name = name.substr(0, 100);  // no setting is longer, and the work grows with it
  std::string_view best;
  size_t least = std::string_view::npos;
  for (const Setting& setting : metadata::broker_settings()) {
    const size_t distance = edit_distance(name, setting.name);
    if (distance < least) {
      least = distance;
      best = setting.name;
    }
  }
  return best;
}

std::vector<std::string> process_environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

LoadedConfig load_config_text(std::string_view text, std::string_view name, const ConfigSources& others) {
  Loader loader;
  loader.file_text(text, name);
  return finish(loader, others);
}

LoadedConfig load_config(const ConfigSources& sources) {
  if (!sources.file) {
    Loader loader;
    return finish(loader, sources);
  }
  std::ifstream in(*sources.file, std::ios::binary);
  std::string text(kMaxConfigFileBytes + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    LoadedConfig failed;
    failed.errors.push_back(fmt::format("{}: can't be read: {}", *sources.file, std::strerror(errno)));
    return failed;
  }
  text.resize(static_cast<size_t>(in.gcount()));
  return load_config_text(text, *sources.file, sources);
}

}  // namespace millrace::broker
