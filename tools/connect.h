// The options that every command with a broker has, and the connection that they lead to.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/client/cluster.h"
#include "tools/command.h"

namespace millrace::tools {

// The options given, then -b/--broker and --timeout.
std::vector<Option> with_connection(std::vector<Option> options);
// TOPIC as an argument, or Kafka's --topic.
Option topic_argument();
// GROUP as an argument, or Kafka's --group.
Option group_argument();
// --output table|json.
Option output_option();
bool wants_json(const Arguments& arguments);

// A connected cluster, or null after a complaint; the command then returns kExitFailed.
std::unique_ptr<Cluster> connect(const Arguments& arguments, Console& console, std::string_view command);

// The check of topic names that brokers make, so that a typing error needs no broker.
Check topic_name();

// "0,2-5" as numbers, in order and once each; nothing for any other text.
std::optional<std::vector<int32_t>> parse_partitions(std::string_view text);
Check partition_list();
// The other way around: "0,2-5".
std::string format_partitions(const std::vector<int32_t>& ordered);

}  // namespace millrace::tools
