#include "broker/replication/fetch_waiter.h"

#include <catch2/catch.hpp>
#include <future>

#include "broker/runtime/shard_group.h"

using namespace millrace;
using namespace millrace::replication;

namespace {

// A deadline that has passed: only what was signalled before is seen.
constexpr int64_t kAtOnce = 0;

struct Shards {
  runtime::ShardGroup group{2, runtime::SystemClock::instance(), 1};
  std::shared_ptr<FetchWaiter> waiter = std::make_shared<FetchWaiter>(group[0]);

  ~Shards() { group.stop(); }
  bool is_signalled() {
    return group[0].run([this] { return waiter->wait_until(kAtOnce); });
  }
  void signal_from(size_t shard) {
    group[shard].run([this] { waiter->signal(); });
  }
};

}  // namespace

TEST_CASE("A waiting fetch is woken from its own shard and from another") {
  Shards shards;
  const size_t from = GENERATE(0, 1);
  std::promise<void> waiting;
  std::promise<bool> woken;
  shards.group[0].spawn([&]() -> runtime::Task<> {
    waiting.set_value();
    woken.set_value(co_await shards.waiter->wait_until(runtime::kNever));
  });
  waiting.get_future().get();
  shards.signal_from(from);
  CHECK(woken.get_future().get());
}

TEST_CASE("A signal that came before the wait is not lost, nor one from a thread of no shard") {
  Shards shards;
  CHECK_FALSE(shards.is_signalled());
  shards.waiter->signal();
  CHECK(shards.is_signalled());
}

TEST_CASE("A rearmed waiter waits for what comes after") {
  Shards shards;
  shards.signal_from(1);
  CHECK(shards.is_signalled());
  shards.group[0].run([&] { shards.waiter->rearm(); });
  CHECK_FALSE(shards.is_signalled());
  shards.signal_from(1);
  CHECK(shards.is_signalled());
}

TEST_CASE("A wake-up of an earlier round doesn't end a later one") {
  Shards shards;
  // The signal posts a wake-up to the home shard, which is busy here and so sees it only after the rearm.
  const bool woken_early = shards.group[0].run([&]() -> runtime::Task<bool> {
    std::thread([&] { shards.waiter->signal(); }).join();
    shards.waiter->rearm();
    co_return co_await shards.waiter->wait_until(runtime::SystemClock::instance().deadline_in_ms(20));
  });
  CHECK_FALSE(woken_early);
}

TEST_CASE("A list tells every fetch once, by its own number, and forgets it") {
  FetchWaiterList list;
  const auto one = std::make_shared<FetchWatch>();
  const auto other = std::make_shared<FetchWatch>();
  list.add(one, 7);
  list.add(other, 8);
  list.add(std::make_shared<FetchWatch>(), 9);
  list.signal_all();
  CHECK(list.size() == 0);
  list.signal_all();
  CHECK(one->take_moved() == std::vector<uint32_t>{7});
  CHECK(one->take_moved().empty());
  CHECK(other->take_moved() == std::vector<uint32_t>{8});
}

TEST_CASE("A list doesn't grow with fetches that are over") {
  FetchWaiterList list;
  const auto watch = std::make_shared<FetchWatch>();
  list.add(watch, 1);
  for (int i = 0; i < 10'000; ++i) list.add(std::make_shared<FetchWatch>(), 2);
  CHECK(list.size() < 200);
  list.signal_all();
  CHECK(watch->take_moved() == std::vector<uint32_t>{1});
}

TEST_CASE("A list doesn't grow with a fetch that comes back to it without a signal") {
  FetchWaiterList list;
  const auto watch = std::make_shared<FetchWatch>();
  for (int i = 0; i < 10'000; ++i) list.add(watch, 3);
  CHECK(list.size() == 1);
  list.signal_all();
  CHECK(watch->take_moved() == std::vector<uint32_t>{3});
}

TEST_CASE("What moved between two fetches of a session wakes the second at once") {
  Shards shards;
  FetchWatch watch;
  watch.attach(shards.waiter);
  watch.signal(1);
  CHECK(shards.is_signalled());
  CHECK(watch.take_moved() == std::vector<uint32_t>{1});
  shards.waiter = std::make_shared<FetchWaiter>(shards.group[0]);
  watch.signal(2);
  watch.signal(3);
  watch.attach(shards.waiter);
  CHECK(shards.is_signalled());
  CHECK(watch.take_moved() == std::vector<uint32_t>{2, 3});
  shards.waiter = std::make_shared<FetchWaiter>(shards.group[0]);
  watch.attach(shards.waiter);
  CHECK_FALSE(shards.is_signalled());
}
