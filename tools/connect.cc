#include "tools/connect.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <set>
#include <utility>

#include "tools/interrupt.h"
#include "tools/quantity.h"

namespace millrace::tools {
namespace {

constexpr size_t kLongestTopicName = 249;
constexpr int64_t kMsPerSecond = 1'000;
// Brokers allow fewer; this only keeps "0-2000000000" from filling memory.
constexpr int32_t kMostPartitions = 1'000'000;

bool parse_number(std::string_view text, int32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0;
}

Check addresses() {
  return [](const std::string& value) -> std::optional<std::string> {
    const Result<std::vector<Address>> parsed = parse_addresses(value);
    return parsed ? std::nullopt : std::optional(parsed.error().message);
  };
}

}  // namespace

std::vector<Option> with_connection(std::vector<Option> options) {
  options.push_back({.names = "-b,--broker",
                     .aliases = "--bootstrap-server",
                     .value = "HOST:PORT",
                     .help = "The broker, or several with commas between",
                     .fallback = "127.0.0.1:9092",
                     .environment = "MILLRACE_BROKER",
                     .check = addresses()});
  options.push_back({.names = "--timeout",
                     .value = "DURATION",
                     .help = "How long to wait for an answer, tries included",
                     .fallback = "30s",
                     .check = duration_value()});
  return options;
}

Option topic_argument() {
  return {.names = "topic",
          .aliases = "--topic",
          .value = "TOPIC",
          .help = "The topic's name",
          .check = topic_name(),
          .positional = true,
          .required = true,
          .completion = Completion::kTopic};
}

Option group_argument() {
  return {.names = "group",
          .aliases = "--group",
          .value = "GROUP",
          .help = "The group's name",
          .positional = true,
          .required = true,
          .completion = Completion::kGroup};
}

Option output_option() {
  return {.names = "--output",
          .value = "FORMAT",
          .help = "For people or for programs",
          .fallback = "table",
          .choices = {"table", "json"}};
}

bool wants_json(const Arguments& arguments) { return arguments.text("output") == "json"; }

std::unique_ptr<Cluster> connect(const Arguments& arguments, Console& console, std::string_view command) {
  ClientOptions options;
  options.bootstrap = parse_addresses(arguments.text("broker")).value_or(std::vector<Address>{});
  options.timeout_ms = parse_duration_ms(arguments.text("timeout")).value_or(options.timeout_ms);
  options.connect_timeout_ms = std::min(options.connect_timeout_ms, options.timeout_ms);
  // One for all connections to the cluster that the command may make.
  options.on_outage = [&console, command = std::string(command), told = std::make_shared<bool>()](
                          const Error* error, int64_t limit_ms) {
    if (std::exchange(*told, error != nullptr) == (error != nullptr)) return;
    if (error == nullptr) return console.note(fmt::format("millrace {}: the broker answers again", command));
    console.note(fmt::format("millrace {}: {}\ntrying again for up to {} s", command, error->message,
                             limit_ms / kMsPerSecond));
  };
  Result<std::unique_ptr<Cluster>> cluster = Cluster::connect(std::move(options));
  if (cluster) return std::move(*cluster);
  if (!interrupted()) console.complain(command, cluster.error().message);
  return nullptr;
}

Check topic_name() {
  return [](const std::string& name) -> std::optional<std::string> {
    if (name.empty() || name == "." || name == "..")
      return fmt::format("\"{}\" can't be a topic's name", name);
    if (name.size() > kLongestTopicName)
      return fmt::format("a topic's name has at most {} characters", kLongestTopicName);
    for (const char c : name) {
      const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '.' || c == '_' || c == '-';
      if (!fine)
        return fmt::format("\"{}\": a topic's name is made of letters, digits, '.', '_' and '-'", name);
    }
    return std::nullopt;
  };
}

std::optional<std::vector<int32_t>> parse_partitions(std::string_view text) {
  std::set<int32_t> numbers;
  if (text.empty() || text.ends_with(',')) return std::nullopt;
  for (const std::string& part : split(text, ',')) {
    int32_t first = 0;
    int32_t last = 0;
    const size_t dash = part.find('-');
    const bool range = dash != std::string::npos;
    if (!parse_number(std::string_view(part).substr(0, dash), first)) return std::nullopt;
    if (range && !parse_number(std::string_view(part).substr(dash + 1), last)) return std::nullopt;
    if (!range) last = first;
    if (last < first || last >= kMostPartitions) return std::nullopt;
    for (int32_t number = first; number <= last; ++number) numbers.insert(number);
  }
  return std::vector<int32_t>(numbers.begin(), numbers.end());
}

std::string format_partitions(const std::vector<int32_t>& ordered) {
  std::string text;
  for (size_t i = 0; i < ordered.size();) {
    size_t last = i;
    while (last + 1 < ordered.size() && ordered[last + 1] == ordered[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(ordered[i]);
    if (last > i) text += (last == i + 1 ? "," : "-") + std::to_string(ordered[last]);
    i = last + 1;
  }
  return text;
}

Check partition_list() {
  return [](const std::string& value) -> std::optional<std::string> {
    if (parse_partitions(value)) return std::nullopt;
    return fmt::format("\"{}\" is not a list of partitions; write 0 or 0,2 or 0-3", value);
  };
}

}  // namespace millrace::tools
