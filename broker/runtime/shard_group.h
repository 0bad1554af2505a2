// The shards of a process and their threads.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "broker/runtime/shard.h"
#include "protocol/topic_partition.h"

namespace millrace::runtime {

class ShardGroup {
 public:
  // Starts `count` (at least 1) shards, each on a thread of its own. The clock must outlive the group; the
  // seed determines every shard's randomness.
  ShardGroup(size_t count, const Clock& clock, uint64_t random_seed);
  // Stops, then destroys what was still suspended.
  ~ShardGroup();

  size_t size() const { return shards_.size(); }
  Shard& operator[](size_t index) { return *shards_[index]; }
  auto begin() { return shards_.begin(); }  // of std::unique_ptr<Shard>
  auto end() { return shards_.end(); }

  // The shard that owns the partition: the same for the life of the process. Depends on id, partition and the
  // number of shards only; neighbours land on different shards.
  Shard& shard_of(const TopicIdPartition& partition) { return *shards_[index_of(partition)]; }
  size_t index_of(const TopicIdPartition& partition) const;

  // Stops all shards and joins their threads, then destroys every coroutine that is left, so that their
  // destructors have run when this returns. At once: whatever wants to end in order ends before. Idempotent;
  // not from a shard's thread.
  void stop();

 private:
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace::runtime
