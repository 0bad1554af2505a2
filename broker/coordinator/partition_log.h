// A coordinator's log, over the partition that the replication keeps.
#pragma once

#include <memory>
#include <utility>

#include "broker/coordinator/coordinator_log.h"
#include "broker/replication/partition.h"
#include "broker/replication/write_trouble.h"
#include "broker/runtime/disk_pool.h"

namespace millrace::coordinator {

class PartitionLog final : public CoordinatorLog {
 public:
  // On the partition's shard. The disk pool, which reads what isn't in memory, outlives the log, as does
  // `write_trouble`, which is told of what can't be written.
  PartitionLog(std::shared_ptr<replication::Partition> partition, runtime::DiskPool& disk_pool,
               replication::WriteTrouble& write_trouble)
      : partition_(std::move(partition)), disk_pool_(disk_pool), write_trouble_(write_trouble) {}

  runtime::Task<Result<int64_t>> read_all(const BatchReader& fn) override;
  Result<int64_t> append(MutableBytes batch, int64_t now_ms) override;
  size_t max_batch_bytes() const override;
  runtime::Task<Result<>> wait_committed(int64_t end_offset) override;

 private:
  runtime::Task<Result<Buffer>> read_some(int64_t offset, int64_t end_offset);

  const std::shared_ptr<replication::Partition> partition_;
  runtime::DiskPool& disk_pool_;
  replication::WriteTrouble& write_trouble_;
};

}  // namespace millrace::coordinator
