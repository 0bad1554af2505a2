// Looks something up in a log without making the shard wait for the disk: what isn't in memory is brought
// there by the disk pool, and then the lookup is made again.
#pragma once

#include <type_traits>

#include "broker/runtime/disk_pool.h"
#include "broker/runtime/task.h"
#include "storage/missing_data.h"

namespace millrace::replication {

// Things that one lookup may miss, one after the other: blocks of the index, and pages of the segment on its
// way to the batch. When memory is so short that this isn't enough, the shard waits for the disk after all.
constexpr int kMaxLookups = 16;

// Returns look(missing), tried until nothing is missing. `look` is a plain function that passes `missing` on
// to storage::Log; it is called several times, and between the calls everything may have changed.
template <class Look>
runtime::Task<std::invoke_result_t<Look&, storage::MissingData*>> look_up(runtime::DiskPool& pool,
                                                                          Look look) {
  storage::MissingData missing;
  for (int i = 0; i < kMaxLookups; ++i) {
    missing.look_again();
    auto found = look(&missing);
    if (!missing) co_return found;
    auto load = [&missing] { return missing.load(); };
    const Result<> loaded = co_await pool.run(load);
    // Then what can't be read says so to whoever reads it.
    if (!loaded) break;
  }
  co_return look(nullptr);
}

}  // namespace millrace::replication
