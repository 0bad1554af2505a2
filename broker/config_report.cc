#include "broker/config_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "broker/config_value.h"

namespace millrace::broker {
namespace {

namespace json = boost::json;
using metadata::Setting;

constexpr size_t kTextWidth = 100;

std::string origin_of(const LoadedConfig& config, std::string_view name) {
  const auto at = config.origins.find(name);
  return at == config.origins.end() ? "default" : at->second.text;
}

std::string wrapped(std::string_view text, std::string_view indent) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (column == 0) {
      out += indent;
      column = indent.size();
    } else if (column + 1 + word.size() > kTextWidth) {
      out += fmt::format("\n{}", indent);
      column = indent.size();
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + "\n";
}

// As a value of a YAML file, in the units that people read.
std::string yaml_value(const Setting& setting) {
  if (!setting.default_value) return "";
  if (setting.default_value->empty()) return "''";
  return readable_value(setting, *setting.default_value);
}

bool is_own(const Setting& setting) {
  return metadata::find_setting(metadata::own_broker_settings(), setting.name) != nullptr;
}

std::string example_entry(const Setting& setting) {
  std::string text = wrapped(setting.documentation, "# ");
  std::string facts = fmt::format("{}; {}", type_name(setting.type), allowed_values(setting));
  if (setting.scope != metadata::Scope::kReadOnly) facts += "; can change while the broker runs";
  if (!setting.alias.empty()) facts += fmt::format("; also {}", setting.alias);
  text += wrapped(fmt::format("({})", facts), "# ");
  const std::string value = yaml_value(setting);
  return text + fmt::format("#{}:{}{}\n", setting.name, value.empty() ? "" : " ", value);
}

json::string_view view(std::string_view text) { return {text.data(), text.size()}; }

json::value or_null(const std::optional<std::string>& text) {
  if (!text) return nullptr;
  return json::value(view(*text));
}

}  // namespace

ConfigCheck check_config(const LoadedConfig& config, const std::string& name, const NameService& names) {
  ConfigCheck check;
  for (const std::string& error : config.errors) check.text += error + "\n";
  if (config.errors.empty()) {
    const auto endpoints = advertised_endpoints(metadata::broker_config(config.values), {}, names);
    if (!endpoints) check.text += fmt::format("{}: {}\n", name, endpoints.error().message);
  }
  check.good = check.text.empty();
  for (const std::string& warning : config.warnings) check.text += fmt::format("warning: {}\n", warning);
  if (check.good) {
    check.text += fmt::format("{}: good; {} of {} settings set\n", name, config.values.values.size(),
                              metadata::broker_settings().size());
  }
  return check;
}

std::string print_config_table(const LoadedConfig& config) {
  size_t name_width = 4, value_width = 5;
  std::vector<std::array<std::string, 3>> rows;
  for (const Setting& setting : metadata::broker_settings()) {
    const std::optional<std::string> value = config.values.get(setting.name);
    rows.push_back({std::string(setting.name), value ? readable_value(setting, *value) : "(none)",
                    origin_of(config, setting.name)});
    name_width = std::max(name_width, rows.back()[0].size());
    value_width = std::max(value_width, rows.back()[1].size());
  }
  std::string text = fmt::format("{:<{}}  {:<{}}  {}\n", "NAME", name_width, "VALUE", value_width, "ORIGIN");
  for (const auto& [name, value, origin] : rows) {
    text += fmt::format("{:<{}}  {:<{}}  {}\n", name, name_width, value, value_width, origin);
  }
  return text;
}

std::string print_config_json(const LoadedConfig& config) {
  json::array rows;
  for (const Setting& setting : metadata::broker_settings()) {
    json::object row;
    row["name"] = view(setting.name);
    row["value"] = or_null(config.values.get(setting.name));
    row["origin"] = origin_of(config, setting.name);
    row["default"] =
        or_null(setting.default_value ? std::optional<std::string>(*setting.default_value) : std::nullopt);
    row["type"] = view(type_name(setting.type));
    row["documentation"] = view(setting.documentation);
    rows.push_back(std::move(row));
  }
  return json::serialize(rows) + "\n";
}

std::string example_config() {
  std::string text =
      "# All settings of a Millrace broker, each at its default. To change one, remove its #.\n"
      "#\n"
      "# Keys may be nested or dotted: `log: {retention: {ms: 7d}}` is `log.retention.ms: 7d`. Numbers of "
      "bytes and of\n"
      "# time may have a unit (512MiB, 7d) or be plain, in the unit that the name says. Each setting can "
      "also come from\n"
      "# the environment (MILLRACE_LOG_RETENTION_MS) or the command line (--set log.retention.ms=7d), which "
      "count more.\n"
      "# Written by `millrace config print --example`.\n"
      "\n"
      "# The broker\n"
      "\n";
  for (const Setting& setting : metadata::broker_settings()) {
    if (is_own(setting)) text += example_entry(setting) + "\n";
  }
  text += "# Defaults of topics that don't set their own\n";
  for (const Setting& setting : metadata::broker_settings()) {
    if (!is_own(setting)) text += "\n" + example_entry(setting);
  }
  return text;
}

std::string settings_help() {
  std::string text;
  for (const Setting& setting : metadata::broker_settings()) {
    const std::string value = yaml_value(setting);
    text += fmt::format("  {}  ({}, default {})\n", setting.name, type_name(setting.type),
                        value.empty() ? "none" : value);
    text += wrapped(setting.documentation, "      ");
  }
  return text;
}

}  // namespace millrace::broker
