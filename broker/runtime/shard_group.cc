#include "broker/runtime/shard_group.h"

#include <pthread.h>

#include <cstring>
#include <string>

namespace millrace::runtime {

ShardGroup::ShardGroup(size_t count, const Clock& clock, uint64_t random_seed) {
  Random seeds(random_seed);
  for (size_t i = 0; i < std::max<size_t>(count, 1); ++i) {
    shards_.push_back(std::make_unique<Shard>(static_cast<Shard::Id>(i), clock, seeds.next()));
  }
  for (const auto& shard : shards_) {
    threads_.emplace_back([&shard = *shard] { shard.run_loop(); });
    const std::string name = "shard-" + std::to_string(shard->id());
    pthread_setname_np(threads_.back().native_handle(), name.c_str());
  }
}

ShardGroup::~ShardGroup() { stop(); }

size_t ShardGroup::index_of(const TopicIdPartition& partition) const {
  // The id picks where a topic starts, its partitions go round from there: partitions of one topic spread
  // evenly.
  uint64_t start;
  std::memcpy(&start, partition.topic_id.bytes.data() + 8, sizeof(start));
  start ^= start >> 32;
  start *= 0x9e3779b97f4a7c15;
  return ((start >> 32) + static_cast<uint32_t>(partition.partition)) % shards_.size();
}

void ShardGroup::stop() {
  for (const auto& shard : shards_) shard->stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  for (bool found = true; found;) {
    found = false;
    for (const auto& shard : shards_) found |= shard->drain();
  }
}

}  // namespace millrace::runtime
