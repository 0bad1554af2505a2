// How old is what a group has still to read: the timestamp of the first record at or after its position.
#pragma once

#include <cstdint>

#include "broker/replication/partition_table.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/task.h"

namespace millrace::broker {

// The timestamp of the first record at or after `offset` and below the high watermark; markers of
// transactions are none. It is that of its batch's first record where the header says both that and that the
// record is there; then no record is read. -1 where there is no such record, where it has no timestamp, where
// the log can't be read, or behind very many batches that compaction has emptied. To be called on the
// partition's shard, which never waits for the disk; `partitions` and `disk` outlive the call.
runtime::Task<int64_t> unread_timestamp(replication::PartitionTable& partitions, runtime::DiskPool& disk,
                                        TopicIdPartition place, int64_t offset);

}  // namespace millrace::broker
