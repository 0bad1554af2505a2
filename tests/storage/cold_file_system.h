// Files of which nothing is in memory until somebody loads it, on top of other files. Whoever reads at a
// place that isn't loaded, other than by asking for what is cached, has waited for the disk: that is counted,
// with the thread.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/file_system.h"

namespace millrace::storage::test {

// What the test sees of all files. Thread safe.
class Disk {
 public:
  static constexpr int64_t kPageBytes = 4096;

  // From now on only what is loaded is in memory.
  void drop_caches() {
    const std::lock_guard lock(mutex_);
    loaded_.clear();
    warm_ = false;
  }
  // Called by every thread that loads, before anything is loaded.
  void before_load(std::function<void()> f) { before_load_ = std::move(f); }

  std::vector<std::thread::id> waiters() const {
    const std::lock_guard lock(mutex_);
    return waiters_;
  }
  std::vector<std::thread::id> loaders() const {
    const std::lock_guard lock(mutex_);
    return loaders_;
  }
  int reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

  // For the files. The bytes from `position` on that are in memory, at most `size`.
  size_t cached(const std::string& path, int64_t position, size_t size) const {
    const std::lock_guard lock(mutex_);
    return cached_locked(path, position, size);
  }
  void note_read() {
    const std::lock_guard lock(mutex_);
    ++reads_;
  }
  void wait_for(const std::string& path, int64_t position, size_t size) {
    const std::lock_guard lock(mutex_);
    ++reads_;
    if (cached_locked(path, position, size) < size) waiters_.push_back(std::this_thread::get_id());
  }
  void load(const std::string& path, int64_t position, size_t size) {
    if (before_load_) before_load_();
    const std::lock_guard lock(mutex_);
    loaders_.push_back(std::this_thread::get_id());
    for (int64_t page = position / kPageBytes; page * kPageBytes < position + static_cast<int64_t>(size);
         ++page) {
      loaded_.insert({path, page});
    }
  }

 private:
  size_t cached_locked(const std::string& path, int64_t position, size_t size) const {
    if (warm_) return size;
    const int64_t end = position + static_cast<int64_t>(size);
    int64_t at = position;
    while (at < end && loaded_.contains({path, at / kPageBytes})) at = (at / kPageBytes + 1) * kPageBytes;
    return static_cast<size_t>(std::clamp(at, position, end) - position);
  }

  mutable std::mutex mutex_;
  std::set<std::pair<std::string, int64_t>> loaded_;
  bool warm_ = true;
  int reads_ = 0;
  std::vector<std::thread::id> waiters_;
  std::vector<std::thread::id> loaders_;
  std::function<void()> before_load_;
};

class ColdFile final : public File {
 public:
  ColdFile(std::shared_ptr<File> file, Disk& disk) : file_(std::move(file)), disk_(disk) {}

  Result<size_t> read_at(MutableBytes out, int64_t position) const override {
    disk_.wait_for(path(), position, out.size());
    return file_->read_at(out, position);
  }
  Result<size_t> read_cached(MutableBytes out, int64_t position) const override {
    disk_.note_read();
    return file_->read_at(out.first(disk_.cached(path(), position, out.size())), position);
  }
  bool is_cached(int64_t position, size_t size) const override {
    return disk_.cached(path(), position, size) == size;
  }
  Result<> load(int64_t position, size_t size, size_t) const override {
    disk_.load(path(), position, size);
    return {};
  }
  Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
    return file_->write_at(pieces, position);
  }
  Result<> truncate(int64_t size) override { return file_->truncate(size); }
  Result<> sync_data() override { return file_->sync_data(); }
  Result<int64_t> size() const override { return file_->size(); }
  Result<Reserved> reserve(int64_t position, int64_t bytes) override {
    return file_->reserve(position, bytes);
  }
  int fd() const override { return file_->fd(); }
  const std::string& path() const override { return file_->path(); }

 private:
  std::shared_ptr<File> file_;
  Disk& disk_;
};

// `Base` with cold files.
template <class Base>
class ColdFileSystem final : public Base {
 public:
  Disk disk;

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override {
    auto file = Base::open(path, mode);
    if (!file) return file;
    return std::make_shared<ColdFile>(std::move(*file), disk);
  }
};

}  // namespace millrace::storage::test
