#include "tests/differential/record_fields.h"

#include <string>

#include "protocol/crc32c.h"
#include "protocol/record_batch.h"

namespace millrace::differential {
namespace {

using protocol::BatchHeader;

constexpr size_t kDecompressLimit = 64u << 20;

std::string shown(const std::optional<Bytes>& bytes) {
  if (!bytes) return "null";
  return bytes->size() <= 64
             ? std::string(as_text(*bytes))
             : std::to_string(bytes->size()) + " bytes, crc32c " + std::to_string(protocol::crc32c(*bytes));
}

Json records_json(Bytes batch) {
  Json records = Json::array();
  const auto add = [&](const protocol::RecordView& record) {
    std::string text = std::to_string(record.offset) + " " + shown(record.key) + "=" + shown(record.value);
    for (const auto& header : record.headers)
      text += " " + std::string(header.key) + ":" + shown(header.value);
    records.add(Json::text(text));
    return true;
  };
  const auto read = protocol::for_each_record(batch, kDecompressLimit, add);
  if (!read) records.add(Json::text("unreadable: " + read.error().message));
  return records;
}

Json batch_json(const BatchHeader& header, Bytes bytes, BatchComparison how) {
  const bool append_time = header.timestamp_type() == protocol::TimestampType::kLogAppendTime;
  Json batch = Json::object();
  const auto number = [&](const char* name, int64_t value) { batch.add(name, Json::number(value)); };
  number("baseOffset", header.base_offset);
  number("partitionLeaderEpoch", header.partition_leader_epoch);
  number("attributes", header.attributes);
  number("lastOffsetDelta", header.last_offset_delta);
  number("baseTimestamp", header.base_timestamp_ms);
  batch.add("maxTimestamp", append_time ? Json::text("<now>") : Json::number(header.max_timestamp_ms));
  number("producerIdOfBatch", header.producer_id);
  number("producerEpoch", header.producer_epoch);
  number("baseSequence", header.base_sequence);
  number("recordCount", header.record_count);
  batch.add("crcMatches", Json::text(protocol::crc_matches(bytes) ? "yes" : "no"));
  batch.add("records", records_json(bytes));
  if (how == BatchComparison::kBytes) {
    Buffer copy(bytes.begin(), bytes.end());
    if (append_time) {
      protocol::set_log_append_time(copy, 0);
    }
    number("sizeInBytes", static_cast<int64_t>(copy.size()));
    number("crc32cOfBytes", protocol::crc32c(copy));
  }
  return batch;
}

}  // namespace

Json batches_json(Bytes records, BatchComparison how) {
  Json batches = Json::array();
  const auto add = [&](const BatchHeader& header, Bytes batch) {
    batches.add(batch_json(header, batch, how));
    return true;
  };
  const auto read = protocol::for_each_batch(records, add);
  if (!read) batches.add(Json::text("unreadable: " + read.error().message));
  if (read && *read < records.size()) batches.add(Json::text("incomplete batch"));
  return batches;
}

void add_batches(const protocol::FetchResponse& response, BatchComparison how, Json& json) {
  Json* topics = json.find("responses");
  for (size_t t = 0; topics != nullptr && t < response.responses.size(); ++t) {
    Json* partitions = topics->members[t].second.find("partitions");
    for (size_t p = 0; p < response.responses[t].partitions.size(); ++p) {
      Json& partition = partitions->members[p].second;
      const protocol::Records& records = response.responses[t].partitions[p].records;
      if (!records.bytes) continue;
      partition.add("batches", batches_json(*records.bytes, how));
      Json* size = partition.find("recordsSizeInBytes");
      // An incomplete batch at the end has no fields, a batch compressed anew has a size of its own.
      if (size != nullptr && how == BatchComparison::kContents)
        *size = Json::text(records.size() > 0 ? "<some>" : "0");
    }
  }
}

}  // namespace millrace::differential
