#include "broker/runtime/disk_pool.h"

#include <pthread.h>

#include <algorithm>
#include <string>

namespace millrace::runtime {

DiskPool::DiskPool(size_t threads, size_t shard_count) {
  sem_init(&jobs_, 0, 0);
  for (size_t i = 0; i < shard_count; ++i) {
    places_.push_back(std::make_unique<MemoryBudget>(kMaxJobsPerShard));
  }
  for (size_t i = 0; i < std::max<size_t>(threads, 1); ++i) {
    threads_.emplace_back([this] { work(); });
    pthread_setname_np(threads_.back().native_handle(), ("disk-" + std::to_string(i)).c_str());
  }
}

DiskPool::~DiskPool() {
  stop();
  sem_destroy(&jobs_);
}

void DiskPool::push(std::unique_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    queue_.push_back(std::move(job));
  }
  sem_post(&jobs_);
}

void DiskPool::work() {
  for (;;) {
    std::unique_ptr<Job> job;
    while (sem_wait(&jobs_) != 0) {
    }
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job->run();
  }
}

void DiskPool::stop() {
  std::deque<std::unique_ptr<Job>> unrun;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    unrun.swap(queue_);
  }
  for (size_t i = 0; i < threads_.size(); ++i) sem_post(&jobs_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t DiskPool::queued() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

}  // namespace millrace::runtime
