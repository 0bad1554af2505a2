#include "broker/runtime/disk_pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <string>

using namespace millrace::runtime;

TEST_CASE("a disk job runs off the shard and answers on it", "[disk_pool]") {
  ShardGroup shards(1, SystemClock::instance(), 1);
  DiskPool pool(2, shards.size());
  auto body = [&]() -> Task<std::string> {
    auto job = [] { return Shard::current() == nullptr ? std::string("off") : std::string("on"); };
    std::string where = co_await pool.run(job);
    auto failing = []() -> int { throw std::runtime_error("torn"); };
    try {
      co_await pool.run(failing);
    } catch (const std::runtime_error& error) {
      where += error.what();
    }
    co_return where + (shards[0].is_current() ? "!" : "?");
  };
  CHECK(shards[0].run(body) == "offtorn!");
}

TEST_CASE("more jobs than places all run", "[disk_pool]") {
  ShardGroup shards(2, SystemClock::instance(), 1);
  DiskPool pool(3, shards.size());
  constexpr int kTasks = 3 * DiskPool::kMaxJobsPerShard;
  std::atomic<int> ran = 0;
  std::atomic<int> answered = 0;
  for (const auto& shard : shards) {
    for (int i = 0; i < kTasks; ++i) {
      shard->spawn([&]() -> Task<> {
        auto job = [&] { ++ran; };
        co_await pool.run(job);
        ++answered;
      });
    }
  }
  while (answered < 2 * kTasks) std::this_thread::yield();
  CHECK(ran == 2 * kTasks);
}

TEST_CASE("stopping the pool answers those who wait", "[disk_pool]") {
  ShardGroup shards(1, SystemClock::instance(), 1);
  DiskPool pool(1, shards.size());
  std::atomic<bool> go = false;
  std::atomic<int> refused = 0, done = 0, asked = 0;
  for (int i = 0; i < 10; ++i) {
    shards[0].spawn([&]() -> Task<> {
      auto job = [&] {
        while (!go) std::this_thread::yield();
      };
      try {
        ++asked;
        co_await pool.run(job);
        ++done;
      } catch (const ShardStopped&) {
        ++refused;
      }
    });
  }
  while (asked < 10 || pool.queued() != 9) std::this_thread::yield();
  std::thread releases([&] {
    while (pool.queued() != 0) std::this_thread::yield();
    go = true;
  });
  pool.stop();
  releases.join();
  while (done + refused < 10) std::this_thread::yield();
  CHECK(done == 1);
  CHECK(refused == 9);
}
