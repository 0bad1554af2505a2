#include "broker/metadata/topic_config.h"

#include <algorithm>

namespace millrace::metadata {
namespace {

class Reader {
 public:
  Reader(const ConfigMap& configs, const BrokerValue& broker) : configs_(configs), broker_(broker) {}

  std::string text(std::string_view name) const {
    return topic_value(*find_setting(topic_settings(), name), configs_, broker_);
  }
  int64_t number(std::string_view name) const { return parse_integer(text(name)); }
  int32_t small_number(std::string_view name) const { return static_cast<int32_t>(number(name)); }
  bool flag(std::string_view name) const { return parse_boolean(text(name)); }

 private:
  const ConfigMap& configs_;
  const BrokerValue& broker_;
};

std::optional<protocol::Compression> compression(std::string_view type) {
  if (type == "uncompressed") return protocol::Compression::kNone;
  if (type == "gzip") return protocol::Compression::kGzip;
  if (type == "snappy") return protocol::Compression::kSnappy;
  if (type == "lz4") return protocol::Compression::kLz4;
  if (type == "zstd") return protocol::Compression::kZstd;
  return std::nullopt;  // producer
}

void read_times(const Reader& read, storage::LogConfig& log) {
  log.segment_ms = read.number("segment.ms");
  log.segment_jitter_ms = read.number("segment.jitter.ms");
  log.retention_ms = read.number("retention.ms");
  log.file_delete_delay_ms = read.number("file.delete.delay.ms");
  log.flush_ms = read.number("flush.ms");
  const bool append_time = trim(read.text("message.timestamp.type")) == "LogAppendTime";
  log.timestamp_type =
      append_time ? protocol::TimestampType::kLogAppendTime : protocol::TimestampType::kCreateTime;
  log.timestamp_before_max_ms = read.number("message.timestamp.before.max.ms");
  log.timestamp_after_max_ms = read.number("message.timestamp.after.max.ms");
}

void read_sizes(const Reader& read, storage::LogConfig& log) {
  const std::string small = read.text("internal.segment.bytes");
  log.segment_bytes =
      small.empty() ? read.small_number("segment.bytes") : static_cast<int32_t>(parse_integer(small));
  log.retention_bytes = read.number("retention.bytes");
  log.index_interval_bytes = read.small_number("index.interval.bytes");
  log.max_message_bytes = read.small_number("max.message.bytes");
  log.flush_messages = read.number("flush.messages");
  log.preallocate = read.flag("preallocate");
}

void read_compression(const Reader& read, storage::LogConfig& log) {
  log.compression = compression(trim(read.text("compression.type")));
  // -1 is gzip's own default.
  if (const int level = read.small_number("compression.gzip.level"); level != -1) log.gzip_level = level;
  log.lz4_level = read.small_number("compression.lz4.level");
  log.zstd_level = read.small_number("compression.zstd.level");
}

void read_cleanup(const Reader& read, storage::LogConfig& log) {
  const std::vector<std::string> policy = parse_list(read.text("cleanup.policy"));
  log.delete_old = std::ranges::find(policy, "delete") != policy.end();
  log.compact = std::ranges::find(policy, "compact") != policy.end();
  log.delete_retention_ms = read.number("delete.retention.ms");
  log.min_cleanable_dirty_ratio = parse_double(read.text("min.cleanable.dirty.ratio"));
  log.min_compaction_lag_ms = read.number("min.compaction.lag.ms");
  log.max_compaction_lag_ms = read.number("max.compaction.lag.ms");
  // Compaction doesn't touch the active segment, so none may be active for longer.
  if (log.compact) log.segment_ms = std::min(log.segment_ms, log.max_compaction_lag_ms);
}

}  // namespace

TopicConfig topic_config(const ConfigMap& configs, const BrokerValue& broker) {
  const Reader read(configs, broker);
  TopicConfig config;
  read_times(read, config.log);
  read_sizes(read, config.log);
  read_compression(read, config.log);
  read_cleanup(read, config.log);
  config.min_insync_replicas = read.small_number("min.insync.replicas");
  config.unclean_leader_election = read.flag("unclean.leader.election.enable");
  return config;
}

TopicConfig topic_config(const StaticConfig& config, const ClusterImage& image, int32_t node_id,
                         const TopicImage& topic) {
  TopicConfig values = topic_config(topic.configs, broker_values(config, image, node_id));
  const int32_t replicas = std::max<int32_t>(topic.replication_factor(), 1);
  values.min_insync_replicas = std::min(values.min_insync_replicas, replicas);
  return values;
}

}  // namespace millrace::metadata
