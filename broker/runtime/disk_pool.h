// A few threads for what blocks: syncs, cold reads, deletes, RocksDB misses. Coroutines wait for the result
// without holding up their shard.
#pragma once

#include <semaphore.h>

#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "broker/runtime/memory_budget.h"
#include "broker/runtime/shard_group.h"

namespace millrace::runtime {

class DiskPool {
 public:
  // Jobs of one shard that are queued or running; the next coroutine of that shard waits in line before its
  // job is queued, so that one shard's backlog doesn't grow without bound and doesn't keep the others out.
  static constexpr int64_t kMaxJobsPerShard = 256;

  // Serves coroutines of `shards` (at most that many different shard ids), with `threads` (at least 1)
  // threads.
  DiskPool(size_t threads, size_t shard_count);
  // Stops.
  ~DiskPool();
  DiskPool(const DiskPool&) = delete;
  DiskPool& operator=(const DiskPool&) = delete;

  // Runs f (() -> R) on a thread of the pool and returns its result on the calling shard; exceptions
  // propagate. Throws ShardStopped when the pool has stopped, and then f has not run. Name a capturing
  // lambda, then await.
  template <class F>
  Task<std::invoke_result_t<F&>> run(F f);

  // Lets running jobs finish, answers the queued ones with ShardStopped and joins. Idempotent. At the end:
  // stop the pool, then the shards, then destroy the pool.
  void stop();
  size_t queued() const;

 private:
  struct Job {
    virtual ~Job() = default;
    virtual void run() = 0;
  };
  template <class F, class R>
  struct Call final : Job {
    explicit Call(RemoteCall<F, R> the_call) : call(std::move(the_call)) {}
    void run() override { call(); }
    RemoteCall<F, R> call;
  };

  // Destroys the job unrun (which answers its caller) when the pool has stopped.
  void push(std::unique_ptr<Job> job);
  void work();

  mutable std::mutex mutex_;
  // Jobs queued. A thread that waits for it costs one system call, and as much to wake; of a condition
  // variable both are more.
  sem_t jobs_;
  std::deque<std::unique_ptr<Job>> queue_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
  std::vector<std::unique_ptr<MemoryBudget>> places_;  // by shard id, each used by its shard only
};

template <class F>
Task<std::invoke_result_t<F&>> DiskPool::run(F f) {
  using R = std::invoke_result_t<F&>;
  static_assert(!kReturnsTask<F>, "a disk job is a plain function: it must not await");
  MemoryLease place;
  MemoryBudget& places = *places_[Shard::current()->id()];
  if (!places.try_acquire(place, 1)) co_await places.acquire(place, 1);
  Outcome<R> outcome;
  auto send = [this, &f, &outcome](ResumeHandler handler) {
    push(std::make_unique<Call<F, R>>(
        RemoteCall<F, R>(*Shard::current(), std::move(f), outcome, std::move(handler))));
  };
  co_await asio::async_initiate<const UseTask, void()>(send, kUseTask);
  co_return outcome.take();
}

}  // namespace millrace::runtime
