// What /metrics says of consumer groups, and /groups/NAME.
#pragma once

#include "broker/group_monitor.h"
#include "broker/net/http_server.h"

namespace millrace::broker {

// kafka_consumergroup_lag and so on. The monitor outlives the registry's last scrape.
void add_group_metrics(runtime::MetricsRegistry& registry, GroupMonitor& monitor);

// Answers GET /groups/NAME, the name URL-encoded: 200 with one line of JSON, 404 for an unknown group, 400
// for a name that can't be decoded, 503 while the coordinator isn't there.
runtime::Task<net::HttpReply> answer_group(GroupMonitor& monitor, std::string path);

// The text with each %XX as the byte; nothing when a % has no two hexadecimal digits.
std::optional<std::string> url_decoded(std::string_view text);

inline constexpr std::string_view kGroupsPath = "/groups/";

}  // namespace millrace::broker
