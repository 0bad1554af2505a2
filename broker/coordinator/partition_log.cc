#include "broker/coordinator/partition_log.h"

#include <fmt/format.h>

#include "broker/replication/look_up.h"
#include "broker/runtime/clock.h"
#include "protocol/record_batch.h"
#include "storage/log.h"

namespace millrace::coordinator {
namespace {

// Read at a time while loading: the shard serves others in between.
constexpr size_t kReadBytes = 1 << 20;

}  // namespace

runtime::Task<Result<Buffer>> PartitionLog::read_some(int64_t offset, int64_t end_offset) {
  auto look = [&](storage::MissingData* missing) -> Result<storage::FileSlice> {
    if (partition_->removed()) return fail(ErrorCode::kNotLeaderOrFollower, "the partition was removed");
    return partition_->log().read(offset, end_offset, kReadBytes, true, missing);
  };
  auto slice = co_await replication::look_up(disk_pool_, look);
  if (!slice) co_return std::unexpected(std::move(slice.error()));
  if (slice->size == 0) co_return Buffer();
  auto read = [&slice]() -> Result<Buffer> {
    Buffer bytes(slice->size);
    const auto size = slice->file->read_at(bytes, slice->position);
    if (!size) return std::unexpected(size.error());
    bytes.resize(*size);
    return bytes;
  };
  co_return co_await disk_pool_.run(read);
}

runtime::Task<Result<int64_t>> PartitionLog::read_all(const BatchReader& fn) {
  if (partition_->removed()) co_return fail(ErrorCode::kNotLeaderOrFollower, "the partition was removed");
  const int64_t end_offset = partition_->log().log_end_offset();
  int64_t offset = partition_->log().log_start_offset();
  while (offset < end_offset) {
    const auto bytes = co_await read_some(offset, end_offset);
    if (!bytes) co_return std::unexpected(bytes.error());
    const int64_t before = offset;
    Result<> read;
    const auto visit_batch = [&](const protocol::BatchHeader& header, Bytes batch) {
      if (header.last_offset() >= offset) read = fn(batch);
      offset = header.last_offset() + 1;
      return read.has_value();
    };
    const auto visited = protocol::for_each_batch(*bytes, visit_batch);
    if (!visited) co_return std::unexpected(visited.error());
    if (!read) co_return std::unexpected(read.error());
    if (offset == before) {
      co_return fail(ErrorCode::kCorruptMessage, fmt::format("nothing can be read at offset {}", offset));
    }
  }
  co_return end_offset;
}

Result<int64_t> PartitionLog::append(MutableBytes batch, int64_t now_ms) {
  auto appended = partition_->append(batch, now_ms, storage::AppendOrigin::kCoordinator);
  if (!appended) {
    Error error = std::move(appended.error());
    if (error.code == ErrorCode::kKafkaStorageError && !partition_->removed()) {
      write_trouble_.failed(runtime::Shard::current()->clock(), partition_->log().name(), error);
    }
    return std::unexpected(std::move(error));
  }
  return appended->base_offset;
}

size_t PartitionLog::max_batch_bytes() const {
  return partition_->removed() ? SIZE_MAX : static_cast<size_t>(partition_->log().config().max_message_bytes);
}

runtime::Task<Result<>> PartitionLog::wait_committed(int64_t end_offset) {
  return partition_->wait_acknowledged(end_offset, replication::Acks::kAll, runtime::kNever);
}

}  // namespace millrace::coordinator
