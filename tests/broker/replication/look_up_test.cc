// Fetches of what isn't in memory: the disk is read beside the shard, and what changed meanwhile counts.
#include "broker/replication/look_up.h"

#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "broker/runtime/shard_group.h"
#include "tests/storage/cold_file_system.h"
#include "tests/storage/log_fixture.h"

using namespace millrace;
using namespace millrace::replication;
using namespace millrace::storage::test;
using storage::MissingData;

namespace {

// A log that was closed and opened again, with nothing of it in memory, on a shard of its own.
struct ColdShard : BasicLogFixture<ColdFileSystem<FaultFileSystem>> {
  runtime::ShardGroup shards{1, runtime::SystemClock::instance(), 1};
  runtime::DiskPool pool{1, 1};
  std::thread::id shard_thread = shards[0].run([] { return std::this_thread::get_id(); });

  ColdShard() {
    open();
    for (int i = 0; i < 100; ++i) append(batch_of(2));
    close_and_open();
    REQUIRE(index->flush());
    files.disk.drop_caches();
  }
  ~ColdShard() {
    pool.stop();
    shards.stop();
  }

  std::future<Result<storage::FileSlice>> start_reading(int64_t offset) {
    auto promise = std::make_shared<std::promise<Result<storage::FileSlice>>>();
    shards[0].spawn([this, offset, promise]() -> runtime::Task<> {
      auto look = [&](MissingData* missing) { return log->read(offset, 200, 1000, true, missing); };
      promise->set_value(co_await look_up(pool, look));
    });
    return promise->get_future();
  }
};

}  // namespace

TEST_CASE("The shard goes on while a cold lookup waits for the disk", "[look_up]") {
  ColdShard f;
  std::promise<void> loading;
  std::promise<void> may_load;
  f.files.disk.before_load([&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    loading.set_value();
    may_load.get_future().wait();
  });
  auto slice = f.start_reading(100);
  loading.get_future().wait();
  CHECK(f.shards[0].run([] { return true; }));
  may_load.set_value();
  const auto found = slice.get();
  REQUIRE(found);
  CHECK(f.first_offset_of(*found) == 100);
  CHECK(f.files.disk.loaders().size() > 0);
  for (const auto loader : f.files.disk.loaders()) CHECK(loader != f.shard_thread);
  for (const auto waiter : f.files.disk.waiters()) CHECK(waiter != f.shard_thread);
}

TEST_CASE("A lookup sees what was cut off while it waited for the disk", "[look_up]") {
  ColdShard f;
  std::promise<void> loading;
  std::promise<void> may_load;
  f.files.disk.before_load([&, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    loading.set_value();
    may_load.get_future().wait();
  });
  auto slice = f.start_reading(100);
  loading.get_future().wait();
  REQUIRE(f.shards[0].run([&] { return f.log->truncate_to(50, kNow).has_value(); }));
  may_load.set_value();
  const auto found = slice.get();
  REQUIRE_FALSE(found);
  CHECK(found.error().code == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("When memory is too short to keep anything, a lookup waits for the disk in the end", "[look_up]") {
  ColdShard f;
  f.files.disk.before_load([] {});
  auto promise = std::make_shared<std::promise<int>>();
  f.shards[0].spawn([&, promise]() -> runtime::Task<> {
    int looks = 0;
    auto look = [&](MissingData* missing) {
      ++looks;
      f.files.disk.drop_caches();
      auto slice = f.log->read(100, 200, 1000, true, missing);
      return slice.has_value();
    };
    const bool found = co_await look_up(f.pool, look);
    promise->set_value(found ? looks : -1);
  });
  CHECK(promise->get_future().get() == kMaxLookups + 1);
}
