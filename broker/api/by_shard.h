// Runs the same small piece of work for many partitions, each on the shard that owns it.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "broker/api/services.h"
#include "broker/runtime/fan_out.h"

namespace millrace::api {

// Calls f(partitions of the shard, item) for every item on the shard that owns item.id (a TopicIdPartition),
// and returns when all are done. f must not throw, nor suspend, unless it is a coroutine: then the items of a
// shard come one after the other, and the shards work side by side. What f needs must outlive the call.
template <class Item, class F>
runtime::Task<> on_owning_shards(Services& services, std::vector<Item>& items, F& f) {
  std::vector<runtime::Shard*> shards;
  std::vector<std::vector<Item*>> by_shard;
  for (Item& item : items) {
    runtime::Shard* owner = &services.shards.shard_of(item.id);
    size_t i = 0;
    while (i < shards.size() && shards[i] != owner) ++i;
    if (i == shards.size()) {
      shards.push_back(owner);
      by_shard.emplace_back();
    }
    by_shard[i].push_back(&item);
  }
  if constexpr (std::is_void_v<std::invoke_result_t<F&, replication::PartitionTable&, Item&>>) {
    auto work = [&](size_t i) {
      replication::PartitionTable& partitions = services.of(*shards[i]).partitions;
      for (Item* item : by_shard[i]) f(partitions, *item);
    };
    co_await runtime::fan_out(shards, work);
  } else {
    auto work = [&](size_t i) -> runtime::Task<> {
      replication::PartitionTable& partitions = services.of(*shards[i]).partitions;
      for (Item* item : by_shard[i]) co_await f(partitions, *item);
    };
    co_await runtime::fan_out(shards, work);
  }
}

}  // namespace millrace::api
