#include "broker/unread_timestamp.h"

#include <memory>
#include <optional>

#include "broker/replication/look_up.h"
#include "broker/replication/partition.h"
#include "protocol/record_batch.h"
#include "storage/batch_cursor.h"

namespace millrace::broker {
namespace {

using protocol::BatchHeader;
using runtime::Task;
using storage::BatchAt;
using storage::File;

// As much as a broker lets a batch become.
constexpr size_t kDecompressLimit = size_t{64} << 20;
// Headers that are walked without a pause: a batch without records is one of 61 bytes.
constexpr size_t kWalkBytes = 64 << 10;
constexpr int kMostWalks = 16;

// What a walk has come to; with none of these it is at the end.
struct Walked {
  std::optional<int64_t> timestamp_ms;
  // Only the batch's records tell.
  std::shared_ptr<const File> file;
  BatchAt batch;
  // There are more batches.
  std::optional<int64_t> next_offset;
};

// What the header alone says; nothing where the batch must be read.
std::optional<int64_t> timestamp_by_header(const BatchHeader& header, int64_t offset) {
  // Compaction has taken some of its records, perhaps all from `offset` on.
  const bool has_gaps = header.record_count <= header.last_offset_delta;
  if (has_gaps && header.base_offset < offset) return std::nullopt;
  if (header.timestamp_type() == protocol::TimestampType::kLogAppendTime) return header.max_timestamp_ms;
  // The horizon stands where the base timestamp would be (KIP-534).
  if (header.has_delete_horizon()) return std::nullopt;
  return header.base_timestamp_ms;
}

Walked walk(replication::PartitionTable& partitions, const TopicIdPartition& place, int64_t offset,
            storage::MissingData* missing) {
  const auto partition = partitions.find(place);
  if (!partition || partition->removed()) return {};
  auto slice = partition->log().read(offset, partition->high_watermark(), kWalkBytes, true, missing);
  if (!slice || !slice->file) return {};
  if (missing != nullptr) missing->look_in(slice->file);
  storage::BatchCursor cursor(*slice->file, slice->position,
                              slice->position + static_cast<int64_t>(slice->size), missing);
  Walked walked;
  while (true) {
    const auto batch = cursor.next();
    // The slice may end within a batch.
    if (!batch || !*batch) return walked;
    const BatchHeader& header = (*batch)->header;
    walked.next_offset = header.last_offset() + 1;
    if (header.record_count == 0 || header.is_control() || header.last_offset() < offset) continue;
    walked.timestamp_ms = timestamp_by_header(header, offset);
    if (walked.timestamp_ms) return walked;
    walked.file = std::move(slice->file);
    walked.batch = **batch;
    return walked;
  }
}

// Of the batch's first record at or after `offset`; nothing if it has none. Waits for the disk.
Result<std::optional<int64_t>> timestamp_in(const File& file, const BatchAt& at, int64_t offset) {
  const auto batch = storage::read_batch(file, at);
  if (!batch) return std::unexpected(batch.error());
  std::optional<int64_t> found;
  const auto read =
      protocol::for_each_record(*batch, kDecompressLimit, [&](const protocol::RecordView& record) {
        if (record.offset < offset) return true;
        found = record.timestamp_ms;
        return false;
      });
  if (!read) return std::unexpected(read.error());
  return found;
}

}  // namespace

Task<int64_t> unread_timestamp(replication::PartitionTable& partitions, runtime::DiskPool& disk,
                               TopicIdPartition place, int64_t offset) {
  for (int i = 0; i < kMostWalks; ++i) {
    if (i > 0) co_await runtime::Shard::current()->sleep_ms(0);
    auto look = [&partitions, &place, offset](storage::MissingData* missing) {
      return walk(partitions, place, offset, missing);
    };
    const Walked walked = co_await replication::look_up(disk, look);
    if (walked.timestamp_ms) co_return *walked.timestamp_ms;
    if (walked.file) {
      auto read = [&walked, offset] { return timestamp_in(*walked.file, walked.batch, offset); };
      const Result<std::optional<int64_t>> found = co_await disk.run(read);
      if (!found) break;
      if (*found) co_return **found;
    }
    if (!walked.next_offset || *walked.next_offset <= offset) break;
    offset = *walked.next_offset;
  }
  co_return -1;
}

}  // namespace millrace::broker
