// What waits on a shard: notifiers, budgets, groups of tasks.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>

#include "broker/runtime/memory_budget.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard_group.h"
#include "broker/runtime/task_group.h"

using namespace millrace::runtime;

namespace {

const SystemClock& kClock = SystemClock::instance();

// Lets everything that is ready on the shard run.
Task<> settle() {
  for (int i = 0; i < 10; ++i) co_await boost::asio::post(Shard::current()->executor(), kUseTask);
}

}  // namespace

TEST_CASE("a notifier wakes all who wait, and tells a wake from a deadline", "[notifier]") {
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<std::string> {
    Shard& shard = *Shard::current();
    Notifier notifier;
    std::string seen;
    for (int i = 0; i < 3; ++i) {
      shard.spawn([&]() -> Task<> { seen += co_await notifier.wait_until(kNever) ? 'n' : 't'; });
    }
    shard.spawn([&]() -> Task<> { seen += co_await notifier.wait_until(1) ? 'n' : 't'; });
    while (seen.empty()) co_await settle();
    notifier.notify_one();
    co_await settle();
    seen += '|';
    notifier.notify_all();
    seen += '|';  // they run later, not within notify_all
    co_await settle();
    co_return seen + (notifier.has_waiters() ? "!" : ".");
  };
  CHECK(shards[0].run(body) == "tn||nn.");
}

TEST_CASE("those who wait for a budget get it in order", "[budget]") {
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<std::string> {
    Shard& shard = *Shard::current();
    MemoryBudget budget(100);
    std::string order;
    MemoryLease all;
    CHECK(budget.try_acquire(all, 100));
    for (const auto& [name, amount] :
         std::vector<std::pair<char, int64_t>>{{'a', 80}, {'b', 10}, {'c', 30}}) {
      shard.spawn([&, name = name, amount = amount]() -> Task<> {
        MemoryLease lease;
        co_await budget.acquire(lease, amount);
        order += name;
        co_await shard.sleep_ms(1);
      });
    }
    co_await settle();
    MemoryLease late;
    CHECK_FALSE(budget.try_acquire(late, 1));
    all.shrink_to(50);
    co_await settle();
    CHECK(order.empty());  // b and c would fit, but a comes first
    all.release();
    while (order.size() < 3) co_await settle();
    while (budget.used() > 0) co_await settle();
    co_return order;
  };
  CHECK(shards[0].run(body) == "abc");
}

TEST_CASE("holders that all want more don't wait for ever", "[budget]") {
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<std::pair<int, int64_t>> {
    Shard& shard = *Shard::current();
    MemoryBudget budget(100);
    int done = 0;
    int64_t most = 0;
    for (int i = 0; i < 20; ++i) {
      shard.spawn([&]() -> Task<> {
        MemoryLease lease;
        for (int part = 0; part < 6; ++part) {
          co_await budget.acquire(lease, 10);
          most = std::max(most, budget.used());
          co_await settle();
        }
        ++done;
      });
    }
    while (done < 20) co_await settle();
    co_return std::pair(done, most);
  };
  const auto [done, most] = shards[0].run(body);
  CHECK(done == 20);
  CHECK(most <= 160);  // the capacity and the largest lease
}

TEST_CASE("holders that want more of the whole or as bulk don't wait for ever", "[budget]") {
  constexpr int kHolders = 30;
  const unsigned seed = GENERATE(range(1u, 50u));
  CAPTURE(seed);
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<std::pair<int, int64_t>> {
    Shard& shard = *Shard::current();
    MemoryBudget budget(100, 75);
    std::minstd_rand random(seed);
    int done = 0;
    int64_t most = 0;
    auto hold = [&]() -> Task<> {
      MemoryLease lease;
      for (int part = 0; part < 6; ++part) {
        const auto use = part < 2 ? MemoryBudget::Use::kAny : MemoryBudget::Use::kBulk;
        co_await budget.acquire(lease, 1 + random() % 10, use);
        most = std::max(most, budget.used());
        for (auto turns = random() % 3; turns > 0; --turns) co_await settle();
      }
      ++done;
    };
    TaskGroup group(shard);
    for (int i = 0; i < kHolders; ++i) group.spawn(hold);
    // Far more turns than all of them take.
    for (int i = 0; i < 10'000 && done < kHolders; ++i) co_await settle();
    group.cancel();
    co_await group.wait();
    co_return std::pair(done, most);
  };
  const auto [done, most] = shards[0].run(body);
  CHECK(done == kHolders);
  CHECK(most <= 160);  // the capacity and the largest lease
}

TEST_CASE("bulk leaves the rest of a budget to others, except to one who overdraws", "[budget]") {
  using Use = MemoryBudget::Use;
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<> {
    Shard& shard = *Shard::current();
    MemoryBudget budget(100, 75);
    MemoryLease bulk, overdraws, waits, small;
    CHECK(budget.try_acquire(bulk, 75, Use::kBulk));
    CHECK(budget.try_acquire(overdraws, 5, Use::kBulk));
    bool granted = false;
    shard.spawn([&]() -> Task<> {
      co_await budget.acquire(waits, 10, Use::kBulk);
      granted = true;
    });
    co_await settle();
    CHECK_FALSE(granted);
    CHECK(budget.try_acquire(small, 20));
    // Who overdraws doesn't wait, whatever is short.
    CHECK(budget.try_acquire(overdraws, 50));
    CHECK(budget.try_acquire(overdraws, 50, Use::kBulk));
    overdraws.release();
    co_await settle();
    CHECK(granted);
    CHECK(budget.used() == 105);
    bulk.shrink_to(10);
    CHECK(budget.used() == 40);
    MemoryLease after;
    CHECK_FALSE(budget.try_acquire(after, 61));
    CHECK(budget.try_acquire(after, 55, Use::kBulk));
    CHECK(budget.used() == 95);
  };
  shards[0].run(body);
}

TEST_CASE("more than the whole budget is granted, one at a time", "[budget]") {
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<> {
    MemoryBudget budget(100);
    MemoryLease huge, second;
    CHECK(budget.try_acquire(huge, 500));
    CHECK_FALSE(budget.try_acquire(second, 500));
    CHECK_FALSE(budget.try_acquire(second, 1));
    huge.release();
    CHECK(budget.try_acquire(second, 500));
    co_return;
  };
  shards[0].run(body);
}

TEST_CASE("one who gives up waiting lets those behind him through", "[budget]") {
  ShardGroup shards(1, kClock, 1);
  auto body = [&]() -> Task<bool> {
    Shard& shard = *Shard::current();
    MemoryBudget budget(100);
    MemoryLease held, first, second;
    CHECK(budget.try_acquire(held, 60));
    TaskGroup group(shard);
    group.spawn([&]() -> Task<> { co_await budget.acquire(first, 90); });
    bool granted = false;
    shard.spawn([&]() -> Task<> {
      co_await budget.acquire(second, 40);
      granted = true;
    });
    co_await settle();
    CHECK_FALSE(granted);
    group.cancel();
    co_await group.wait();
    co_await settle();
    co_return granted&& first.size() == 0;
  };
  CHECK(shards[0].run(body));
}

TEST_CASE("cancelling a group ends what its tasks wait for, and wait() sees the end", "[task_group]") {
  ShardGroup shards(2, kClock, 1);
  std::atomic<int> ended = 0;
  auto body = [&]() -> Task<size_t> {
    struct AtEnd {
      std::atomic<int>& ended;
      ~AtEnd() { ++ended; }
    };
    TaskGroup group(*Shard::current());
    Notifier never;
    group.spawn([&]() -> Task<> {
      const AtEnd at_end{ended};
      co_await never.wait();
    });
    group.spawn([&]() -> Task<> {
      const AtEnd at_end{ended};
      co_await Shard::current()->sleep_ms(3'600'000);
    });
    group.spawn([&]() -> Task<> {
      const AtEnd at_end{ended};
      auto nap = []() -> Task<> { co_await Shard::current()->sleep_ms(20); };
      for (;;) co_await shards[1].call(nap);
    });
    group.spawn([&]() -> Task<> {
      const AtEnd at_end{ended};
      co_return;
    });
    co_await settle();
    CHECK(ended == 1);
    CHECK(group.size() == 3);
    group.cancel();
    co_await group.wait();
    group.spawn([&]() -> Task<> {
      ++ended;
      co_return;
    });
    co_await settle();
    co_return group.size();
  };
  CHECK(shards[0].run(body) == 0);
  CHECK(ended == 4);
}

TEST_CASE("a group that is destroyed cancels its tasks", "[task_group]") {
  ShardGroup shards(1, kClock, 1);
  auto alive = std::make_shared<int>();
  auto body = [&]() -> Task<> {
    {
      TaskGroup group(*Shard::current());
      group.spawn([alive]() -> Task<> { co_await Shard::current()->sleep_ms(3'600'000); });
      co_await settle();
    }
    co_await settle();
  };
  shards[0].run(body);
  CHECK(alive.use_count() == 1);
}
