#include "tools/log_dump_writer.h"

#include <fmt/format.h>

#include "tools/json.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

std::string codec(const protocol::BatchHeader& header) {
  return header.compression_known() ? std::string(protocol::compression_name(header.compression()))
                                    : fmt::format("unknown ({})", header.attributes & 7);
}

std::string time_or_dash(int64_t timestamp_ms) {
  return timestamp_ms < 0 ? "-" : format_timestamp(timestamp_ms);
}

std::string flags(const protocol::BatchHeader& header) {
  std::string text;
  const auto add = [&](bool set, const char* name) {
    if (set) text.append(text.empty() ? "" : ",").append(name);
  };
  add(header.is_transactional(), "transactional");
  add(header.is_control(), "control");
  add(header.timestamp_type() == protocol::TimestampType::kLogAppendTime, "log-append-time");
  add(header.has_delete_horizon(), "delete-horizon");
  return text.empty() ? "-" : text;
}

std::string producer(const protocol::BatchHeader& header) {
  if (!header.has_producer_id()) return "-";
  return fmt::format("{}/{}:{}", header.producer_id, header.producer_epoch, header.base_sequence);
}

}  // namespace

std::string batch_table_head(bool has_partition) {
  return fmt::format("{:>12} {:>12} {:>12} {:>10} {:>8} {:<7} {:<24} {:>6} {:<20} {}\n", "FIRST", "LAST",
                     "POSITION", "BYTES", "RECORDS", "CODEC", "NEWEST", "EPOCH", "PRODUCER/EPOCH:SEQ",
                     has_partition ? "FLAGS PARTITION" : "FLAGS");
}

std::string batch_line(const storage::BatchAt& at, std::string_view partition) {
  const protocol::BatchHeader& header = at.header;
  return fmt::format("{:>12} {:>12} {:>12} {:>10} {:>8} {:<7} {:<24} {:>6} {:<20} {}\n", header.base_offset,
                     header.last_offset(), at.position, header.size_bytes(), header.record_count,
                     codec(header), time_or_dash(header.max_timestamp_ms), header.partition_leader_epoch,
                     producer(header),
                     partition.empty() ? flags(header) : fmt::format("{:<5} {}", flags(header), partition));
}

std::string batch_json(const std::string& file, const storage::BatchAt& at, std::string_view partition) {
  const protocol::BatchHeader& header = at.header;
  Json json = Json::object();
  json.set("file", file);
  if (!partition.empty()) json.set("partition", std::string(partition));
  json.set("position", at.position)
      .set("base_offset", header.base_offset)
      .set("last_offset", header.last_offset());
  json.set("bytes", static_cast<int64_t>(header.size_bytes())).set("records", int64_t{header.record_count});
  json.set("compression", codec(header))
      .set("crc", int64_t{header.crc})
      .set("attributes", int64_t{header.attributes});
  json.set("timestamp_type",
           header.timestamp_type() == protocol::TimestampType::kLogAppendTime ? "log_append" : "create");
  json.set("base_timestamp", header.base_timestamp_ms).set("max_timestamp", header.max_timestamp_ms);
  json.set("partition_leader_epoch", int64_t{header.partition_leader_epoch})
      .set("producer_id", header.producer_id);
  json.set("producer_epoch", int64_t{header.producer_epoch})
      .set("base_sequence", int64_t{header.base_sequence});
  json.set("transactional", header.is_transactional()).set("control", header.is_control());
  json.set("delete_horizon", header.has_delete_horizon());
  return json.dump() + "\n";
}

ConsumedRecord as_consumed(const protocol::RecordView& record, const storage::BatchAt& at,
                           std::string_view topic, int32_t partition, std::vector<HeaderView>& headers) {
  headers.clear();
  for (const protocol::RecordHeader& header : record.headers) {
    headers.push_back({header.key, header.value ? std::optional(as_text(*header.value)) : std::nullopt});
  }
  ConsumedRecord consumed;
  consumed.topic = topic;
  consumed.partition = partition;
  consumed.offset = record.offset;
  consumed.timestamp_ms = record.timestamp_ms;
  consumed.log_append_time = at.header.timestamp_type() == protocol::TimestampType::kLogAppendTime;
  if (record.key) consumed.key = as_text(*record.key);
  if (record.value) consumed.value = as_text(*record.value);
  consumed.headers = headers;
  return consumed;
}

std::string index_table_head() {
  return fmt::format("{:>12} {:>12} {}\n", "OFFSET", "POSITION", "NEWEST BEFORE");
}

std::string index_line(const storage::IndexEntry& entry) {
  return fmt::format("{:>12} {:>12} {}\n", entry.offset, entry.position,
                     time_or_dash(entry.max_timestamp_ms));
}

std::string index_json(const std::string& file, const storage::IndexEntry& entry) {
  Json json = Json::object();
  json.set("file", file)
      .set("offset", entry.offset)
      .set("position", entry.position)
      .set("max_timestamp_before", entry.max_timestamp_ms);
  return json.dump() + "\n";
}

}  // namespace millrace::tools
