// Does something on several shards at once and waits for all of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <type_traits>

#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"

namespace millrace::runtime {

// Calls f(i), which must neither throw nor suspend, on shards[i] for every i; returns when all have returned.
// Everything is under way before this first suspends: remote calls are posted, the current shard's own has
// run. So whoever fans out first is first on every shard. Must be awaited at once; f must outlive it.
template <class F>
requires std::is_void_v<std::invoke_result_t<F&, size_t>> Task<> fan_out(std::span<Shard* const> shards,
                                                                         F& f) {
  struct Progress {
    Shard& home;
    std::atomic<size_t> left;
    Notifier done;
  };
  Shard& home = *Shard::current();
  std::shared_ptr<Progress> progress;
  for (size_t i = 0; i < shards.size(); ++i) {
    if (shards[i] == &home) continue;
    if (!progress) progress = std::shared_ptr<Progress>(new Progress{home, shards.size(), {}});
    shards[i]->post([progress, &f, i] {
      f(i);
      if (progress->left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      progress->home.post([progress] { progress->done.notify_all(); });
    });
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    if (shards[i] != &home) continue;
    f(i);
    if (progress) progress->left.fetch_sub(1, std::memory_order_acq_rel);
  }
  if (!progress) co_return;
  while (progress->left.load(std::memory_order_acquire) > 0) co_await progress->done.wait();
}

// The same where f(i) is a coroutine, size_t -> Task<>, which may suspend: all run side by side. An exception
// of one of them (ShardStopped, for a shard that has stopped) is thrown when all have ended.
template <class F>
requires(!std::is_void_v<std::invoke_result_t<F&, size_t>>) Task<> fan_out(std::span<Shard* const> shards,
                                                                           F& f) {
  size_t left = shards.size();
  std::exception_ptr failure;
  Notifier done;
  for (size_t i = 0; i < shards.size(); ++i) {
    auto one = [&, i]() -> Task<> {
      try {
        auto work = [&f, i] { return f(i); };
        co_await shards[i]->call(work);
      } catch (...) {
        failure = std::current_exception();
      }
      if (--left == 0) done.notify_all();
    };
    Shard::current()->spawn(one);
  }
  while (left > 0) co_await done.wait();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace millrace::runtime
