#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "broker/runtime/fan_out.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard_group.h"

using namespace millrace;
using namespace millrace::runtime;

namespace {
const Clock& system_clock() { return SystemClock::instance(); }
}  // namespace

TEST_CASE("a call runs on the shard it names and answers on the caller's", "[shard]") {
  ShardGroup shards(2, system_clock(), 1);
  auto body = [&]() -> Task<std::string> {
    REQUIRE(shards[0].is_current());
    auto plain = [&] { return shards[1].is_current() ? 41 : 0; };
    const int from_plain = co_await shards[1].call(plain);
    auto coroutine = [&]() -> Task<std::unique_ptr<int>> {
      co_await Shard::current()->sleep_ms(1);
      co_return std::make_unique<int>(shards[1].is_current() ? 1 : 0);
    };
    const std::unique_ptr<int> from_coroutine = co_await shards[1].call(coroutine);
    REQUIRE(shards[0].is_current());
    auto inline_call = [&] { return shards[0].is_current(); };
    const bool was_inline = co_await shards[0].call(inline_call);
    co_return std::to_string(from_plain + *from_coroutine) + (was_inline ? "!" : "?");
  };
  CHECK(shards[0].run(body) == "42!");
}

TEST_CASE("an exception crosses back to the caller", "[shard]") {
  ShardGroup shards(2, system_clock(), 1);
  auto body = [&]() -> Task<int> {
    int caught = 0;
    try {
      auto plain = []() -> int { throw std::runtime_error("plain"); };
      co_await shards[1].call(plain);
    } catch (const std::runtime_error& error) {
      caught += error.what() == std::string("plain");
    }
    try {
      auto coroutine = []() -> Task<> {
        co_await Shard::current()->sleep_ms(0);
        throw std::runtime_error("coroutine");
      };
      co_await shards[1].call(coroutine);
    } catch (const std::runtime_error& error) {
      caught += error.what() == std::string("coroutine");
    }
    co_return caught;
  };
  CHECK(shards[0].run(body) == 2);
}

TEST_CASE("many calls between all shards lose nothing", "[shard][stress]") {
  constexpr int kShards = 4, kTasks = 32, kCalls = 200;
  ShardGroup shards(kShards, system_clock(), 1);
  std::vector<int64_t> counters(kShards);  // each touched by its shard only
  std::atomic<int> running = kShards * kTasks;
  for (const auto& shard : shards) {
    for (int i = 0; i < kTasks; ++i) {
      shard->spawn([&shards, &counters, &running]() -> Task<> {
        for (int n = 0; n < kCalls; ++n) {
          const size_t target = Shard::current()->random().below(kShards);
          auto add = [&counters, target] { return ++counters[target]; };
          co_await shards[target].call(add);
        }
        --running;
      });
    }
  }
  while (running > 0) std::this_thread::yield();
  shards.stop();
  int64_t sum = 0;
  for (const int64_t counter : counters) sum += counter;
  CHECK(sum == kShards * kTasks * kCalls);
}

TEST_CASE("stopping destroys what is suspended and refuses what comes after", "[shard]") {
  auto alive = std::make_shared<int>();
  {
    ShardGroup shards(3, system_clock(), 1);
    Notifier never;
    for (int i = 0; i < 100; ++i) {
      shards[0].spawn([&never, alive]() -> Task<> { co_await never.wait(); });
      shards[0].spawn([&shards, alive]() -> Task<> {
        for (;;) {
          auto nothing = [alive] {};
          co_await shards[1].call(nothing);
        }
      });
      shards[1].spawn([&shards, alive]() -> Task<> {
        auto sleep = [alive]() -> Task<> { co_await Shard::current()->sleep_ms(3'600'000); };
        co_await shards[2].call(sleep);
      });
    }
    shards[1].run([] {});
    shards[2].run([] {});
    shards.stop();
    CHECK(alive.use_count() == 1);
  }
  ShardGroup first(1, system_clock(), 1);
  ShardGroup second(1, system_clock(), 1);
  second.stop();
  auto body = [&]() -> Task<> {
    auto nothing = [] {};
    co_await second[0].call(nothing);
  };
  CHECK_THROWS_AS(first[0].run(body), ShardStopped);
}

TEST_CASE("partitions of a topic spread over the shards, the same way each time", "[shard]") {
  ShardGroup shards(4, system_clock(), 1);
  ShardGroup again(4, system_clock(), 2);
  std::map<size_t, int> hits;
  Random random(7);
  for (int topic = 0; topic < 100; ++topic) {
    const Uuid id = random.uuid();
    for (int32_t partition = 0; partition < 4; ++partition) {
      const TopicIdPartition key{id, partition};
      CHECK(shards.index_of(key) == again.index_of(key));
      ++hits[shards.index_of(key)];
    }
  }
  for (const auto& [shard, count] : hits) CHECK(count == 100);
  CHECK(hits.size() == 4);
}

TEST_CASE("coroutines that are fanned out run side by side, each on its shard", "[shard]") {
  ShardGroup shards(3, system_clock(), 1);
  std::atomic<int> begun = 0;
  std::atomic<int> misplaced = 0;
  auto body = [&]() -> Task<bool> {
    const std::array<Shard*, 3> all{&shards[0], &shards[1], &shards[2]};
    int64_t waits = 0;
    auto work = [&](size_t i) -> Task<> {
      if (!all[i]->is_current()) ++misplaced;
      ++begun;
      // Nobody ends before all have begun.
      while (begun < 3 && (i != 0 || ++waits < 10'000)) co_await all[i]->sleep_ms(1);
    };
    co_await fan_out(all, work);
    co_return shards[0].is_current();
  };
  CHECK(shards[0].run(body));
  CHECK(begun == 3);
  CHECK(misplaced == 0);
}

TEST_CASE("an exception of a coroutine that was fanned out comes when all have ended", "[shard]") {
  ShardGroup shards(2, system_clock(), 1);
  std::atomic<bool> other_ended = false;
  auto body = [&]() -> Task<bool> {
    const std::array<Shard*, 2> all{&shards[0], &shards[1]};
    auto work = [&](size_t i) -> Task<> {
      if (i == 0) throw std::runtime_error("no");
      co_await all[i]->sleep_ms(5);
      other_ended = true;
    };
    bool thrown = false;
    try {
      co_await fan_out(all, work);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    co_return thrown&& other_ended;
  };
  CHECK(shards[0].run(body));
}
