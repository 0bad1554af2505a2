#include "storage/producer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "protocol/crc32c.h"

namespace millrace::storage {
namespace {

using protocol::BatchHeader;

constexpr uint32_t kSnapshotMagic = 0x4d525053;  // "MRPS"
constexpr uint32_t kSnapshotVersion = 1;

// Snapshots are read by the machine that wrote them: native byte order.
template <class T>
void put(Buffer& out, T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

class SnapshotReader {
 public:
  explicit SnapshotReader(Bytes in) : in_(in) {}

  template <class T>
  T take() {
    T value{};
    if (in_.size() < sizeof value) {
      short_ = true;
      return value;
    }
    std::memcpy(&value, in_.data(), sizeof value);
    in_ = in_.subspan(sizeof value);
    return value;
  }
  bool is_short() const { return short_; }
  size_t left() const { return in_.size(); }

 private:
  Bytes in_;
  bool short_ = false;
};

void put_entry(Buffer& out, const ProducerEntry& entry) {
  put(out, entry.producer_id);
  put(out, entry.epoch);
  put(out, entry.last_timestamp_ms);
  put(out, entry.last_seen_ms);
  put(out, entry.batch_count);
  for (size_t i = 0; i < entry.batch_count; ++i) {
    const ProducerBatch& batch = entry.batches[i];
    put(out, batch.first_sequence);
    put(out, batch.last_sequence);
    put(out, batch.first_offset);
    put(out, batch.last_offset);
    put(out, batch.max_timestamp_ms);
  }
}

std::optional<ProducerEntry> take_entry(SnapshotReader& in) {
  ProducerEntry entry;
  entry.producer_id = in.take<int64_t>();
  entry.epoch = in.take<int16_t>();
  entry.last_timestamp_ms = in.take<int64_t>();
  entry.last_seen_ms = in.take<int64_t>();
  entry.batch_count = in.take<uint8_t>();
  if (in.is_short() || entry.batch_count > ProducerEntry::kKeptBatches) return std::nullopt;
  for (size_t i = 0; i < entry.batch_count; ++i) {
    ProducerBatch& batch = entry.batches[i];
    batch.first_sequence = in.take<int32_t>();
    batch.last_sequence = in.take<int32_t>();
    batch.first_offset = in.take<int64_t>();
    batch.last_offset = in.take<int64_t>();
    batch.max_timestamp_ms = in.take<int64_t>();
  }
  if (in.is_short()) return std::nullopt;
  return entry;
}

bool follows(int32_t last_sequence, int32_t next_sequence) {
  if (last_sequence == std::numeric_limits<int32_t>::max()) return next_sequence == 0;
  return next_sequence == last_sequence + 1;
}

}  // namespace

ProducerState::ProducerState(std::string partition_name, int64_t expiration_ms)
    : partition_name_(std::move(partition_name)), expiration_ms_(expiration_ms) {}

const ProducerEntry* ProducerState::find(int64_t producer_id) const {
  const auto found = producers_.find(producer_id);
  return found == producers_.end() ? nullptr : &found->second;
}

std::vector<ProducerEntry> ProducerState::list() const {
  std::vector<ProducerEntry> entries;
  entries.reserve(producers_.size());
  for (const auto& [id, entry] : producers_) entries.push_back(entry);
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.producer_id < b.producer_id; });
  return entries;
}

std::optional<ProducerBatch> ProducerState::find_duplicate(const BatchHeader& header) const {
  if (!header.has_producer_id()) return std::nullopt;
  const ProducerEntry* entry = find(header.producer_id);
  if (entry == nullptr || entry->epoch != header.producer_epoch) return std::nullopt;
  for (size_t i = 0; i < entry->batch_count; ++i) {
    const ProducerBatch& batch = entry->batches[i];
    if (batch.first_sequence == header.base_sequence && batch.last_sequence == header.last_sequence())
      return batch;
  }
  return std::nullopt;
}

Result<> ProducerState::check(const BatchHeader& header) const {
  if (!header.has_producer_id()) return {};
  const ProducerEntry* entry = find(header.producer_id);
  if (entry == nullptr) return {};
  if (header.producer_epoch < entry->epoch) {
    return fail(
        ErrorCode::kInvalidProducerEpoch,
        fmt::format(
            "Epoch of producer {} at offset {} in {} is {}, which is smaller than the last seen epoch {}",
            header.producer_id, header.base_offset, partition_name_, header.producer_epoch, entry->epoch));
  }
  if (header.producer_epoch > entry->epoch) {
    if (header.base_sequence == 0) return {};
    return fail(
        ErrorCode::kOutOfOrderSequenceNumber,
        fmt::format("Invalid sequence number for new epoch of producer {} at offset {} in partition {}: {} "
                    "(request epoch), {} (seq. number), {} (current producer epoch)",
                    header.producer_id, header.base_offset, partition_name_, header.producer_epoch,
                    header.base_sequence, entry->epoch));
  }
  // Only control batches so far: nothing that a sequence could follow.
  if (entry->batch_count == 0 && header.base_sequence == 0) return {};
  if (follows(entry->last_sequence(), header.base_sequence)) return {};
  return fail(
      ErrorCode::kOutOfOrderSequenceNumber,
      fmt::format(
          "Out of order sequence number for producer {} at offset {} in partition {}: {} (incoming seq. "
          "number), {} (current end sequence number)",
          header.producer_id, header.base_offset, partition_name_, header.base_sequence,
          entry->last_sequence()));
}

void ProducerState::append(const BatchHeader& header, int64_t now_ms) {
  end_offset_ = header.last_offset() + 1;
  if (!header.has_producer_id()) return;
  ProducerEntry& entry = producers_[header.producer_id];
  entry.producer_id = header.producer_id;
  if (entry.epoch != header.producer_epoch) {
    entry.epoch = header.producer_epoch;
    entry.batch_count = 0;
  }
  entry.last_timestamp_ms = header.max_timestamp_ms;
  entry.last_seen_ms = now_ms;
  // A marker of a transaction's end has no sequence.
  if (header.is_control()) return;
  if (entry.batch_count == ProducerEntry::kKeptBatches) {
    std::move(entry.batches.begin() + 1, entry.batches.end(), entry.batches.begin());
    --entry.batch_count;
  }
  entry.batches[entry.batch_count++] = {header.base_sequence, header.last_sequence(), header.base_offset,
                                        header.last_offset(), header.max_timestamp_ms};
}

size_t ProducerState::expire(int64_t now_ms) {
  return std::erase_if(producers_,
                       [&](const auto& item) { return now_ms - item.second.last_seen_ms >= expiration_ms_; });
}

Buffer ProducerState::snapshot() const {
  Buffer content(sizeof(uint32_t));
  put(content, kSnapshotMagic);
  put(content, kSnapshotVersion);
  put(content, end_offset_);
  for (const auto& [id, entry] : producers_) put_entry(content, entry);
  const uint32_t crc = protocol::crc32c(Bytes(content).subspan(sizeof(uint32_t)));
  std::memcpy(content.data(), &crc, sizeof crc);
  return content;
}

bool ProducerState::restore(Bytes snapshot, int64_t log_start_offset, int64_t log_end_offset,
                            int64_t now_ms) {
  SnapshotReader in(snapshot);
  const auto crc = in.take<uint32_t>();
  if (in.is_short() || protocol::crc32c(snapshot.subspan(sizeof crc)) != crc) return false;
  if (in.take<uint32_t>() != kSnapshotMagic || in.take<uint32_t>() != kSnapshotVersion) return false;
  const auto offset = in.take<int64_t>();
  if (in.is_short() || offset < log_start_offset || offset > log_end_offset) return false;
  std::unordered_map<int64_t, ProducerEntry> producers;
  while (in.left() > 0) {
    const auto entry = take_entry(in);
    if (!entry) return false;
    if (now_ms - entry->last_seen_ms < expiration_ms_) producers[entry->producer_id] = *entry;
  }
  producers_ = std::move(producers);
  end_offset_ = offset;
  return true;
}

void ProducerState::reset(int64_t offset) {
  producers_.clear();
  end_offset_ = offset;
}

}  // namespace millrace::storage
