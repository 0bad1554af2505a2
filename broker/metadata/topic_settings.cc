#include "broker/metadata/topic_settings.h"

#include <fmt/format.h>

#include <array>

namespace millrace::metadata {
namespace {

constexpr std::string_view kNever = "9223372036854775807";

#define NAMES(variable, ...) constexpr std::string_view variable[] = {__VA_ARGS__}
NAMES(kCleanupPolicy, "log.cleanup.policy");
NAMES(kCompressionType, "compression.type");
NAMES(kGzipLevel, "compression.gzip.level");
NAMES(kLz4Level, "compression.lz4.level");
NAMES(kZstdLevel, "compression.zstd.level");
NAMES(kDeleteRetention, "log.cleaner.delete.retention.ms");
NAMES(kFileDeleteDelay, "log.segment.delete.delay.ms");
NAMES(kFlushMessages, "log.flush.interval.messages");
NAMES(kFlushMs, "log.flush.interval.ms");
NAMES(kIndexInterval, "log.index.interval.bytes");
NAMES(kLocalRetentionBytes, "log.local.retention.bytes");
NAMES(kLocalRetentionMs, "log.local.retention.ms");
NAMES(kMaxCompactionLag, "log.cleaner.max.compaction.lag.ms");
NAMES(kMaxMessageBytes, "message.max.bytes");
NAMES(kTimestampAfter, "log.message.timestamp.after.max.ms");
NAMES(kTimestampBefore, "log.message.timestamp.before.max.ms");
NAMES(kTimestampType, "log.message.timestamp.type");
NAMES(kMinCleanableRatio, "log.cleaner.min.cleanable.ratio");
NAMES(kMinCompactionLag, "log.cleaner.min.compaction.lag.ms");
NAMES(kMinInsync, "min.insync.replicas");
NAMES(kPreallocate, "log.preallocate");
NAMES(kRetentionBytes, "log.retention.bytes");
NAMES(kRetentionMs, "log.retention.ms", "log.retention.minutes", "log.retention.hours");
NAMES(kSegmentBytes, "log.segment.bytes");
NAMES(kSegmentIndexBytes, "log.index.size.max.bytes");
NAMES(kSegmentJitter, "log.roll.jitter.ms", "log.roll.jitter.hours");
NAMES(kSegmentMs, "log.roll.ms", "log.roll.hours");
NAMES(kUnclean, "unclean.leader.election.enable");
#undef NAMES

std::optional<std::string> check_throttled_replicas(std::string_view name, std::string_view value) {
  const std::vector<std::string> items = parse_list(value);
  if (items.size() == 1 && items[0] == "*") return std::nullopt;
  for (const std::string& item : items) {
    const size_t colon = item.find(':');
    const std::string_view digits = "0123456789";
    const bool good = colon != std::string::npos && colon > 0 && colon + 1 < item.size() &&
                      item.substr(0, colon).find_first_not_of(digits) == std::string::npos &&
                      item.substr(colon + 1).find_first_not_of(digits) == std::string::npos;
    if (!good) {
      return fmt::format(
          "{} must be the literal '*' or a list of replicas in the following format: "
          "[partitionId]:[brokerId],[partitionId]:[brokerId],...",
          name);
    }
  }
  return std::nullopt;
}

// clang-format off
// The table. Rows are in the order of their names; Kafka 4.3.1's order on the wire is none.
constexpr std::array kTable = {
    Setting{.name = "cleanup.policy", .type = ConfigType::kList, .default_value = "delete",
            .documentation = "What happens to old segments: `delete` removes them by age and size, `compact` keeps "
                             "the last record of every key; both may be set, and with none nothing is removed.",
            .choices = "compact delete", .broker_names = kCleanupPolicy},
    Setting{.name = "compression.gzip.level", .type = ConfigType::kInt, .default_value = "-1",
            .documentation = "Level for batches that the broker compresses with gzip; -1 is the codec's own default.",
            .min = 1, .max = 9, .exception = -1, .broker_names = kGzipLevel},
    Setting{.name = "compression.lz4.level", .type = ConfigType::kInt, .default_value = "9",
            .documentation = "Level for batches that the broker compresses with lz4.",
            .min = 1, .max = 17, .broker_names = kLz4Level},
    Setting{.name = "compression.type", .type = ConfigType::kString, .default_value = "producer",
            .documentation = "Codec that batches are stored with; `producer` keeps the producer's, `uncompressed` "
                             "removes it.",
            .choices = "uncompressed zstd lz4 snappy gzip producer", .broker_names = kCompressionType},
    Setting{.name = "compression.zstd.level", .type = ConfigType::kInt, .default_value = "3",
            .documentation = "Level for batches that the broker compresses with zstd.",
            .min = -131072, .max = 22, .broker_names = kZstdLevel},
    Setting{.name = "delete.retention.ms", .type = ConfigType::kLong, .default_value = "86400000",
            .documentation = "How long a compacted topic keeps tombstones after it was compacted, so that a reader "
                             "from the start sees them.",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kDeleteRetention},
    Setting{.name = "file.delete.delay.ms", .type = ConfigType::kLong, .default_value = "60000",
            .documentation = "How long the file of a removed segment stays on disk for readers that still have it.",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kFileDeleteDelay},
    Setting{.name = "flush.messages", .type = ConfigType::kLong, .default_value = "1",
            .documentation = "How many records may be acknowledged before they are synced to disk. The default here "
                             "is 1: acknowledged means synced, and one sync serves all partitions of a shard that "
                             "wait for it. Kafka's default, 9223372036854775807, leaves it to the operating system.",
            .min = 1, .broker_names = kFlushMessages},
    Setting{.name = "flush.ms", .type = ConfigType::kLong, .default_value = kNever,
            .documentation = "How long a record may stay unsynced where flush.messages doesn't sync it at once.",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kFlushMs},
    Setting{.name = "follower.replication.throttled.replicas", .type = ConfigType::kList, .default_value = "",
            .documentation = "Replicas whose fetching is throttled, as partition:broker pairs or `*`. No effect on a "
                             "single node.",
            .check = check_throttled_replicas},
    Setting{.name = "index.interval.bytes", .type = ConfigType::kInt, .default_value = "4096",
            .documentation = "A position goes to the offset index once per this many bytes of log: smaller finds an "
                             "offset in fewer reads, larger keeps the index small.",
            .unit = Unit::kBytes, .min = 0, .broker_names = kIndexInterval},
    Setting{.name = "internal.segment.bytes", .type = ConfigType::kInt, .default_value = std::nullopt,
            .documentation = "For tests: overrides segment.bytes, without its lower bound. Hidden unless set.",
            .unit = Unit::kBytes, .min = 1},
    Setting{.name = "leader.replication.throttled.replicas", .type = ConfigType::kList, .default_value = "",
            .documentation = "Replicas to which sending is throttled, as partition:broker pairs or `*`. No effect on "
                             "a single node.",
            .check = check_throttled_replicas},
    Setting{.name = "local.retention.bytes", .type = ConfigType::kLong, .default_value = "-2",
            .documentation = "Bytes to keep on local disk with tiered storage. Accepted without effect: there is no "
                             "tiered storage.",
            .unit = Unit::kBytes, .min = -2, .broker_names = kLocalRetentionBytes},
    Setting{.name = "local.retention.ms", .type = ConfigType::kLong, .default_value = "-2",
            .documentation = "Time to keep on local disk with tiered storage. Accepted without effect: there is no "
                             "tiered storage.",
            .unit = Unit::kMilliseconds, .min = -2, .broker_names = kLocalRetentionMs},
    Setting{.name = "max.compaction.lag.ms", .type = ConfigType::kLong, .default_value = kNever,
            .documentation = "The longest that a record may stay out of compaction; segments are rolled by then.",
            .unit = Unit::kMilliseconds, .min = 1, .broker_names = kMaxCompactionLag},
    Setting{.name = "max.message.bytes", .type = ConfigType::kInt, .default_value = "1048588",
            .documentation = "The largest record batch that may be appended, after compression.",
            .unit = Unit::kBytes, .min = 0, .broker_names = kMaxMessageBytes},
    Setting{.name = "message.timestamp.after.max.ms", .type = ConfigType::kLong, .default_value = "3600000",
            .documentation = "How far a record's timestamp may be ahead of the broker's clock (CreateTime only).",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kTimestampAfter},
    Setting{.name = "message.timestamp.before.max.ms", .type = ConfigType::kLong, .default_value = kNever,
            .documentation = "How far a record's timestamp may be behind the broker's clock (CreateTime only).",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kTimestampBefore},
    Setting{.name = "message.timestamp.type", .type = ConfigType::kString, .default_value = "CreateTime",
            .documentation = "Whether a record carries the producer's time or the time of its append.",
            .choices = "CreateTime LogAppendTime", .broker_names = kTimestampType},
    Setting{.name = "min.cleanable.dirty.ratio", .type = ConfigType::kDouble, .default_value = "0.5",
            .documentation = "Share of a log that must be uncompacted before it is compacted.",
            .min = 0, .max = 1, .broker_names = kMinCleanableRatio},
    Setting{.name = "min.compaction.lag.ms", .type = ConfigType::kLong, .default_value = "0",
            .documentation = "The shortest time that a record stays uncompacted.",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kMinCompactionLag},
    Setting{.name = "min.insync.replicas", .type = ConfigType::kInt, .default_value = "1",
            .documentation = "Replicas that must have a record before a producer with acks=all is answered; a value "
                             "above the replication factor counts as the replication factor.",
            .min = 1, .broker_names = kMinInsync},
    Setting{.name = "preallocate", .type = ConfigType::kBoolean, .default_value = "false",
            .documentation = "Whether a new segment's file gets its full size at once.",
            .broker_names = kPreallocate},
    Setting{.name = "remote.log.copy.disable", .type = ConfigType::kBoolean, .default_value = "false",
            .documentation = "Makes tiered data read-only. Accepted without effect: there is no tiered storage."},
    Setting{.name = "remote.log.delete.on.disable", .type = ConfigType::kBoolean, .default_value = "false",
            .documentation = "Deletes tiered data when tiering ends. Accepted without effect: there is no tiered "
                             "storage."},
    Setting{.name = "remote.storage.enable", .type = ConfigType::kBoolean, .default_value = "false",
            .documentation = "Turns tiered storage on. Only false is accepted: there is no tiered storage."},
    Setting{.name = "retention.bytes", .type = ConfigType::kLong, .default_value = "-1",
            .documentation = "Size that a partition may reach before its oldest segments are removed; -1 is no "
                             "limit.",
            .unit = Unit::kBytes, .broker_names = kRetentionBytes},
    Setting{.name = "retention.ms", .type = ConfigType::kLong, .default_value = "604800000",
            .documentation = "Age at which a segment is removed, by its newest record; -1 is no limit.",
            .unit = Unit::kMilliseconds, .min = -1, .broker_names = kRetentionMs},
    Setting{.name = "segment.bytes", .type = ConfigType::kInt, .default_value = "1073741824",
            .documentation = "Size at which a segment is closed and the next begins.",
            .unit = Unit::kBytes, .min = 1048576, .broker_names = kSegmentBytes},
    Setting{.name = "segment.index.bytes", .type = ConfigType::kInt, .default_value = "10485760",
            .documentation = "Kafka's limit of the index file of one segment. Accepted without effect: the index is "
                             "no file here.",
            .unit = Unit::kBytes, .min = 4, .broker_names = kSegmentIndexBytes},
    Setting{.name = "segment.jitter.ms", .type = ConfigType::kLong, .default_value = "0",
            .documentation = "Up to this much is taken off segment.ms at random, so that segments don't all roll at "
                             "once.",
            .unit = Unit::kMilliseconds, .min = 0, .broker_names = kSegmentJitter},
    Setting{.name = "segment.ms", .type = ConfigType::kLong, .default_value = "604800000",
            .documentation = "Age at which a segment is closed even if it is not full.",
            .unit = Unit::kMilliseconds, .min = 1, .broker_names = kSegmentMs},
    Setting{.name = "unclean.leader.election.enable", .type = ConfigType::kBoolean, .default_value = "false",
            .documentation = "Whether a replica that is not in sync may become leader, at the price of lost records. "
                             "No effect on a single node.",
            .broker_names = kUnclean},
};

// clang-format on

int64_t factor_to_ms(std::string_view name) {
  if (name.ends_with(".hours")) return 3'600'000;
  if (name.ends_with(".minutes")) return 60'000;
  return 1;
}

// Kafka's log.flush.interval.ms is null by default and then means log.flush.scheduler.interval.ms, never.
std::string fallback(const Setting& setting) { return std::string(setting.default_value.value_or("")); }

}  // namespace

std::span<const Setting> topic_settings() { return kTable; }

std::string topic_default(const Setting& setting, const BrokerValue& broker) {
  for (std::string_view name : setting.broker_names) {
    std::optional<std::string> value = broker(name);
    if (!value) continue;
    const int64_t factor = factor_to_ms(name);
    if (factor == 1) return *value;
    const int64_t count = parse_integer(*value);
    return count < 0 ? "-1" : fmt::format("{}", count * factor);
  }
  return fallback(setting);
}

std::string topic_value(const Setting& setting, const ConfigMap& configs, const BrokerValue& broker) {
  const auto at = configs.find(setting.name);
  return at != configs.end() ? at->second : topic_default(setting, broker);
}

Result<> check_topic_configs(const ConfigMap& configs, const BrokerValue& broker) {
  for (const auto& [name, value] : configs) {
    if (find_setting(kTable, name) == nullptr) {
      return fail(ErrorCode::kInvalidConfig, "Unknown topic config name: " + name);
    }
  }
  for (const auto& [name, value] : configs) {
    if (Result<> checked = check_value(*find_setting(kTable, name), value); !checked) return checked;
  }
  if (const auto at = configs.find("remote.storage.enable");
      at != configs.end() && parse_boolean(at->second)) {
    return fail(
        ErrorCode::kInvalidConfig,
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log "
        "storage.");
  }
  const auto number = [&](std::string_view name) {
    return parse_integer(topic_value(*find_setting(kTable, name), configs, broker));
  };
  const int64_t min_lag = number("min.compaction.lag.ms");
  const int64_t max_lag = number("max.compaction.lag.ms");
  if (min_lag > max_lag) {
    return fail(
        ErrorCode::kInvalidConfig,
        fmt::format("conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                    min_lag, max_lag));
  }
  return {};
}

}  // namespace millrace::metadata
