#include "broker/group_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <charconv>
#include <cmath>

#include "broker/coordinator/group_service.h"
#include "protocol/utf8.h"

namespace millrace::broker {
namespace {

using runtime::Labels;
using runtime::MetricsWriter;
using runtime::Task;

void describe(MetricsWriter& out) {
  out.describe("kafka_consumergroup_members", "gauge", "Members of the group");
  out.describe("kafka_consumergroup_current_offset", "gauge", "Offset that the group has committed");
  out.describe("kafka_consumergroup_current_offset_sum", "gauge", "The same, summed over the topic");
  out.describe("kafka_consumergroup_lag", "gauge", "Records behind the committed offset");
  out.describe("kafka_consumergroup_lag_sum", "gauge", "The same, summed over the topic");
  out.describe(
      "millrace_consumergroup_lag_seconds", "gauge",
      "Age of the partition's oldest unread record, by its batch's first timestamp; 0 if there is none");
  out.describe("millrace_consumergroup_oldest_unread_age_seconds", "gauge", "The largest of the group");
  out.describe("millrace_consumergroup_in_rate", "gauge",
               "Records per second that come to the topic's partitions that the group reads");
  out.describe("millrace_consumergroup_out_rate", "gauge",
               "Records per second that the group's committed offsets go on by");
  out.describe("millrace_consumergroup_uncommitted_partitions", "gauge",
               "Partitions with records that the group reads and has not committed in: how far it is behind "
               "there isn't known");
  out.describe("millrace_consumergroup_useful_members", "gauge",
               "How many more members would help; never more than there are partitions for, absent while it "
               "isn't known");
  out.describe("millrace_consumergroups", "gauge", "Groups that this broker coordinates");
  out.describe("millrace_consumergroups_left_out", "gauge",
               "Groups whose positions are not here, because there are too many");
}

void emit_topic(MetricsWriter& out, const std::string& group, const TopicReport& topic) {
  for (const PositionReport& position : topic.positions) {
    const Labels labels = {
        {"consumergroup", group}, {"partition", std::to_string(position.partition)}, {"topic", topic.name}};
    out.sample("kafka_consumergroup_current_offset", labels, position.committed);
    if (position.lag) out.sample("kafka_consumergroup_lag", labels, *position.lag);
    if (position.lag_seconds) out.sample("millrace_consumergroup_lag_seconds", labels, *position.lag_seconds);
  }
  const Labels labels = {{"consumergroup", group}, {"topic", topic.name}};
  out.sample("kafka_consumergroup_current_offset_sum", labels, topic.committed);
  out.sample("kafka_consumergroup_lag_sum", labels, topic.lag);
  if (!topic.rates) return;
  out.sample("millrace_consumergroup_in_rate", labels, topic.rates->in);
  out.sample("millrace_consumergroup_out_rate", labels, topic.rates->out);
}

void emit_group(MetricsWriter& out, const GroupReport& group) {
  const Labels labels = {{"consumergroup", group.name}};
  out.sample("kafka_consumergroup_members", labels, group.members);
  for (const TopicReport& topic : group.topics) emit_topic(out, group.name, topic);
  if (group.lag_seconds)
    out.sample("millrace_consumergroup_oldest_unread_age_seconds", labels, *group.lag_seconds);
  out.sample("millrace_consumergroup_uncommitted_partitions", labels, group.uncommitted_partitions);
  if (group.useful_members)
    out.sample("millrace_consumergroup_useful_members", labels, *group.useful_members);
}

// What a line on a group takes, roughly. A byte of a name may take five: "\\xNN".
size_t line_bytes(std::string_view group) {
  constexpr size_t kRestBytes = 100;
  const bool plain = protocol::is_utf8(group);
  size_t bytes = kRestBytes;
  for (const char c : group) bytes += plain && c >= ' ' && c != '\\' ? 1 : 5;
  return bytes;
}

// What all of them take.
size_t exposition_bytes(const coordinator::GroupProgress& group, size_t positions) {
  constexpr size_t kLinesOfGroup = 4;
  constexpr size_t kLinesOfTopic = 4;
  constexpr size_t kLinesOfPosition = 3;
  size_t topic_bytes = 0;
  for (const auto& topic : group.topics) topic_bytes = std::max(topic_bytes, topic.name.size());
  for (const std::string& topic : group.subscribed) topic_bytes = std::max(topic_bytes, topic.size());
  const size_t line = line_bytes(group.name);
  const size_t topics = group.topics.size() + group.subscribed.size();
  return line * kLinesOfGroup +
         (line + topic_bytes) * (kLinesOfTopic * topics + kLinesOfPosition * positions);
}

// What a scrape may still say.
struct Allowance {
  size_t positions = GroupMonitor::kMostPositions;
  size_t bytes = GroupMonitor::kMostBytes;
  int64_t left_out = 0;

  // Whether all of the group fits. If not, its members are counted where there is room for that line.
  bool take(MetricsWriter& out, const coordinator::GroupProgress& group, size_t count) {
    const size_t all = exposition_bytes(group, count);
    const size_t line = line_bytes(group.name);
    if (count <= positions && all <= bytes) {
      positions -= count;
      bytes -= all;
      return true;
    }
    ++left_out;
    // Smaller groups after it aren't preferred.
    positions = 0;
    if (all > bytes) bytes = std::min(bytes, line);
    if (line <= bytes) {
      out.sample("kafka_consumergroup_members", {{"consumergroup", group.name}},
                 static_cast<int64_t>(group.members));
      bytes -= line;
    }
    return false;
  }
};

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{}", std::round(*value * 1000) / 1000) : "null";
}

std::string number(const std::optional<int64_t>& value) { return value ? std::to_string(*value) : "null"; }

std::string text(std::string_view value) {
  return boost::json::serialize(boost::json::string(protocol::printable(value)));
}

net::HttpReply plain(int status, std::string text) {
  return {.status = status, .body = std::move(text) + '\n'};
}

}  // namespace

Task<> GroupMonitor::emit(MetricsWriter& out) {
  const auto turn = co_await scrapes_.take();
  forget_old();
  describe(out);
  const auto all = co_await services_.groups->names();
  int64_t count = 0;
  Allowance allowance;
  size_t timestamps_left = kMostTimestamps;
  for (const auto& names : all) {
    count += static_cast<int64_t>(names.groups.size());
    for (size_t first = 0; first < names.groups.size();) {
      co_await services_.home().sleep_ms(0);
      auto groups = co_await services_.groups->progress_of(names, first, kBatch);
      std::erase_if(groups, [&](const coordinator::GroupProgress& group) {
        return !allowance.take(out, group, position_count(group));
      });
      const std::vector<GroupReport> reports = co_await report(std::move(groups), timestamps_left);
      for (const GroupReport& report : reports) emit_group(out, report);
    }
  }
  out.sample("millrace_consumergroups", {}, count);
  out.sample("millrace_consumergroups_left_out", {}, allowance.left_out);
}

void add_group_metrics(runtime::MetricsRegistry& registry, GroupMonitor& monitor) {
  registry.add_collector([&monitor](MetricsWriter& out) { return monitor.emit(out); });
}

std::string to_json(const GroupReport& report) {
  const auto rate = [&](double Rates::*which) {
    return number(report.rates ? std::optional((*report.rates).*which) : std::nullopt);
  };
  return fmt::format(
      R"({{"group":{},"state":{},"type":{},"protocol_type":{},"members":{},"partitions":{},)"
      R"("uncommitted_partitions":{},"lagging_partitions":{},"lag":{},"lag_seconds":{},"in_rate":{},)"
      R"("out_rate":{},"useful_members":{}}})"
      "\n",
      text(report.name), text(report.state), text(report.type), text(report.protocol_type), report.members,
      report.partitions, report.uncommitted_partitions, report.lagging_partitions, number(report.lag),
      number(report.lag_seconds), rate(&Rates::in), rate(&Rates::out), number(report.useful_members));
}

std::optional<std::string> url_decoded(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t size = text[0] == '%' ? 3 : 1;
    if (size == 1) {
      out += text[0];
    } else {
      unsigned char byte = 0;
      if (text.size() < size) return std::nullopt;
      const char* const end = text.data() + size;
      const auto [parsed, error] = std::from_chars(text.data() + 1, end, byte, 16);
      if (error != std::errc() || parsed != end) return std::nullopt;
      out += static_cast<char>(byte);
    }
    text.remove_prefix(size);
  }
  return out;
}

Task<net::HttpReply> answer_group(GroupMonitor& monitor, std::string path) {
  const std::optional<std::string> name = url_decoded(std::string_view(path).substr(kGroupsPath.size()));
  if (!name) co_return plain(400, "the group's name isn't URL-encoded: a % needs two hexadecimal digits");
  if (name->empty()) co_return plain(404, "which group? /groups/NAME, the name URL-encoded");
  const Result<GroupReport> report = co_await monitor.look(*name);
  if (!report) {
    if (report.error().code == ErrorCode::kGroupIdNotFound)
      co_return plain(404, fmt::format("no group \"{}\"", protocol::printable(*name)));
    co_return plain(503, report.error().message);
  }
  co_return net::HttpReply{.body = to_json(*report), .content_type = "application/json"};
}

}  // namespace millrace::broker
